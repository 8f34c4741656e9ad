// What bodies, replies and frames are made of. Made from the OpenAPI document of a gateway, and not to be edited:
// SEKISHO_UPDATE_DOCS=1 cargo test -p sekisho-tests --test javascript

/** `{"ack":…}` */
export interface AckReply {
    /** The acknowledgement. */
    ack: AckView;
    /** What is to be told beside it. */
    diagnostics?: Array<Diagnostic>;
}

/** That something was done. */
export interface AckView {
    /** The number of the event that told it. */
    event_id: number;
    /** The runtime's half of the worker's name. */
    runtime_id: RuntimeId;
    /** The worker's present state. */
    status: WorkerStatus;
    /** Of an input, the sequence of the transcript's item that it became. */
    transcript_sequence?: number;
    /** The worker's own half. */
    worker_id: WorkerId;
}

/** The answer to a request. */
export interface Answer {
    dismiss?: boolean | null;
    option_id?: string | null;
}

/** What a runtime can do, as far as is known: a truth for each operation, and for `idempotency`. */
export type Capabilities = Record<string, boolean>;

/** Something that a worker was meant to be able to do. */
export interface Capability {
    /** What. */
    name: string;
    /** Why. */
    reason?: string;
}

/** Something that a worker was meant to be able to do. */
export interface CapabilityInput {
    /** What. */
    name: string;
    /** Why. */
    reason?: string | null;
}

/** A create: what a runtime takes but for mount references and a configuration bundle. */
export interface Create {
    /** In which directory its process starts, if its profile allows that; for runtimes with the feature `placement`. */
    cwd?: string | null;
    /** Variables for its process, if its profile allows them; for runtimes with the feature `placement`. */
    env?: Record<string, string>;
    /** What it is for. */
    intent: IntentInput;
    /** What to file it under; for runtimes with the feature `names`. */
    labels?: Record<string, string>;
    /** What to call it; for runtimes with the feature `names`. */
    name?: string | null;
    /** What it runs. */
    profile?: Profile;
    /** What it is meant to be able to do. */
    requested_capabilities?: Array<CapabilityInput>;
    /** The workspaces that it is given. */
    workspace_refs?: Array<Reference>;
}

/** Something to be told beside a reply or within a stream: about what is missing, or what became of the stream. */
export interface Diagnostic {
    /** What it is: the code of an error, or one of its own. Programs may rely on it. */
    code: string;
    /** The same for people, in one sentence. */
    message: string;
    /** In how many milliseconds the gateway will try again, in streams. */
    retry_after_ms?: number;
    /** The runtime that it is about, in replies about several. */
    runtime_id?: RuntimeId;
    /** How bad it is. */
    severity: Severity;
}

/** What ended a worker. */
export type EndReason = "exited" | "signalled" | "not_started" | "stopped" | "cancelled" | "runtime_lost" | "store_failed" | (string & {});

/** An event, and where it stands. */
export interface Envelope {
    /** Where to go on after it. Opaque; as a server-sent event's `id` as well. */
    cursor: string;
    /** What identifies it, for every viewer and at every gateway. That of a snapshot begins with `snapshot:`. */
    event_id: string;
    /** What happened, as the runtime wrote it: an object with the name of the `event`, and its `data`. */
    payload: unknown;
    /** The runtime's half of the worker's name. */
    runtime_id: RuntimeId;
    /** The worker's own half. */
    worker_id: WorkerId;
}

/** What is different from now on. */
export type FleetChange = {
    event: "worker_added";
    /** The worker. */
    worker: WorkerView;
} | {
    event: "worker_changed";
    /** The worker as it is now. */
    worker: WorkerView;
} | {
    event: "worker_gone";
    /** The runtime's half of its name. */
    runtime_id: RuntimeId;
    /** Its own half. */
    worker_id: WorkerId;
} | {
    event: "request_opened";
    /** The request. */
    request: RequestView;
} | {
    event: "request_resolved";
    /** Which of its requests. */
    request_id: RequestId;
    /** The runtime's half of the worker's name. */
    runtime_id: RuntimeId;
    /** The worker's own half. */
    worker_id: WorkerId;
} | {
    event: "runtime_changed";
    /** The runtime as it is now. */
    runtime: FleetRuntime;
} | {
    event: "runtime_gone";
    /** Which runtime. */
    runtime_id: RuntimeId;
};

