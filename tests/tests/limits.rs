//! `docs/limits.md` is made of the constants that it tells of.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use sekisho_core::browser_api::{
    BODY_TIMEOUT, HEAD_TIMEOUT, MAX_EQUAL_READS, MAX_LISTED_TEXT, MAX_REPLIES, MAX_REQUEST_BODIES,
    MAX_REQUEST_HEAD, WRITE_TIMEOUT,
};
use sekisho_core::call::{self, CallLimits, MAX_ATTEMPTS, MAX_QUESTIONS};
use sekisho_core::feed::FeedLimits;
use sekisho_core::fleet::{LONGEST_POLL_PAUSE, MAX_CHANGE_BYTES, MAX_CHANGES, POLL_EVERY};
use sekisho_core::heartbeat::{PING_EVERY, PONG_WITHIN};
use sekisho_core::registry::{
    FAILURES_TO_OPEN, FIRST_COOLDOWN, LONGEST_COOLDOWN, MAX_IN_FLIGHT, OVERVIEW_TIMEOUT, TIMEOUTS_TO_OPEN,
};
use sekisho_core::runtime_api::{IdempotencyKey, MAX_CONTAINS, MAX_RETRY_AFTER};
use sekisho_core::transport::{self, MAX_FRAME, MAX_HEAD, MAX_IDLE, MAX_IDLE_CONNECTIONS, UNCOUNTED_REPLY};
use sekisho_core::viewer::{
    CATCH_UP_TIMEOUT, CLOSE_TIMEOUT, LINGER, MAX_FRAME_MEMORY, MAX_UNFINISHED_MESSAGE, MAX_VIEWER_MESSAGE,
    MIN_RING, REPLAY_AHEAD, REPLAY_AHEAD_BYTES, REPLAY_PATIENCE, REPLAY_TURN, ReplayLimits,
};
use sekisho_core::{gateway_client, watch};
use sekisho_listener::{
    BACKLOG, HANDSHAKE_TIMEOUT, LINGER_BYTES, LINGER_SILENCE, LINGER_TIME, SEND_BUFFER, UNSENT,
};
use sekisho_runtime::Limits;
use sekisho_server::Config;
use sekisho_telemetry::{EXPORT_END_TIMEOUT, EXPORT_TIMEOUT, MAX_WAITING_LINES, MAX_WAITING_SPANS};

/// What the generated part begins with.
const MARK: &str = "<!-- made by tests/tests/limits.rs -->";

/// A bound: what it is, how much, its key in the configuration, and what happens beyond it.
type Row = (&'static str, String, &'static str, &'static str);

fn bytes(count: usize) -> String {
    match count {
        count if count % (1 << 20) == 0 => format!("{} MiB", count >> 20),
        count if count % (1 << 10) == 0 => format!("{} KiB", count >> 10),
        count => format!("{count} bytes"),
    }
}

fn time(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis()) {
        (0, millis) => format!("{millis} ms"),
        (seconds, 0) if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        (seconds, 0) if seconds >= 3600 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        (seconds, _) => format!("{seconds} s"),
    }
}

