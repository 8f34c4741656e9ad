// The life of one viewer: open, read, and come back by what the close code's range says (docs/observation.md, "The end").

/** The first and the longest pause before a stream is opened again, in milliseconds. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 30_000;

/** What a close code says to do. A socket that never opened, or broke, closes with 1006. */
export function afterClose(code) {
    if (code === 1008 || code >= 4500) return "end";
    return code >= 4400 ? "anew" : "resume";
}

/** How long to wait before the next attempt: half of it is chance, so that the viewers of a gateway do not come at once. */
export function pauseBefore(attempt, random = Math.random) {
    const longest = Math.min(FIRST_PAUSE * 2 ** attempt, LONGEST_PAUSE);
    return longest / 2 + (random() * longest) / 2;
}

/**
 * Follows a stream until `close()`, the signal, or an end that is none to come back from.
 *
 * `open(cursor)` makes a WebSocket; `probe()` asks for the worker over HTTP, as a page cannot read why a WebSocket did not
 * open; `refusal(diagnostic)` makes the error of a stream that has ended. `onFrame` gets what is neither an event nor a
 * diagnostic.
 */
export function follow({ open, probe, refusal, cursor, signal, onEvent, onDiagnostic, onFrame, onState }) {
    const aborted = new AbortController();
    let socket, timer, settle;
    let attempt = 0;
    const done = new Promise((resolve, reject) => { settle = { resolve, reject }; });
    // A caller who does not look at the end is not told of it twice.
    done.catch(() => {});
    const watch = { done, close, get cursor() { return cursor; } };

    function finish(error) {
        if (settle === undefined) return;
        const { resolve, reject } = settle;
        settle = undefined;
        clearTimeout(timer);
        signal?.removeEventListener("abort", close);
        aborted.abort();
        socket?.close();
        onState?.("closed");
        if (error === undefined) resolve();
        else reject(error);
    }

    function close() {
        finish();
    }

    /** What a callback throws ends the watch: to go on would pass an event by. */
    function guarded(call) {
        try {
            call();
        } catch (error) {
            finish(error);
        }
    }

    function start() {
        onState?.("connecting");
        let last, opened = false, gone = false;
        socket = open(cursor);
        const end = code => {
            if (!settle || gone) return;
            gone = true;
            guarded(() => ended(code, opened, last));
        };
        socket.addEventListener("open", () => {
            opened = true;
            if (settle) guarded(() => onState?.("open"));
        });
        socket.addEventListener("message", ({ data }) => {
            if (!settle) return;
            guarded(() => {
                const frame = JSON.parse(data);
                if (frame.kind === "event") {
                    attempt = 0;
                    onEvent?.(frame.envelope);
                    // Only what has been dealt with is not to come again.
                    cursor = frame.envelope.cursor;
                } else if (frame.kind === "diagnostic") {
                    last = frame.diagnostic;
                    if (last.code === "caught_up") attempt = 0;
                    onDiagnostic?.(frame.diagnostic);
                } else {
                    attempt = 0;
                    onFrame?.(frame);
                }
            });
        });
        socket.addEventListener("close", ({ code }) => end(code));
        // Not every platform says that a socket has closed which has never opened.
        socket.addEventListener("error", () => { if (!opened) end(1006); });
    }

    function ended(code, opened, last) {
        const next = afterClose(code);
        if (next === "end") return finish(refusal(last ?? { code: `closed_${code}`, message: "" }));
        if (next === "anew") cursor = undefined;
        const pause = Math.max(pauseBefore(attempt), Math.min(last?.retry_after_ms ?? 0, LONGEST_PAUSE));
        attempt += 1;
        onState?.("waiting");
        timer = setTimeout(() => (opened ? start() : ask()), pause);
    }

    /** Finds out whether to try again is of use: a page is not let in without a token, and cannot read so from a socket. */
    async function ask() {
        try {
            await probe(aborted.signal);
        } catch (error) {
            if (error?.status === 401 || error?.status === 403) return finish(error);
        }
        if (settle) guarded(start);
    }

    if (signal?.aborted) finish();
    else {
        signal?.addEventListener("abort", close);
        guarded(start);
    }
    return watch;
}