/** One message of the stream of all workers, or the `data` of one server-sent event. */
export type FleetFrame = {
    kind: "snapshot";
    /** The number of the last change that is part of it. The numbers of changes only grow. */
    position: number;
    /** How many frames of the kind `runtime` follow. After them, the changes do. */
    runtimes: number;
} | {
    kind: "runtime";
    /** Their open requests. */
    requests: Array<RequestView>;
    /** The runtime. */
    runtime: FleetRuntime;
    /** Its workers, in the order in which it lists them. */
    workers: Array<WorkerView>;
} | {
    /** What is different. */
    change: FleetChange;
    kind: "change";
    /** Its number: one more than that of the change before it. */
    position: number;
} | {
    /** What there is to be told. */
    diagnostic: Diagnostic;
    kind: "diagnostic";
};

/** A runtime in the stream of all workers. While it is not reached, its workers are those that it last listed. */
export interface FleetRuntime {
    /** Why they cannot be listed, or what is not shown of them. */
    diagnostics?: Array<Diagnostic>;
    /** What people call it. */
    display_name: string;
    /** Since when its workers cannot be listed: when it last answered, or where it never has, when it was first asked in vain. RFC 3339, UTC, in seconds. */
    failing_since?: string;
    /** Where it runs: the name of a kind. */
    kind: string;
    /** Whether the gateway reaches it. */
    reachability: Reachability;
    /** Its name. */
    runtime_id: RuntimeId;
}

/** One message of a stream, or the `data` of one server-sent event. */
export type Frame = {
    /** What happened, and where it stands. */
    envelope: Envelope;
    kind: "event";
} | {
    /** What there is to be told. */
    diagnostic: Diagnostic;
    kind: "diagnostic";
};

/** What the gateway says of itself. */
export interface HealthReply {
    /** `ok`, `ready` or `draining`. */
    status: string;
}

/** An input: words, or the end of them. */
export interface Input {
    /** What is said; nothing at the end of input. */
    content?: string | null;
    /** Whose words it is, or that no more will come. */
    kind?: InputKind;
    /** Whether it goes to the worker's terminal as it is; for runtimes with the feature `raw_input`. */
    raw?: boolean;
    /** Whether it is kept out of transcript, events and logs; for runtimes with the feature `secret_input`. */
    secret?: boolean;
}

/** Whose words an input is. */
export type InputKind = "user" | "system" | "eof";

/** What a worker is for. */
export type Intent = {
    kind: "assistant";
    /** What about. */
    purpose?: string;
} | {
    kind: "task";
    /** Which thing. */
    objective: string;
} | {
    kind: "role";
    /** What for. */
    purpose?: string;
    /** Which role. */
    role: string;
};

/** What a worker is for. */
export type IntentInput = {
    kind: "assistant";
    /** What about. */
    purpose?: string | null;
} | {
    kind: "task";
    /** Which thing. */
    objective: string;
} | {
    kind: "role";
    /** What for. */
    purpose?: string | null;
    /** Which role. */
    role: string;
};

/** One entry of a transcript. */
export interface ItemView {
    /** When it was said, where the runtime tells: RFC 3339. */
    at?: string;
    /** Whether it continues the item before it. */
    cont?: boolean;
    /** What was said. */
    content: string;
    /** The number of the event that told it. */
    event_id: number;
    /** Who said it. */
    role: string;
    /** Counts the worker's items from one. */
    sequence: number;
}

/** The bounds of a runtime's replies. */
export interface Limits {
    /** How many items of a transcript are in one reply at most. */
    max_transcript_items: number;
}

/** The body of an interrupt or a resume, which have nothing to say. */
export type Nothing = Record<string, never>;

/** Whose error it is. */
export type Origin = "client" | "gateway" | "network" | "runtime";

/** Whether a failed command that changes something took effect. */
export type Outcome = "not_applied" | "unknown";

/** What went wrong (RFC 9457). */
export interface Problem {
    code: ProblemCode;
    /** What happened this time. */
    detail: string;
    /** Which request it is about, in the gateway's log: `urn:sekisho:http-request:` and its id. */
    instance?: string;
    /** Whose error it is. */
    origin: Origin;
    /** Whether a command that changes something took effect. */
    outcome?: Outcome;
    /** In which phase of an exchange it happened. */
    phase?: string;
    /** Whether the same request may succeed later although nothing is repaired. */
    retryable: boolean;
    /** The runtime's own code. */
    runtime_code?: string;
    /** Which runtime it is about. */
    runtime_id?: string;
    /** The HTTP status, where there was a response. */
    status?: number;
    /** One sentence about the code. */
    title: string;
    /** `urn:sekisho:problem:` and the code. */
    type: string;
    /** Which worker it is about. */
    worker_id?: string;
}