fn of_clients() -> Vec<Row> {
    let config = Config::from_toml("").unwrap();
    let (feed, replays) = (FeedLimits::default(), ReplayLimits::default());
    vec![
        (
            "connections that wait to be accepted",
            BACKLOG.to_string(),
            "",
            "the system refuses or delays them",
        ),
        ("a TLS handshake", time(HANDSHAKE_TIMEOUT), "", "closed"),
        ("lines of the log that wait", MAX_WAITING_LINES.to_string(), "", "lost, told and counted"),
        ("spans that wait", MAX_WAITING_SPANS.to_string(), "", "lost, told and counted"),
        ("the export of a batch of spans", time(EXPORT_TIMEOUT), "", "its spans are lost, told and counted"),
        ("spans at the end of a server", time(EXPORT_END_TIMEOUT), "", "the same"),
        ("a request's head, until it is whole", time(HEAD_TIMEOUT), "", "closed"),
        ("a request's head", bytes(MAX_REQUEST_HEAD), "", "431 `head_too_large`"),
        ("a request's body", bytes(config.max_request_bytes), "max_request_bytes", "413 `payload_too_large`"),
        ("a request's body, until it is whole", time(BODY_TIMEOUT), "", "400 `invalid_request`"),
        ("the bodies of all requests under way", bytes(MAX_REQUEST_BODIES), "", "503 `gateway_busy`"),
        (
            "all responses that clients have not taken yet",
            format!("{}, {} of each not counted", bytes(MAX_REPLIES), bytes(UNCOUNTED_REPLY)),
            "",
            "503 `gateway_busy`",
        ),
        ("a client that takes nothing of its response", time(WRITE_TIMEOUT), "", "reset"),
        ("what the system keeps for a client that does not read", bytes(SEND_BUFFER), "", "the stream waits"),
        ("what of it is not sent yet", bytes(UNSENT as usize), "", "the stream waits"),
        (
            "a refused client that is still writing",
            format!("{}, {}, {} of silence", bytes(LINGER_BYTES), time(LINGER_TIME), time(LINGER_SILENCE)),
            "",
            "closed",
        ),
        (
            "an `Idempotency-Key`",
            format!("{} characters", IdempotencyKey::MAX_LENGTH),
            "",
            "400 `invalid_request`",
        ),
        ("`contains` of a transcript", format!("{MAX_CONTAINS} characters"), "", "400 `invalid_request`"),
        ("a text in a list", format!("{MAX_LISTED_TEXT} characters"), "", "cut, and marked `truncated`"),
        ("viewers", config.max_viewers.to_string(), "max_viewers", "`too_many_viewers`"),
        ("a message of a viewer", bytes(MAX_VIEWER_MESSAGE), "", "`observation_only`"),
        ("one in fragments, with their heads", bytes(MAX_UNFINISHED_MESSAGE), "", "`observation_only`"),
        (
            "pings to a viewer, and its answer",
            format!("every {}, within {}", time(PING_EVERY), time(PONG_WITHIN)),
            "",
            "closed",
        ),
        ("a viewer's side of closing", time(CLOSE_TIMEOUT), "", "closed"),
        (
            "an event",
            bytes(feed.max_event),
            "max_event_bytes",
            "a placeholder in its place (`event_too_large`)",
        ),
        (
            "the frames that a worker's viewers share",
            format!("{} frames, {}", feed.max_frames, bytes(feed.max_bytes)),
            "",
            "older cursors are replayed by the runtime",
        ),
        (
            "the frames that all viewers share",
            format!("{}, and {} of each worker in any case", bytes(MAX_FRAME_MEMORY), bytes(MIN_RING)),
            "",
            "a worker's oldest go, twice as much as comes",
        ),
        (
            "replay streams at once",
            format!(
                "{} of a worker, {} of a runtime, {} in all",
                replays.of_worker, replays.of_runtime, replays.of_gateway
            ),
            "",
            "a viewer waits for its turn",
        ),
        ("waiting for a replay stream", time(REPLAY_PATIENCE), "", "`too_many_viewers`"),
        (
            "a replay stream for whose place others wait",
            time(REPLAY_TURN),
            "",
            "its viewers go on later from where they are",
        ),
        (
            "what is read of a replay ahead of its viewers",
            format!("{REPLAY_AHEAD} frames, {}", bytes(REPLAY_AHEAD_BYTES)),
            "",
            "the runtime waits",
        ),
        ("a replay that is silent", time(CATCH_UP_TIMEOUT), "", "`cursor_expired`"),
        (
            "asking a runtime for its workers while all workers are watched",
            format!("every {}, after failures at last every {}", time(POLL_EVERY), time(LONGEST_POLL_PAUSE)),
            "",
            "",
        ),
        (
            "the changes that the viewers of all workers share",
            format!("{MAX_CHANGES} changes, {}", bytes(MAX_CHANGE_BYTES)),
            "",
            "a viewer further behind is shown the state anew",
        ),
        ("a stream without viewers", time(LINGER), "", "closed"),
        ("shutting down", time(config.drain_time), "drain_time_ms", "what is still in flight is cut off"),
    ]
}

