//! Bodies of requests, as a client of this crate writes them.

use std::num::NonZeroU16;

use serde_json::{Map, Value, json};

use crate::browser_api::request::Action;
use crate::id::{RuntimeId, WorkerId};
use crate::runtime_api::{
    Answer, Command, CreateWorker, Input, InputKind, Intent, Operation, Profile, Reason, TerminalSize,
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

fn commands() -> Vec<(&'static str, Command)> {
    let worker_id: WorkerId = "shell-k3m9x2q7".parse().expect("an id");
    let task = Intent::Task { objective: "look around".to_owned() };
    let named = Profile::Named("shell".to_owned());
    let worker = CreateWorker { name: Some("scout".to_owned()), ..CreateWorker::new(task, named) };
    let plain = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::default());
    let create = |worker| Command::Create { worker: Box::new(worker), key: None };
    let input = |input| Command::Input { worker_id: worker_id.clone(), input, key: None };
    let answer = |answer| Command::Answer {
        worker_id: worker_id.clone(),
        request_id: "r1-1".parse().expect("an id"),
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