/** The cause of a problem. */
export type ProblemCode = "invalid_request" | "invalid_identifier" | "unauthorized" | "origin_not_allowed" | "host_not_allowed" | "denied" | "not_allowed" | "unknown_route" | "unknown_runtime" | "worker_not_found" | "request_gone" | "unknown_profile" | "method_not_allowed" | "runtime_stopped" | "worker_busy" | "worker_not_running" | "worker_running" | "request_already_answered" | "idempotency_conflict" | "conflict" | "payload_too_large" | "head_too_large" | "unsupported_media_type" | "internal" | "unsupported" | "network_error" | "runtime_auth_failed" | "runtime_error" | "malformed_response" | "response_too_large" | "unexpected_redirect" | "identity_mismatch" | "runtime_busy" | "runtime_unavailable" | "runtime_timeout" | "gateway_busy" | "cursor_malformed" | "observation_only" | "cursor_unknown" | "cursor_expired" | "malformed_frame" | "viewer_lagged" | "too_many_viewers" | "going_away";

/** What a worker runs. Profiles are the runtime operator's: a name never is an executable or a path. */
export type Profile = {
    kind: "runtime_default";
} | {
    kind: "builtin";
    value: string;
} | {
    kind: "named";
    value: string;
};

/** A profile that workers can be made of: what its operator says of it, and never a command, a path or a variable. */
export interface ProfileSummary {
    /** Whether `Profile::RuntimeDefault` means this one. */
    default?: boolean;
    /** What people should know of it. */
    description?: string;
    /** What it runs: `lines`, `terminal`, `acp`, `builtin:echo`, or another kind. */
    kind: string;
    /** What `Profile::Named` or `Profile::Builtin` calls it. */
    name: string;
    /** Whether its workers are on a terminal, which can be resized and takes raw input. */
    terminal?: boolean;
}

/** A list, or a page of one. */
export interface ProfileSummaryPage {
    /** What cannot, and why. */
    diagnostics: Array<Diagnostic>;
    /** What can be shown. */
    items: Array<ProfileSummary>;
    /** What to ask for as `after` to get the next page, where there is one. */
    next_after?: string;
}

/** Whether a runtime is reached. */
export type Reachability = "reachable" | "unreachable" | "unauthorized" | "misdirected" | "unknown";

/** The body of a stop or cancel. */
export interface Reason {
    /** Why the worker ends, for those who look at it later. */
    reason?: string | null;
}

/** A name for something outside, such as a workspace. */
export interface Reference {
    /** What the worker calls it. */
    name: string;
    /** What the runtime knows it by. */
    reference: string;
}

export type RequestId = string;

/** One of the answers to a request. */
export interface RequestOption {
    /** What it means: `allow_once`, `reject_once`, or another kind. */
    kind: string;
    /** What people read. */
    name: string;
    /** Names it among the options of the request. */
    option_id: string;
}

/** A question of a worker that waits for an answer. */
export interface RequestView {
    /** What there is to know about it. */
    detail?: string;
    /** When it will be dismissed, if its profile says so: RFC 3339. */
    expires_at?: string;
    /** What is asked for: `permission`, `choice`, or another kind. */
    kind: string;
    /** When it was asked: RFC 3339. */
    opened_at: string;
    /** The answers that there are. */
    options: Array<RequestOption>;
    /** Names it among the worker's requests. */
    request_id: RequestId;
    /** The runtime's half of the worker's name. */
    runtime_id: RuntimeId;
    /** The question in one line. */
    title: string;
    /** The tool call that waits for it. */
    tool_call_id?: string;
    /** The worker's own half. */
    worker_id: WorkerId;
}

/** `{"requests":…}` */
export interface RequestsReply {
    /** What cannot be shown, and why. */
    diagnostics: Array<Diagnostic>;
    /** The open requests, oldest first. */
    requests: Array<RequestView>;
}

export type RuntimeId = string;

/** `{"runtime":…}` */
export interface RuntimeReply {
    /** The runtime. */
    runtime: RuntimeView;
}

/** What a runtime says of its own state. */
export type RuntimeStatus = "running" | "stopped" | "unknown";

/** A runtime as clients see it. */
export interface RuntimeView {
    /** What it can do. */
    capabilities: Capabilities;
    /** What is wrong with it. */
    diagnostics: Array<Diagnostic>;
    /** What people call it. */
    display_name: string;
    /** Where it runs: the name of a kind. */
    kind: string;
    /** When it last answered: RFC 3339, UTC, in seconds. */
    last_seen_at: string | null;
    /** The bounds of its replies, where they are known. */
    limits: Limits | null;
    /** Whether the gateway reaches it. */
    reachability: Reachability;
    /** Its name. */
    runtime_id: RuntimeId;
    /** What it last said of itself. */
    status: RuntimeStatus;
    /** How many workers it has, where that is known. */
    workers: WorkerCounts | null;
}