fn of_runtimes() -> Vec<Row> {
    let limits = CallLimits::default();
    vec![
        (
            "equal reads of a runtime under way",
            MAX_EQUAL_READS.to_string(),
            "",
            "further ones wait for the next, together",
        ),
        (
            "commands to a runtime at once",
            MAX_IN_FLIGHT.to_string(),
            "remote[].max_in_flight",
            "503 `runtime_unavailable`",
        ),
        ("connecting", time(limits.connect), "remote[].connect_timeout_ms", "`runtime_timeout`"),
        (
            "the head of a response, and again its body",
            time(limits.response),
            "remote[].response_timeout_ms",
            "`runtime_timeout`",
        ),
        ("a response's body", bytes(limits.max_response_body), "max_response_bytes", "`response_too_large`"),
        (
            "the bodies of all responses that are being read",
            format!("{}, {} of each not counted", bytes(MAX_REPLIES), bytes(UNCOUNTED_REPLY)),
            "",
            "503 `gateway_busy`",
        ),
        ("a response's head", bytes(MAX_HEAD), "", "`malformed_response`"),
        ("attempts of a command that is harmless to repeat", MAX_ATTEMPTS.to_string(), "", "its last error"),
        (
            "pauses between them",
            format!("{} to {}", time(call::FIRST_BACKOFF), time(call::LONGEST_BACKOFF)),
            "",
            "",
        ),
        ("a `Retry-After` that is obeyed", time(MAX_RETRY_AFTER), "", "it counts as that"),
        ("questions who is there before a command", MAX_QUESTIONS.to_string(), "", "`runtime_unavailable`"),
        (
            "what a list over all runtimes waits for each",
            time(OVERVIEW_TIMEOUT),
            "",
            "a diagnostic in its place",
        ),
        (
            "failures in a row",
            format!("{FAILURES_TO_OPEN}, or {TIMEOUTS_TO_OPEN} time-outs"),
            "",
            "503 `runtime_unavailable`, until the gateway has found it again",
        ),
        (
            "how often it is looked for",
            format!("after {}, at last every {}", time(FIRST_COOLDOWN), time(LONGEST_COOLDOWN)),
            "",
            "",
        ),
        (
            "idle connections of an event loop to a runtime",
            format!("{MAX_IDLE_CONNECTIONS}, {}", time(MAX_IDLE)),
            "",
            "closed",
        ),
        ("a frame of a stream", bytes(MAX_FRAME), "", "`malformed_frame`"),
        ("a ping to a runtime", time(transport::PING_TIMEOUT), "", "the stream is opened anew"),
        (
            "pauses between connects of a stream",
            format!("{} to {}", time(watch::FIRST_BACKOFF), time(watch::LONGEST_BACKOFF)),
            "",
            "",
        ),
        (
            "how long a stream is tried again",
            time(watch::GIVE_UP_AFTER),
            "give_up_after_ms",
            "its viewers are told to come back themselves",
        ),
    ]
}

