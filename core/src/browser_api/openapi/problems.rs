//! Which problems a route answers with.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::browser_api::observation::Form;
use crate::error::ErrorKind;
use crate::runtime_api::Operation;

/// What a route does, as far as its problems follow from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// The gateway, about itself.
    Gateway,
    /// For a file that everyone may read.
    File,
    /// The gateway, about all runtimes.
    All,
    /// One runtime.
    One(Operation),
    /// For a worker's stream.
    Stream(Form),
    /// For the stream of all workers.
    Fleet(Form),
}

/// The problems that a route answers with. A path or a method that the document does not have is `unknown_route` or
/// `method_not_allowed`.
pub(super) fn of(asks: Asks) -> Vec<ErrorKind> {
    let mut kinds = ErrorKind::all();
    kinds.retain(|kind| may_be(*kind, asks));
    kinds
}

fn may_be(kind: ErrorKind, asks: Asks) -> bool {
    use ErrorKind as Kind;
    let operation = match asks {
        Asks::One(operation) => Some(operation),
        _ => None,
    };
    let sse = asks == Asks::Stream(Form::ServerSentEvents);
    match kind {
        Kind::InvalidRequest | Kind::HeadTooLarge => true,
        Kind::GatewayBusy => asks == Asks::All || operation.is_some(),
        Kind::UnsupportedMediaType => !matches!(asks, Asks::Stream(_) | Asks::Fleet(_)),
        Kind::OriginNotAllowed | Kind::HostNotAllowed => asks != Asks::Gateway,
        Kind::Unauthorized => !matches!(asks, Asks::Gateway | Asks::File),
        Kind::UnknownRoute | Kind::MethodNotAllowed { .. } | Kind::ObservationOnly | Kind::ViewerLagged => {
            false
        }
        Kind::CursorMalformed | Kind::CursorUnknown | Kind::CursorExpired => sse,
        Kind::MalformedFrame => sse,
        Kind::TooManyViewers | Kind::GoingAway => sse || asks == Asks::Fleet(Form::ServerSentEvents),
        // A runtime may say any of these to whatever it is asked. Asked about itself alone, what it says, and that it could
        // not be asked, is told beside the reply.
        Kind::Internal
        | Kind::PayloadTooLarge
        | Kind::NotAllowed
        | Kind::RuntimeStopped
        | Kind::WorkerBusy
        | Kind::WorkerNotRunning
        | Kind::Conflict
        | Kind::UnknownProfile
        | Kind::RequestGone
        | Kind::RequestAlreadyAnswered
        | Kind::WorkerRunning
        | Kind::IdempotencyConflict
        | Kind::Unsupported
        | Kind::WorkerNotFound
        | Kind::Network(_)
        | Kind::RuntimeAuthFailed
        | Kind::RuntimeError
        | Kind::MalformedResponse
        | Kind::ResponseTooLarge
        | Kind::UnexpectedRedirect
        | Kind::IdentityMismatch
        | Kind::RuntimeBusy
        | Kind::RuntimeUnavailable
        | Kind::RuntimeTimeout(_) => sse || operation.is_some_and(|asked| asked != Operation::ReadRuntime),
        Kind::InvalidIdentifier | Kind::Denied | Kind::UnknownRuntime => sse || operation.is_some(),
    }
}

/// The responses that tell of problems, by their status.
pub(super) fn responses(kinds: &[ErrorKind], problem: &Value) -> BTreeMap<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<ErrorKind>> = BTreeMap::new();
    for kind in kinds {
        let same = by_status.entry(kind.status().as_u16()).or_default();
        if same.iter().all(|other| other.code() != kind.code()) {
            same.push(*kind);
        }
    }
    by_status.into_values().map(|kinds| (status_text(kinds[0]), response(&kinds, problem))).collect()
}

fn status_text(kind: ErrorKind) -> String {
    kind.status().as_str().to_owned()
}

fn response(kinds: &[ErrorKind], problem: &Value) -> Value {
    let lines: Vec<String> =
        kinds.iter().map(|kind| format!("`{}`: {}", kind.code(), kind.title())).collect();
    let codes: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
    let narrowed = json!({
        "properties": { "code": { "enum": codes }, "status": { "const": kinds[0].status().as_u16() } },
    });
    let schema = json!({ "allOf": [problem, narrowed] });
    let mut response = json!({
        "description": lines.join(". "),
        "content": { "application/problem+json": { "schema": schema } },
    });
    if kinds.iter().any(|kind| kind.retryable()) {
        let description = "In how many seconds it is worth to ask again, where that is known.";
        response["headers"] = json!({ "Retry-After": { "description": description, "schema": { "type": "integer", "minimum": 0 } } });
    }
    response
}
