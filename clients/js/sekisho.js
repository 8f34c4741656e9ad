// A client of a sekisho gateway, for pages and node: commands, streams that come back by themselves, and typed errors.
// It has no dependencies. docs/http-api.md and docs/observation.md are the contract; sekisho.d.ts has the types.

import { Fleet } from "./fleet.js";
import { follow } from "./watch.js";

/** How long a command may take, in milliseconds: longer than any gateway takes to say that its runtime does not answer. */
export const REQUEST_TIMEOUT = 90_000;

/** What went wrong, as the gateway's problem document or this client says. */
export class GatewayError extends Error {
    /** @param {object} problem a problem document; `retry_after` in seconds, where it is known */
    constructor(problem, options) {
        super(`${problem.code}: ${problem.detail || problem.title}`, options);
        this.name = "GatewayError";
        this.problem = problem;
        const { code, status, origin, retryable, outcome, phase, runtime_id, worker_id, runtime_code } = problem;
        Object.assign(this, { code, status, origin, retryable, outcome, phase, runtime_id, worker_id, runtime_code });
        this.retryAfter = problem.retry_after;
    }
}

/**
 * A gateway at this base URL. A page of the gateway's own origin needs none.
 *
 * `fetch` and `WebSocket` are the platform's where they are not given.
 */