fn of_own_runtime() -> Vec<Row> {
    let Limits {
        max_workers,
        max_ended_workers,
        keep_ended,
        max_transcript_items,
        max_transcript_bytes,
        max_total_transcript_bytes,
        max_backlog_events,
        max_backlog_bytes,
        max_total_backlog_bytes,
        max_subscriptions,
    } = Limits::default();
    vec![
        ("workers that run", max_workers.to_string(), "limits.max_workers", "503 `runtime_full`"),
        (
            "workers that have ended",
            format!("{max_ended_workers}, {}", time(keep_ended)),
            "limits.max_ended_workers, limits.keep_ended",
            "the one that ended first is forgotten",
        ),
        (
            "a worker's transcript",
            format!("{max_transcript_items} items, {}", bytes(max_transcript_bytes)),
            "limits.max_transcript_items, limits.max_transcript_bytes",
            "the oldest go",
        ),
        (
            "all transcripts, in memory",
            bytes(max_total_transcript_bytes),
            "limits.max_total_transcript_bytes",
            "of those that ended, the oldest go",
        ),
        (
            "a worker's events for streams that come back",
            format!("{max_backlog_events} events, {}", bytes(max_backlog_bytes)),
            "limits.max_backlog_events, limits.max_backlog_bytes",
            "the oldest go, and their cursors are refused",
        ),
        ("all such events", bytes(max_total_backlog_bytes), "limits.max_total_backlog_bytes", "likewise"),
        ("streams", max_subscriptions.to_string(), "limits.max_subscriptions", "503 `runtime_full`"),
    ]
}

fn of_command_line() -> Vec<Row> {
    let limits = gateway_client::LIMITS;
    vec![
        ("connecting to a gateway", time(limits.connect), "", "`gateway_unreachable`"),
        (
            "its response",
            format!("{}, {}", time(limits.response), bytes(limits.max_response_body)),
            "",
            "`gateway_timeout`, `response_too_large`",
        ),
        (
            "pauses between connects of a stream",
            format!("{} to {}", time(gateway_client::FIRST_BACKOFF), time(gateway_client::LONGEST_BACKOFF)),
            "",
            "",
        ),
        ("how long a stream is tried again", time(gateway_client::GIVE_UP_AFTER), "", "the command ends"),
        (
            "a list that is printed once from the stream of all workers",
            time(gateway_client::FIRST_STATE_WITHIN),
            "",
            "`gateway_timeout`",
        ),
        (
            "the list of all workers",
            format!("{} runtimes, workers and requests", gateway_client::MAX_FLEET_ENTRIES),
            "",
            "`not_a_gateway`",
        ),
        ("how long one that failed stands before those that run", time(gateway_client::LATELY), "", ""),
    ]
}

fn rendered() -> String {
    let mut page = String::new();
    for (title, rows) in [
        ("What clients can use of a gateway", of_clients()),
        ("What a gateway gives to a runtime", of_runtimes()),
        ("What sekisho's own runtime keeps", of_own_runtime()),
        ("What the command line waits for", of_command_line()),
    ] {
        writeln!(page, "\n## {title}\n\n| bound | how much | key | beyond it |\n|---|---|---|---|").unwrap();
        for (what, much, key, beyond) in rows {
            let keys: Vec<String> =
                key.split(", ").filter(|key| !key.is_empty()).map(|key| format!("`{key}`")).collect();
            writeln!(page, "| {what} | {much} | {} | {beyond} |", keys.join(", ")).unwrap();
        }
    }
    page
}

#[test]
fn the_table_of_limits_says_what_the_constants_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let path = docs.join("limits.md");
    let page = fs::read_to_string(&path).unwrap();
    let (introduction, _) = page.split_once(MARK).unwrap();
    let expected = format!("{introduction}{MARK}\n{}", rendered());
    if page != expected && env::var_os("SEKISHO_UPDATE_DOCS").is_some() {
        return fs::write(&path, expected).unwrap();
    }
    let advice = "to write it anew:\nSEKISHO_UPDATE_DOCS=1 cargo test -p sekisho-tests --test limits";
    assert!(page == expected, "docs/limits.md is not what the constants are; {advice}");
}

#[test]
fn every_key_is_one_of_the_configuration() {
    let configuration =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")).unwrap();
    let rows = [of_clients(), of_runtimes(), of_own_runtime()].concat();
    for key in rows.iter().flat_map(|row| row.2.split(", ")).filter(|key| !key.is_empty()) {
        let name = key.strip_prefix("limits.").unwrap_or(key);
        assert!(configuration.contains(&format!("`{name}`")), "{key} is not in docs/configuration.md");
    }
}