/** A list, or a page of one. */
export interface RuntimeViewPage {
    /** What cannot, and why. */
    diagnostics: Array<Diagnostic>;
    /** What can be shown. */
    items: Array<RuntimeView>;
    /** What to ask for as `after` to get the next page, where there is one. */
    next_after?: string;
}

/** How bad it is. */
export type Severity = "error" | "warning" | "info";

/** The body of a resize: the size of a terminal, in characters. */
export interface TerminalSize {
    /** How many characters a line has. */
    cols: number;
    /** How many lines there are. */
    rows: number;
}

/** `{"transcript":…}` */
export interface TranscriptReply {
    /** What cannot be shown of it. */
    diagnostics?: Array<Diagnostic>;
    /** The page. */
    transcript: TranscriptView;
}

/** A page of a worker's transcript. */
export interface TranscriptView {
    /** How many items from `start` on the runtime no longer keeps: the page begins after them. */
    dropped?: number;
    /** The items, oldest first: all of the page, or those that hold the text that was asked for. */
    items: Array<ItemView>;
    /** How many items were asked for at most. */
    limit: number;
    /** How many items come before the next page, where there is one. */
    next_start: number | null;
    /** The runtime's half of the worker's name. */
    runtime_id: RuntimeId;
    /** How many items come before the page. */
    start: number;
    /** How many items the transcript has. */
    total_items: number;
    /** The worker's own half. */
    worker_id: WorkerId;
}

/** What a worker is doing. */
export type WorkerActivity = "idle" | "running" | "waiting" | (string & {});

/** What can be done with a worker now. */
export interface WorkerCapabilities {
    /** It can be made to end. */
    cancel: boolean;
    /** It can be watched. */
    observe_events: boolean;
    /** Its transcript can be read. */
    read_transcript: boolean;
    /** It takes input. */
    send_input: boolean;
    /** It can be told to end. */
    stop: boolean;
}

/** How many workers a runtime has. */
export interface WorkerCounts {
    /** That run. */
    active: number;
    /** That were cancelled. */
    cancelled: number;
    /** That have stopped. */
    stopped: number;
    /** In all. */
    total: number;
}

/** How a worker ended. */
export interface WorkerEnd {
    /** What its process exited with. */
    exit_code?: number;
    /** The reason that a stop or cancel was given, or what the system said. */
    message?: string;
    /** What ended it. */
    reason: EndReason;
    /** The number of the signal that ended its process. */
    signal?: number;
}

export type WorkerId = string;

/** `{"worker":…}` */
export interface WorkerReply {
    /** What is to be told beside it. */
    diagnostics?: Array<Diagnostic>;
    /** The worker. */
    worker: WorkerView;
}

/** The state of a worker. */
export type WorkerStatus = "running" | "stopped" | "cancelled" | "unknown";

/** A worker as clients see it. Mount references and configuration bundles stay behind. */
export interface WorkerView {
    /** What it is doing, where the runtime can tell. */
    activity?: WorkerActivity;
    /** What can be done with it now. */
    capabilities: WorkerCapabilities;
    /** When it was created. */
    created_at?: string;
    /** How it ended. */
    end?: WorkerEnd;
    /** When it ended. */
    ended_at?: string;
    /** What it is for. */
    intent: Intent;
    /** Where its runtime runs: the name of a kind. */
    kind: string;
    /** What its creator filed it under. */
    labels?: Record<string, string>;
    /** The number of its newest event. */
    last_event_id: number;
    /** When it last wrote something. */
    last_output_at?: string;
    /** What its creator called it. */
    name?: string;
    /** What it runs. */
    profile: Profile;
    /** What it was meant to be able to do; not told in lists. */
    requested_capabilities?: Array<Capability>;
    /** How many of its requests wait for an answer. */
    requests?: number;
    /** Whether it can be taken up again, its runtime having gone away. */
    resumable?: boolean;
    /** The runtime's half of its name. */
    runtime_id: RuntimeId;
    /** When its process started. */
    started_at?: string;
    /** Its state. */
    status: WorkerStatus;
    /** Whether it was told to end and has not yet. */
    stopping?: boolean;
    /** How many items its transcript has. */
    transcript_len: number;
    /** Whether texts were cut, as they are in lists, to `MAX_LISTED_TEXT` characters. */
    truncated?: boolean;
    /** Its own half. */
    worker_id: WorkerId;
    /** The workspaces that it was given; not told in lists. */
    workspace_refs?: Array<Reference>;
}

/** A list, or a page of one. */
export interface WorkerViewPage {
    /** What cannot, and why. */
    diagnostics: Array<Diagnostic>;
    /** What can be shown. */
    items: Array<WorkerView>;
    /** What to ask for as `after` to get the next page, where there is one. */
    next_after?: string;
}
