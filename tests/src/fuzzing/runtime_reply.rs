use bytes::Bytes;
use http::Response;
use sekisho_core::error::{ErrorKind, MAX_RUNTIME_TEXT};
use sekisho_core::runtime_api::{
    Command, CreateWorker, Input, InputKind, Intent, MAX_RETRY_AFTER, Profile, Reason, Rejection, Reply,
};
use sekisho_core::secret::Scrubber;
use serde_json::Value;

use super::message::Message;
use super::{access, worker};

/// The input is a response: the command that it answers and a status, headers, an empty line, the body. A reply speaks
/// of whom it was asked, holds no secret, and is read as it is written; a rejection claims no more than it can know.
pub fn runtime_reply(data: &[u8]) {
    let Some((command, response)) = read(data) else { return };
    let access = access();
    let scrubber = access.scrubber();
    let runtime_id = worker().runtime_id;
    match Reply::from_response(&command, &runtime_id, scrubber, &response) {
        Ok(reply) => {
            let written = reply.response();
            assert_eq!(response.status(), written.status());
            if written.body().is_empty() {
                return;
            }
            let text = std::str::from_utf8(written.body()).unwrap();
            assert_eq!(scrubber.json(text), text);
            assert_identity(&serde_json::from_str(text).unwrap(), &command);
            let again = Reply::from_response(&command, &runtime_id, scrubber, &written);
            assert_eq!(again.as_ref(), Ok(&without_gaps(reply)));
        }
        Err(rejection) => assert_rejection(&rejection, &command, scrubber, &response),
    }
}

/// The reply as it is once more written: what could not be read of it is not written either.
fn without_gaps(mut reply: Reply) -> Reply {
    match &mut reply {
        Reply::Workers(list) => list.left_out = 0,
        Reply::Transcript(page) => page.left_out = 0,
        Reply::Requests(list) => list.left_out = 0,
        Reply::Profiles(list) => list.left_out = 0,
        _ => {}
    }
    reply
}

fn read(data: &[u8]) -> Option<(Command, Response<Bytes>)> {
    let Message { first, headers, body } = Message::read(data)?;
    let (name, status) = first.split_once(' ')?;
    let worker_id = worker().worker_id;
    let command = match name {
        "runtime" => Command::Runtime,
        "workers" => Command::workers(),
        "worker" => Command::Worker(worker_id),
        "create" => {
            let (intent, profile) = (Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
            let worker = CreateWorker::new(intent, profile);
            Command::Create { worker: Box::new(worker), key: None }
        }
        "input" => {
            let input = Input::new(InputKind::User, "hello");
            Command::Input { worker_id, input, key: None }
        }
        "stop" => Command::Stop { worker_id, reason: Reason::default() },
        "requests" => Command::Requests(worker_id),
        "all_requests" => Command::AllRequests,
        "profiles" => Command::Profiles,
        "remove" => Command::Remove(worker_id),
        "interrupt" => Command::Interrupt { worker_id, key: None },
        "cancel" => Command::Cancel { worker_id, reason: Reason::default() },
        "transcript" => Command::Transcript { worker_id, start: None, limit: None, contains: None },
        _ => return None,
    };
    let mut response = Response::builder().status(status).body(body).ok()?;
    *response.headers_mut() = headers;
    Some((command, response))
}

/// Every name in it is the one that was asked for.
fn assert_identity(value: &Value, command: &Command) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| assert_identity(item, command)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), command.worker_id()) {
                    ("runtime_id", _) => assert_eq!(value, "remote-a"),
                    ("worker_id", Some(worker_id)) => assert_eq!(value, worker_id.as_str()),
                    _ => assert_identity(value, command),
                }
            }
        }
        _ => {}
    }
}

fn assert_rejection(
    rejection: &Rejection,
    command: &Command,
    scrubber: &Scrubber,
    response: &Response<Bytes>,
) {
    let Rejection { kind, not_applied, runtime_code, message, retry_after } = rejection;
    let status = response.status();
    let refused_credential = matches!(kind, ErrorKind::RuntimeAuthFailed | ErrorKind::NotAllowed);
    assert_eq!(refused_credential, matches!(status.as_u16(), 401 | 403));
    assert_eq!(*kind == ErrorKind::UnexpectedRedirect, status.is_redirection());
    match kind {
        ErrorKind::WorkerNotFound => {
            assert!(status == 404 && command.worker_id().is_some());
            assert_eq!(runtime_code.as_deref(), Some("worker_not_found"));
        }
        ErrorKind::IdentityMismatch => assert!(status == 200),
        _ => {}
    }
    // A runtime that failed half-way, or answered with success, may have done it.
    let full = status == 503 && runtime_code.as_deref() == Some("runtime_full");
    let refused = status.is_client_error() || status == 501 || full;
    assert!(!not_applied || refused, "{kind:?} at {status}");
    for text in [runtime_code.as_deref(), message.as_deref()].into_iter().flatten() {
        assert!(text.chars().count() <= MAX_RUNTIME_TEXT && !text.contains(char::is_control), "{text:?}");
        assert!(!scrubber.finds(text), "{text}");
    }
    assert!(retry_after.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
}
