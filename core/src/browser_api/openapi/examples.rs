//! Bodies of requests, as a client of this crate writes them, and of replies, as the gateway does.

use std::num::NonZeroU16;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::browser_api::problem::Typed;
use crate::browser_api::request::Action;
use crate::browser_api::view::{
    AckReply, AckView, ItemView, RequestView, RequestsReply, TranscriptReply, TranscriptView,
    WorkerCapabilities, WorkerReply, WorkerView,
};
use crate::error::{Error, ErrorKind, Outcome};
use crate::id::{RequestId, RuntimeId, WorkerId};
use crate::problem::Problem;
use crate::registry::RuntimeKind;
use crate::runtime_api::{
    Answer, Command, CreateWorker, Input, InputKind, Intent, Operation, Profile, Reason, RequestOption,
    TerminalSize, WorkerFacts, WorkerStatus,
};

/// The examples of an operation's body.
pub(super) fn of_request(operation: Operation) -> Option<Value> {
    let examples: Map<String, Value> = commands()
        .into_iter()
        .filter(|(_, command)| command.operation() == operation)
        .filter_map(|(name, command)| Some((name.to_owned(), json!({ "value": body(command)? }))))
        .collect();
    (!examples.is_empty()).then(|| examples.into())
}

fn body(command: Command) -> Option<Value> {
    let action = Action::Command { runtime_id: runtime_id(), command };
    serde_json::from_slice(action.request().body()).ok()
}

fn runtime_id() -> RuntimeId {
    "build-box".parse().expect("an id")
}

fn worker_id() -> WorkerId {
    "shell-k3m9x2q7".parse().expect("an id")
}

fn request_id() -> RequestId {
    "r1-1".parse().expect("an id")
}

fn task() -> Intent {
    Intent::Task { objective: "look around".to_owned() }
}

fn named() -> Profile {
    Profile::Named("shell".to_owned())
}

fn commands() -> Vec<(&'static str, Command)> {
    let (worker_id, task, named) = (worker_id(), task(), named());
    let worker = CreateWorker { name: Some("scout".to_owned()), ..CreateWorker::new(task, named) };
    let plain = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::default());
    let create = |worker| Command::Create { worker: Box::new(worker), key: None };
    let input = |input| Command::Input { worker_id: worker_id.clone(), input, key: None };
    let answer = |answer| Command::Answer {
        worker_id: worker_id.clone(),
        request_id: request_id(),
        answer,
        key: None,
    };
    let size =
        TerminalSize { cols: NonZeroU16::MIN.saturating_add(79), rows: NonZeroU16::MIN.saturating_add(23) };
    let reason = Reason { reason: Some("no longer needed".to_owned()) };
    vec![
        ("task", create(worker)),
        ("assistant", create(plain)),
        ("line", input(Input::new(InputKind::User, "uname -a"))),
        ("secret", input(Input { secret: true, ..Input::new(InputKind::User, "open-sesame") })),
        ("end", input(Input::eof())),
        ("stop", Command::Stop { worker_id: worker_id.clone(), reason: reason.clone() }),
        ("cancel", Command::Cancel { worker_id: worker_id.clone(), reason }),
        ("terminal", Command::Resize { worker_id: worker_id.clone(), size }),
        ("option", answer(Answer::Option("allow".to_owned()))),
        ("none", answer(Answer::Dismiss)),
    ]
}

/// Examples of replies, by the names of their schemas.
pub(super) fn of_replies() -> [(&'static str, Value); 5] {
    // Plain structs of texts and numbers can be JSON.
    fn value(reply: impl Serialize) -> Value {
        serde_json::to_value(reply).expect("plain data")
    }
    let problem = Error::new(ErrorKind::WorkerNotRunning)
        .of_runtime(&runtime_id())
        .of_worker(Some(&worker_id()))
        .with_outcome(Some(Outcome::NotApplied))
        .with_runtime_code(Some("worker_not_running".to_owned()));
    let ack = AckView {
        runtime_id: runtime_id(),
        worker_id: worker_id(),
        status: WorkerStatus::Running,
        transcript_sequence: Some(1),
        event_id: 4,
    };
    [
        ("WorkerReply", value(WorkerReply { worker: worker(), diagnostics: Vec::new() })),
        ("AckReply", value(AckReply { ack, diagnostics: Vec::new() })),
        ("TranscriptReply", value(TranscriptReply { transcript: transcript(), diagnostics: Vec::new() })),
        ("RequestsReply", value(RequestsReply { requests: vec![request()], diagnostics: Vec::new() })),
        ("Problem", value(Typed::of(&Problem::from(&problem)))),
    ]
}

fn worker() -> WorkerView {
    WorkerView {
        runtime_id: runtime_id(),
        worker_id: worker_id(),
        kind: RuntimeKind::Remote.name().into(),
        status: WorkerStatus::Running,
        intent: task(),
        profile: named(),
        requested_capabilities: Some(Vec::new()),
        workspace_refs: Some(Vec::new()),
        transcript_len: 2,
        last_event_id: 5,
        capabilities: WorkerCapabilities {
            send_input: true,
            stop: true,
            cancel: true,
            read_transcript: true,
            observe_events: true,
        },
        facts: WorkerFacts { name: Some("scout".to_owned()), ..WorkerFacts::default() },
        truncated: false,
    }
}

fn transcript() -> TranscriptView {
    let item = |sequence, role: &str, content: &str, event_id| ItemView {
        sequence,
        role: role.to_owned(),
        content: content.to_owned(),
        event_id,
        at: None,
        cont: false,
    };
    TranscriptView {
        runtime_id: runtime_id(),
        worker_id: worker_id(),
        start: 0,
        limit: 256,
        total_items: 2,
        items: vec![item(1, "user", "uname", 4), item(2, "assistant", "Linux", 5)],
        next_start: None,
        dropped: 0,
    }
}

fn request() -> RequestView {
    let option = |option_id: &str, name: &str, kind: &str| RequestOption {
        option_id: option_id.to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
    };
    RequestView {
        runtime_id: runtime_id(),
        worker_id: worker_id(),
        request_id: request_id(),
        kind: "permission".to_owned(),
        title: "Write notes.txt".to_owned(),
        detail: None,
        tool_call_id: Some("call-1".to_owned()),
        options: vec![option("allow", "Allow", "allow_once"), option("reject", "Reject", "reject_once")],
        opened_at: "2026-01-31T12:00:00.000Z".to_owned(),
        expires_at: None,
    }
}
