// What a client does at a real gateway, the same in node and in a page; the report is looked at by the test that runs it.

/** The lines that a worker has written and been told, with what else came between them. */
function listener() {
    const seen = { events: [], diagnostics: [], states: [] };
    let wake = () => {};
    const note = list => value => {
        seen[list].push(value);
        wake();
    };
    return {
        seen,
        hooks: { onEvent: note("events"), onDiagnostic: note("diagnostics"), onState: note("states") },
        text: () => seen.events.map(({ payload }) => payload.event === "text_delta" ? payload.data.text : "").join(""),
        async until(reached) {
            while (!reached()) await new Promise(resolve => { wake = resolve; });
        },
        /** What is done before the stream has caught up may be told by its snapshot, and by no event. */
        caughtUp() {
            return this.until(() => seen.diagnostics.some(({ code }) => code === "caught_up"));
        },
    };
}

const failed = promise => promise.then(
    () => "no error",
    ({ name, code, status, outcome }) => ({ name, code, status: status ?? null, outcome: outcome ?? null }),
);

async function shell(gateway, sockets, isSnapshot) {
    const made = await gateway.create("embedded", {
        intent: { kind: "task", objective: "a test" },
        profile: { kind: "named", value: "sh" },
        labels: { of: "clients-js" },
    }, { key: `key-${Math.random()}` });
    const worker = gateway.worker(made);
    const first = listener();
    const watch = worker.watch(first.hooks);
    await first.caughtUp();
    await worker.send("echo one");
    await first.until(() => first.text().includes("one\n"));
    // A connection that breaks is opened again by itself.
    sockets.at(-1).close();
    await worker.send("echo two");
    await first.until(() => first.text().includes("two\n"));
    watch.close();
    await watch.done;

    // A client that went away comes back with its cursor.
    await worker.send("echo three");
    const second = listener();
    const again = worker.watch({ ...second.hooks, cursor: watch.cursor });
    await second.until(() => second.text().includes("three\n"));
    again.close();
    const ids = first.seen.events.concat(second.seen.events).map(({ event_id }) => event_id);
    const listed = await gateway.workers({ runtime_id: "embedded", labels: { of: "clients-js" }, limit: 10 });
    const { items } = await worker.transcript({ limit: 100 });
    const found = await worker.transcript({ limit: 100, contains: "ECHO T", ignoreCase: true });
    const stopped = await worker.stop("no longer needed");
    return {
        first: first.text(),
        second: second.text(),
        snapshots: first.seen.events.filter(isSnapshot).length + second.seen.events.filter(isSnapshot).length,
        repeated: ids.length - new Set(ids).size,
        waited: first.seen.states.filter(state => state === "waiting").length,
        last_state: first.seen.states.at(-1),
        listed: listed.items.some(({ worker_id }) => worker_id === worker.worker_id),
        found: found.items.map(({ content }) => content),
        said: items.filter(({ role }) => role === "user").map(({ content }) => content),
        stopped: stopped.worker_id === worker.worker_id,
    };
}

async function agent(gateway) {
    const made = await gateway.create("embedded", {
        intent: { kind: "assistant" },
        profile: { kind: "named", value: "agent" },
    });
    const worker = gateway.worker(made);
    const heard = listener();
    const watch = worker.watch(heard.hooks);
    await heard.caughtUp();
    const items = kind => heard.seen.events.filter(({ payload }) => payload.data?.item?.kind === kind).length;
    await worker.send("I will write, write done");
    await heard.until(() => items("request"));
    const { requests: [request] } = await worker.requests();
    const everywhere = await gateway.requests();
    const options = request.options.map(({ option_id }) => option_id);
    const answered = await worker.answer(request.request_id, "allow");
    await heard.until(() => heard.text().includes("done"));
    const late = await failed(worker.answer(request.request_id, "reject"));
    watch.close();
    await worker.cancel();
    return {
        title: request.title,
        options,
        everywhere: everywhere.requests.some(({ request_id }) => request_id === request.request_id),
        answered: answered.worker_id === worker.worker_id,
        late,
    };
}

