//! What goes into an operation, and what comes out of it.

use http::StatusCode;
use serde_json::{Value, json};

use super::examples;
use super::schemas::Schemas;
use crate::browser_api::request::body::{CreateBody, InputBody};
use crate::browser_api::view::{
    AckReply, Items, ProfileView, RequestsReply, RuntimeReply, TranscriptReply, WorkerReply, WorkerView,
};
use crate::runtime_api::{Answer, Nothing, Operation, Reason, TerminalSize};

/// The body of an operation's request, where it has one.
pub(super) fn request(schemas: &mut Schemas, operation: Operation) -> Option<Value> {
    let (schema, required) = match operation {
        Operation::CreateWorker => (schemas.body::<CreateBody>(), true),
        Operation::SendInput => (schemas.body::<InputBody>(), true),
        Operation::ResizeWorker => (schemas.body::<TerminalSize>(), true),
        Operation::AnswerRequest => (schemas.body::<Answer>(), true),
        Operation::StopWorker | Operation::CancelWorker => (schemas.body::<Reason>(), false),
        Operation::InterruptWorker | Operation::ResumeWorker => (schemas.body::<Nothing>(), false),
        Operation::ReadRuntime
        | Operation::ListWorkers
        | Operation::GetWorker
        | Operation::ReadTranscript
        | Operation::ObserveEvents
        | Operation::RemoveWorker
        | Operation::ListRequests
        | Operation::ListAllRequests
        | Operation::ListProfiles => return None,
    };
    let mut content = json!({ "schema": schema });
    if let Some(examples) = examples::of_request(operation) {
        content["examples"] = examples;
    }
    Some(json!({ "required": required, "content": { "application/json": content } }))
}

/// The response of an operation that succeeded, by its status.
pub(super) fn success(schemas: &mut Schemas, operation: Operation) -> Value {
    let schema = match operation {
        Operation::ReadRuntime => schemas.reply::<RuntimeReply>(),
        Operation::ListWorkers => schemas.reply::<Items<WorkerView>>(),
        Operation::ListProfiles => schemas.reply::<Items<ProfileView>>(),
        Operation::GetWorker | Operation::CreateWorker => schemas.reply::<WorkerReply>(),
        Operation::ReadTranscript => schemas.reply::<TranscriptReply>(),
        Operation::ListRequests | Operation::ListAllRequests => schemas.reply::<RequestsReply>(),
        Operation::SendInput
        | Operation::StopWorker
        | Operation::CancelWorker
        | Operation::InterruptWorker
        | Operation::ResizeWorker
        | Operation::ResumeWorker
        | Operation::AnswerRequest => schemas.reply::<AckReply>(),
        Operation::RemoveWorker | Operation::ObserveEvents => {
            return json!({ "204": { "description": "Done; there is nothing to be told." } });
        }
    };
    if operation != Operation::CreateWorker {
        return json!({ "200": json_response("The reply.", schema) });
    }
    let mut created = json_response("The worker.", schema);
    let description = "Where the worker is, relative to this route.";
    created["headers"] =
        json!({ "Location": { "description": description, "schema": { "type": "string" } } });
    json!({ StatusCode::CREATED.as_str(): created })
}

/// A response with a body of JSON.
pub(super) fn json_response(description: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}
