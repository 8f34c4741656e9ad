// The types of sekisho.js. Those of bodies and replies are in openapi.d.ts, which is made from the gateway's document.

import type {
    AckView, Answer, Create, Diagnostic, Envelope, FleetChange, FleetRuntime, Input, Problem, ProblemCode, ProfileSummaryPage,
    RequestView, RequestsReply,
    RuntimeView, RuntimeViewPage, TerminalSize, TranscriptView, WorkerView, WorkerViewPage,
} from "./openapi.js";

export type * from "./openapi.js";

/** How long a command may take, in milliseconds. */
export const REQUEST_TIMEOUT: number;

/** The codes of failures that no gateway tells of. */
export type ClientCode = "gateway_unreachable" | "gateway_timeout" | "not_a_gateway";

/** A problem document, or what this client knows by itself. */
export interface ClientProblem extends Partial<Omit<Problem, "code">> {
    code: ProblemCode | ClientCode | (string & {});
    title: string;
    /** In how many seconds it is worth to ask again. */
    retry_after?: number;
}

/** What went wrong. Programs may rely on `code`, and for what changes something on `outcome`. */
export class GatewayError extends Error {
    constructor(problem: ClientProblem, options?: ErrorOptions);
    readonly problem: ClientProblem;
    readonly code: ClientProblem["code"];
    /** The HTTP status; none where there was no response, and at the end of a stream. */
    readonly status?: number;
    readonly origin?: Problem["origin"];
    /** Whether the cause may pass although nothing is repaired. */
    readonly retryable?: boolean;
    /** Of a command that changes something: `not_applied` where it is safe to send it again. */
    readonly outcome?: Problem["outcome"];
    readonly phase?: string;
    readonly runtime_id?: string;
    readonly worker_id?: string;
    readonly runtime_code?: string;
    /** In how many seconds it is worth to ask again. */
    readonly retryAfter?: number;
}

export interface ConnectOptions {
    /** `https://HOST[:PORT][/PREFIX]`; the page's own origin where it is not given. */
    url?: string | URL;
    /** The access token, of `A-Z a-z 0-9 - . _ ~`. */
    token?: string;
    /** In milliseconds. */
    timeout?: number;
    fetch?: typeof globalThis.fetch;
    WebSocket?: typeof globalThis.WebSocket;
}

export interface AskOptions {
    signal?: AbortSignal;
}

export interface KeyedOptions extends AskOptions {
    /** Names the command over all its repetitions (`Idempotency-Key`). */
    key?: string;
}

export interface WorkerName {
    runtime_id: string;
    worker_id: string;
}

export interface WorkersOptions extends AskOptions {
    runtime_id?: string;
    status?: "running" | "stopped" | "cancelled";
    name?: string;
    labels?: Record<string, string>;
    limit?: number;
    /** The `next_after` of the page before. */
    after?: string;
}

export function connect(options?: ConnectOptions): Gateway;

export interface Gateway {
    runtimes(options?: AskOptions): Promise<RuntimeViewPage>;
    runtime(runtimeId: string, options?: AskOptions): Promise<RuntimeView>;
    profiles(runtimeId: string, options?: AskOptions): Promise<ProfileSummaryPage>;
    workers(options?: WorkersOptions): Promise<WorkerViewPage>;
    requests(options?: Partial<WorkerName> & AskOptions): Promise<RequestsReply>;
    create(runtimeId: string, body: Create, options?: KeyedOptions): Promise<WorkerView>;
    worker(name: WorkerName): Worker;
    watchWorkers(options?: WatchWorkersOptions): Watch;
}

export interface WatchWorkersOptions {
    signal?: AbortSignal;
    /** The state of everything, whenever it is another: with the change that made it so, or without one where it came anew as a whole. */
    onUpdate?: (fleet: Fleet, change?: FleetChange) => void;
    onDiagnostic?: (diagnostic: Diagnostic) => void;
    onState?: (state: "connecting" | "open" | "waiting" | "closed") => void;
}

/** All workers of all runtimes. Its lists are new ones each time; their items are not to be changed. */
export interface Fleet {
    /** In the order in which the gateway tells them. */
    readonly runtimes: FleetRuntime[];
    readonly workers: WorkerView[];
    readonly requests: RequestView[];
}

export interface Worker extends WorkerName {
    get(options?: AskOptions): Promise<WorkerView>;
    send(input: string | Input, options?: KeyedOptions): Promise<AckView>;
    interrupt(options?: KeyedOptions): Promise<AckView>;
    stop(reason?: string, options?: AskOptions): Promise<AckView>;
    cancel(reason?: string, options?: AskOptions): Promise<AckView>;
    resize(size: TerminalSize, options?: AskOptions): Promise<AckView>;
    resume(options?: AskOptions): Promise<AckView>;
    remove(options?: AskOptions): Promise<void>;
    transcript(options?: { start?: number; limit?: number; contains?: string; ignoreCase?: boolean } & AskOptions): Promise<TranscriptView>;
    requests(options?: AskOptions): Promise<RequestsReply>;
    answer(requestId: string, optionId: NonNullable<Answer["option_id"]>, options?: KeyedOptions): Promise<AckView>;
    dismiss(requestId: string, options?: KeyedOptions): Promise<AckView>;
    watch(options?: WatchOptions): Watch;
}

export interface WatchOptions {
    /** Where to go on: the `cursor` of an earlier watch of this worker. Without it, a snapshot comes first. */
    cursor?: string;
    signal?: AbortSignal;
    /** Each event once and in order. A snapshot (`isSnapshot`) says to throw away what came before it. What this throws ends the watch. */
    onEvent?: (event: Envelope) => void;
    /** `caught_up`, `upstream_disconnected` and the like. */
    onDiagnostic?: (diagnostic: Diagnostic) => void;
    /** `waiting` is the pause before the stream is opened again. */
    onState?: (state: "connecting" | "open" | "waiting" | "closed") => void;
}

export interface Watch {
    /** The cursor of the last event that was dealt with. */
    readonly cursor: string | undefined;
    /** Resolves once the watch was closed; rejects with a `GatewayError` where it has ended and is not to be opened again. */
    readonly done: Promise<void>;
    close(): void;
}

/** Whether an event is the state of the worker at a place: what came before it is to be thrown away. */
export function isSnapshot(event: Envelope): boolean;
