//! The parameters of paths, queries and headers.

use serde_json::{Value, json};

use crate::id::RuntimeId;
use crate::runtime_api::IdempotencyKey;

/// The greatest number that a query takes.
const MAX_NUMBER: u64 = u64::MAX;

/// The parameters of paths, which all routes share.
pub(super) fn shared() -> Value {
    let id = |name: &str, description: &str| {
        let schema = schemars::SchemaGenerator::default().root_schema_for::<RuntimeId>();
        let schema = json!({
            "type": "string", "minLength": 1, "maxLength": schema.get("maxLength"), "pattern": schema.get("pattern"),
        });
        json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
    };
    json!({
        "runtime_id": id("runtime_id", "Names the runtime."),
        "worker_id": id("worker_id", "Names the worker within its runtime."),
        "request_id": id("request_id", "Names the request within its worker."),
    })
}

/// The parameters of a path: the names in braces.
pub(super) fn of_path(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
}

/// A parameter of a query. `after_of_all` is whether the list is of all runtimes.
pub(super) fn of_query(name: &str, after_of_all: bool) -> Value {
    let number = |least: u64| json!({ "type": "integer", "format": "uint64", "minimum": least, "maximum": MAX_NUMBER });
    let (schema, description) = match name {
        "status" => (json!({ "enum": ["running", "stopped", "cancelled"] }), "Only workers of this status."),
        "name" => (json!({ "type": "string" }), "Only workers of this name."),
        "label" => {
            let label = json!({ "type": "string", "pattern": "=" });
            let schema = json!({ "type": "array", "items": label, "maxItems": 1 });
            (
                schema,
                "Only workers with this label, `KEY=VALUE`. May be given several times, each time with another KEY.",
            )
        }
        "limit" => (number(1), "So many at most. There is a bound on what one reply holds in any case."),
        "start" => (number(0), "How many items to skip."),
        "after" if after_of_all => (
            json!({ "type": "string" }),
            "Only what comes after this worker, `RUNTIME_ID/WORKER_ID`: the `next_after` of a page.",
        ),
        "after" => {
            (json!({ "type": "string" }), "Only what comes after this worker: the `next_after` of a page.")
        }
        "cursor" => (
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