export function connect({ url, token, timeout = REQUEST_TIMEOUT, fetch, WebSocket } = {}) {
    return new Gateway({
        root: new URL(`${url ?? globalThis.location.origin}`.replace(/\/*$/, "/")),
        token,
        timeout,
        fetch: fetch ?? globalThis.fetch.bind(globalThis),
        WebSocket: WebSocket ?? globalThis.WebSocket,
    });
}

class Gateway {
    #with;

    constructor(given) {
        this.#with = given;
    }

    /** Every configured runtime, reachable or not. */
    runtimes(options) {
        return this.#ask("GET", "runtimes", options);
    }

    async runtime(runtimeId, options) {
        return (await this.#ask("GET", runtime(runtimeId), options)).runtime;
    }

    profiles(runtimeId, options) {
        return this.#ask("GET", `${runtime(runtimeId)}/profiles`, options);
    }

    /** A page of the workers of all runtimes, or of one. */
    workers({ runtime_id, status, name, labels = {}, limit, after, ...options } = {}) {
        const label = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
        const path = runtime_id === undefined ? "workers" : `${runtime(runtime_id)}/workers`;
        return this.#ask("GET", path, { ...options, query: { status, name, label, limit, after } });
    }

    /** The open requests of all runtimes, of one, or of one worker. */
    requests({ runtime_id, worker_id, ...options } = {}) {
        if (worker_id !== undefined) return this.worker({ runtime_id, worker_id }).requests(options);
        const path = runtime_id === undefined ? "requests" : `${runtime(runtime_id)}/requests`;
        return this.#ask("GET", path, options);
    }

    async create(runtimeId, body, options) {
        return (await this.#ask("POST", `${runtime(runtimeId)}/workers`, { ...options, body })).worker;
    }

    /** A worker by both halves of its name; whether there is such a one is not asked. */
    worker({ runtime_id, worker_id }) {
        const path = `${runtime(runtime_id)}/workers/${segment(worker_id)}`;
        const ask = (method, rest, options) => this.#ask(method, path + rest, options);
        return new Worker({ runtime_id, worker_id }, ask, cursor => this.#open(`${path}/events/ws`, { cursor }));
    }

    /** Follows all workers of all runtimes, and comes back after every interruption: see sekisho.d.ts. */
    watchWorkers({ onUpdate, ...options } = {}) {
        const fleet = new Fleet();
        return follow({
            ...options,
            open: () => {
                fleet.restart();
                return this.#open("workers/events/ws");
            },
            probe: signal => this.runtimes({ signal }),
            refusal: ended,
            onFrame(frame) {
                const change = applied(fleet, frame);
                if (change !== undefined) onUpdate?.(fleet, change ?? undefined);
            },
        });
    }

    #open(path, query) {
        const url = address(this.#with.root, path, query);
        url.protocol = url.protocol.replace("http", "ws");
        const { token, WebSocket } = this.#with;
        // A page cannot set headers on a WebSocket. Without a token nothing is offered, so that nothing need be chosen.
        return new WebSocket(url, token ? ["sekisho.v1", `bearer.${token}`] : []);
    }

    async #ask(method, path, { query, body, key, signal } = {}) {
        const { root, token, timeout, fetch } = this.#with;
        const headers = { accept: "application/json" };
        if (token) headers.authorization = `Bearer ${token}`;
        if (key !== undefined) headers["idempotency-key"] = key;
        if (body !== undefined) headers["content-type"] = "application/json";
        const outcome = method === "GET" ? undefined : "unknown";
        const timer = AbortSignal.timeout(timeout);
        let response, text;
        try {
            response = await fetch(address(root, path, query), {
                method,
                headers,
                body: body === undefined ? undefined : JSON.stringify(body),
                redirect: "error",
                signal: signal ? AbortSignal.any([signal, timer]) : timer,
            });
            text = await response.text();
        } catch (cause) {
            if (signal?.aborted) throw signal.reason;
            throw unanswered(cause, outcome);
        }
        return result(response, text, outcome);
    }
}

class Worker {
    #ask;
    #open;

    constructor({ runtime_id, worker_id }, ask, open) {
        Object.assign(this, { runtime_id, worker_id });
        this.#ask = ask;
        this.#open = open;
    }

    async get(options) {
        return (await this.#ask("GET", "", options)).worker;
    }

    /** Sends a text, or a whole body: `{ content, raw: true }`, `{ content, secret: true }`, `{ kind: "eof" }`. */
    send(input, options) {
        return this.#order("input", { ...options, body: typeof input === "string" ? { content: input } : input });
    }

    interrupt(options) {
        return this.#order("interrupt", options);
    }

    stop(reason, options) {
        return this.#order("stop", { ...options, body: { reason } });
    }

    cancel(reason, options) {
        return this.#order("cancel", { ...options, body: { reason } });
    }

    resize({ cols, rows }, options) {
        return this.#order("resize", { ...options, body: { cols, rows } });
    }

    resume(options) {
        return this.#order("resume", options);
    }

    async remove(options) {
        await this.#ask("DELETE", "", options);
    }

    async transcript({ start, limit, contains, ignoreCase, ...options } = {}) {
        const query = { start, limit, contains, ignore_case: ignoreCase };
        return (await this.#ask("GET", "/transcript", { ...options, query })).transcript;
    }

    requests(options) {
        return this.#ask("GET", "/requests", options);
    }

    answer(requestId, optionId, options) {
        return this.#order(`requests/${segment(requestId)}`, { ...options, body: { option_id: optionId } });
    }

    dismiss(requestId, options) {
        return this.#order(`requests/${segment(requestId)}`, { ...options, body: { dismiss: true } });
    }

    /** Follows the worker's stream, and comes back after every interruption: see sekisho.d.ts. */
    watch(options = {}) {
        const { runtime_id, worker_id } = this;
        const refusal = diagnostic => ended(diagnostic, { runtime_id, worker_id });
        return follow({ ...options, open: this.#open, probe: signal => this.get({ signal }), refusal });
    }

    async #order(path, options) {
        return (await this.#ask("POST", `/${path}`, options)).ack;
    }
}

/** What a frame changes; frames that no gateway sends so end the stream. */
function applied(fleet, frame) {
    try {
        return fleet.apply(frame);
    } catch (cause) {
        throw new GatewayError({
            code: "not_a_gateway",
            title: "What answered is not a sekisho gateway",
            detail: cause instanceof RangeError ? cause.message : "a frame of the stream is malformed",
            origin: "network",
            retryable: false,
        }, { cause });
    }
}

/** The error of a stream that has ended for good. */
function ended({ code, message }, about) {
    return new GatewayError({ code, title: "The stream has ended", detail: message, retryable: false, ...about });
}

/** Whether an event is the state of the worker at a place: what came before it is to be thrown away. */
export function isSnapshot({ event_id }) {
    return event_id.startsWith("snapshot:");
}

function runtime(runtimeId) {
    return `runtimes/${segment(runtimeId)}`;
}

/** An id as a segment of a path. A step in a path is no id, and would name another route. */
function segment(id) {
    if (typeof id !== "string" || ["", ".", ".."].includes(id)) throw new TypeError(`not an id: ${JSON.stringify(id)}`);
    return encodeURIComponent(id);
}

function address(root, path, query = {}) {
    const url = new URL(`api/${path}`, root);
    for (const [name, values] of Object.entries(query)) {
        for (const value of [values].flat()) {
            if (value !== undefined && value !== null) url.searchParams.append(name, value);
        }
    }
    return url;
}

/** What went wrong where there was no answer: with the codes that the command line uses for it, too. */
function unanswered(cause, outcome) {
    const late = cause?.name === "TimeoutError";
    return new GatewayError({
        code: late ? "gateway_timeout" : "gateway_unreachable",
        title: late ? "The gateway did not answer in time" : "The gateway cannot be reached",
        detail: "",
        origin: "network",
        retryable: true,
        outcome,
    }, { cause });
}

function result(response, text, outcome) {
    let body;
    try {
        body = text === "" && response.ok ? undefined : JSON.parse(text);
    } catch {
        body = null;
    }
    if (response.ok && body !== null) return body;
    const retryAfter = Number.parseInt(response.headers.get("retry-after"), 10);
    const more = Number.isNaN(retryAfter) ? {} : { retry_after: retryAfter };
    if (typeof body?.code === "string" && !response.ok) throw new GatewayError({ status: response.status, ...body, ...more });
    throw new GatewayError({
        code: "not_a_gateway",
        title: "What answered is not a sekisho gateway",
        detail: `the answer has the status ${response.status} and no problem details`,
        status: response.status,
        origin: "network",
        retryable: false,
        outcome,
        ...more,
    });
}
