//! The parameters of paths, queries and headers.

use serde_json::{Value, json};

use crate::id::{MAX_ID_LENGTH, RuntimeId};
use crate::runtime_api::{IdempotencyKey, MAX_CONTAINS};

/// How many items of a transcript every runtime gives at a time; deployed ones give no more.
const TRANSCRIPT_PAGE: u64 = 256;

/// The schema of an id.
fn id() -> Value {
    let schema = schemars::SchemaGenerator::default().root_schema_for::<RuntimeId>();
    let [max, pattern] = ["maxLength", "pattern"].map(|key| schema.get(key));
    json!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": pattern })
}

/// The schema of both ids of a worker, with a slash between them.
fn worker_ref() -> Value {
    let id = id();
    let id = id["pattern"].as_str().unwrap_or_default().trim_matches(['^', '$']);
    json!({ "type": "string", "pattern": format!("^{id}/{id}$"), "maxLength": 2 * MAX_ID_LENGTH + 1 })
}

/// The parameters of paths, which all routes share.
pub(super) fn shared() -> Value {
    let parameter = |name: &str, description: &str| json!({ "name": name, "in": "path", "required": true, "description": description, "schema": id() });
    json!({
        "runtime_id": parameter("runtime_id", "Names the runtime."),
        "worker_id": parameter("worker_id", "Names the worker within its runtime."),
        "request_id": parameter("request_id", "Names the request within its worker."),
    })
}

/// The parameters of a path: the names in braces.
pub(super) fn of_path(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
}

/// What a query asks for a part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The workers of all runtimes.
    AllWorkers,
    /// The workers of a runtime.
    Workers,
    /// A transcript.
    Transcript,
    /// A stream.
    Stream,
}

/// A parameter of a query.
pub(super) fn of_query(name: &str, part: Part) -> Value {
    let number = |least: u64, most: u64| json!({ "type": "integer", "minimum": least, "maximum": most });
    let (schema, description) = match (name, part) {
        ("status", _) => {
            (json!({ "enum": ["running", "stopped", "cancelled"] }), "Only workers of this status.")
        }
        ("name", _) => (json!({ "type": "string" }), "Only workers of this name."),
        ("label", _) => (
            json!({ "type": "array", "items": { "type": "string", "pattern": "=" }, "uniqueItems": true }),
            "Only workers with this label, `KEY=VALUE`. May be given several times, each time with another KEY.",
        ),
        ("limit", Part::Transcript) => (
            number(0, TRANSCRIPT_PAGE),
            "How many items to read. Some runtimes give more at a time: `max_transcript_items` of their `limits`.",
        ),
        ("limit", _) => (number(1, u64::MAX), "So many at most. A reply never holds more than 200."),
        ("start", _) => (number(0, u64::MAX), "How many items to skip."),
        ("contains", _) => (
            json!({ "type": "string", "minLength": 1, "maxLength": MAX_CONTAINS }),
            "Only those items of the page that hold this text. It takes no part in how pages are counted.",
        ),
        ("ignore_case", _) => (
            json!({ "type": "boolean" }),
            "With `contains`: capital and small letters are the same, by Unicode's mappings that depend on no language.",
        ),
        ("after", Part::AllWorkers) => (
            worker_ref(),
            "Only what comes after this worker, `RUNTIME_ID/WORKER_ID`: the `next_after` of a page.",
        ),
        ("after", _) => (id(), "Only what comes after this worker: the `next_after` of a page."),
        ("cursor", _) => (
            json!({ "type": "string" }),
            "The cursor of the last event that was dealt with. Without it, a stream begins with a snapshot.",
        ),
        _ => (json!({ "type": "string" }), ""),
    };
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

/// The key that makes a repetition harmless.
pub(super) fn idempotency_key() -> Value {
    let description =
        "Names this command over all its repetitions, where the runtime has the capability `idempotency`.";
    let schema =
        json!({ "type": "string", "pattern": format!("^[!-~]{{1,{}}}$", IdempotencyKey::MAX_LENGTH) });
    json!({ "name": "Idempotency-Key", "in": "header", "description": description, "schema": schema })
}

/// The cursor as a client of server-sent events repeats it by itself.
pub(super) fn last_event_id() -> Value {
    let description = "The `id` of the last event: the same as `cursor`, and newer where both are given.";
    json!({ "name": "Last-Event-ID", "in": "header", "description": description, "schema": { "type": "string" } })
}