async function errors({ connect, url, token, gateway }) {
    const nobody = gateway.worker({ runtime_id: "embedded", worker_id: "nobody" });
    const stranger = connect({ url, token: "wrong" }).worker({ runtime_id: "embedded", worker_id: "nobody" });
    const nowhere = connect({ url: "http://127.0.0.1:9", token });
    const aborted = new AbortController();
    aborted.abort(new Error("enough"));
    return {
        unknown: await failed(nobody.get()),
        unknown_command: await failed(nobody.send("hello")),
        unknown_stream: await failed(nobody.watch().done),
        bad_cursor: await failed(nobody.watch({ cursor: "no-cursor" }).done),
        no_token: await failed(stranger.get()),
        no_token_stream: await failed(stranger.watch().done),
        nothing_there: await failed(nowhere.create("embedded", { intent: { kind: "assistant" } })),
        too_late: await failed(connect({ url, token, timeout: 0 }).runtimes()),
        wrong_body: await failed(gateway.create("embedded", { intent: { kind: "butler" } })),
        aborted: await nobody.get({ signal: aborted.signal }).catch(({ message }) => message),
        step: await Promise.resolve().then(() => gateway.worker({ runtime_id: "..", worker_id: "w" })).catch(({ name }) => name),
        thrown: await gateway.worker({ runtime_id: "embedded", worker_id: "nobody" })
            .watch({ onDiagnostic() { throw new Error("of the caller"); } }).done.catch(({ message }) => message),
    };
}

/** The list of all workers, kept live over a connection that breaks. */
async function fleet(gateway, sockets) {
    let state, wake = () => {};
    const changes = new Set();
    const watch = gateway.watchWorkers({
        onUpdate(fleet, change) {
            state = { workers: fleet.workers, requests: fleet.requests, runtimes: fleet.runtimes };
            changes.add(change?.event ?? "anew");
            wake();
        },
    });
    const until = async reached => {
        while (!(state && reached())) await new Promise(resolve => { wake = resolve; });
    };
    await until(() => true);
    const made = await gateway.create("embedded", { intent: { kind: "assistant" }, profile: { kind: "named", value: "agent" } });
    const mine = () => state.workers.find(({ worker_id }) => worker_id === made.worker_id);
    await until(mine);
    sockets.at(-1).close();
    state = undefined;
    await until(mine);
    await gateway.worker(made).send("I will write, write done");
    await until(() => state.requests.some(({ worker_id }) => worker_id === made.worker_id));
    await gateway.worker(made).cancel();
    await until(() => mine().status === "cancelled" && !state.requests.some(({ worker_id }) => worker_id === made.worker_id));
    watch.close();
    await watch.done;
    return {
        runtimes: state.runtimes.map(({ runtime_id }) => runtime_id),
        changes: ["anew", "request_opened", "request_resolved", "worker_added", "worker_changed"].filter(it => changes.has(it)),
    };
}

export async function scenario({ connect, isSnapshot }, { url, token }) {
    const sockets = [];
    const WebSocket = class extends globalThis.WebSocket {
        constructor(...given) {
            super(...given);
            sockets.push(this);
        }
    };
    const gateway = connect({ url, token, WebSocket });
    const { items: runtimes } = await gateway.runtimes();
    const { items: profiles } = await gateway.profiles("embedded");
    return {
        runtimes: runtimes.map(({ runtime_id, reachability }) => [runtime_id, reachability]),
        profiles: profiles.map(({ name }) => name),
        shell: await shell(gateway, sockets, isSnapshot),
        agent: await agent(gateway),
        fleet: await fleet(gateway, sockets),
        errors: await errors({ connect, url, token, gateway }),
    };
}
