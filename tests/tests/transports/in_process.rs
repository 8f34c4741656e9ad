//! A runtime in the same process, asked over one transport.

use std::time::{Duration, Instant};

use sekisho_core::call::CallLimits;
use sekisho_core::error::Error;
use sekisho_core::id::{WorkerId, WorkerRef};
use sekisho_core::runtime_api::{Command, CreateWorker, Input, InputKind, Intent, Profile, Reason, Reply};
use sekisho_core::secret::Access;
use sekisho_core::watch::{OnExpiredCursor, WatchEvent};
use sekisho_runtime::{Runtime, RuntimeConfig};

use crate::run::{self, Loop};
use crate::side::{Make, To, Wish};

/// What can be seen of a worker's life.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) traces: Vec<Vec<String>>,
    /// Names of replies, or codes.
    pub(crate) replies: Vec<String>,
    /// Names of events.
    pub(crate) events: Vec<String>,
}

fn create() -> Command {
    let worker = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
    Command::Create { worker: Box::new(worker), key: None }
}

fn input(worker_id: &WorkerId) -> Command {
    let input = Input::new(InputKind::User, "hello");
    Command::Input { worker_id: worker_id.clone(), input, key: None }
}

/// Starts a runtime, and lets a worker live and be watched.
pub(crate) fn live(make: Make, by: Loop) -> Seen {
    let runtime = Runtime::start(RuntimeConfig::new("rt".parse().unwrap())).unwrap();
    let side = make(To::InProcess(Box::new(runtime.clone())));
    let access = Access::in_process();
    let mut registry = run::registry(access.clone(), CallLimits::default(), Duration::from_secs(60));
    let (mut traces, mut replies) = (Vec::new(), Vec::new());
    let mut ask = |command: Command| {
        let mut call = registry.call(Instant::now(), &"rt".parse().unwrap(), command, None).unwrap();
        let result = match by {
            Loop::Own => side.drive(&mut call),
            Loop::Noting => {
                let (trace, result) = run::note(side.as_ref(), &mut call);
                traces.push(trace);
                result
            }
        };
        registry.finish(Instant::now(), call);
        replies.push(name(&result));
        result
    };
    let Ok(Reply::Worker(worker)) = ask(create()) else { panic!() };
    let worker_id: WorkerId = worker.worker_id.parse().unwrap();
    let stop = Command::Stop { worker_id: worker_id.clone(), reason: Reason::default() };
    let unknown = Command::Worker("missing".parse().unwrap());
    let transcript =
        Command::Transcript { worker_id: worker_id.clone(), start: None, limit: None, contains: None };
    for command in [Command::Runtime, Command::workers(), input(&worker_id), transcript, unknown] {
        let _ = ask(command);
    }
    let _ = ask(stop);
    let _ = ask(input(&worker_id));

    let Ok(Reply::Worker(worker)) = ask(create()) else { panic!() };
    let worker_id: WorkerId = worker.worker_id.parse().unwrap();
    let worker = WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: worker_id.clone() };
    let watch = registry.watch(Instant::now(), &worker, None, OnExpiredCursor::Stop).unwrap();
    let mut events = Vec::new();
    side.watch(watch, &mut |next| match next {
        Ok(WatchEvent::Live) => Wish::More,
        Ok(WatchEvent::Snapshot(_)) => {
            events.push("snapshot".to_owned());
            runtime.handle(&input(&worker_id).request(&access));
            Wish::More
        }
        Ok(WatchEvent::Event(observed)) => {
            let payload: serde_json::Value = serde_json::from_slice(&observed.payload).unwrap();
            let event = payload["event"].as_str().unwrap().to_owned();
            events.push(event);
            match events.last().is_some_and(|event| event == "text_delta") {
                true => Wish::Stop,
                false => Wish::More,
            }
        }
        other => {
            events.push(format!("{other:?}"));
            Wish::Nothing
        }
    });
    Seen { traces, replies, events }
}

fn name(result: &Result<Reply, Error>) -> String {
    match result {
        Ok(Reply::Runtime(_)) => "runtime".to_owned(),
        Ok(Reply::Workers(list)) => format!("{} workers", list.workers.len()),
        Ok(Reply::Worker(_)) => "worker".to_owned(),
        Ok(Reply::Requests(list)) => format!("{} requests", list.requests.len()),
        Ok(Reply::Profiles(list)) => format!("{} profiles", list.profiles.len()),
        Ok(Reply::Removed) => "removed".to_owned(),
        Ok(Reply::Unchanged) => "unchanged".to_owned(),
        Ok(Reply::Input(_)) => "input".to_owned(),
        Ok(Reply::Ack(_)) => "ack".to_owned(),
        Ok(Reply::Transcript(transcript)) => format!("{} items", transcript.items.len()),
        Err(error) => error.kind().code().to_owned(),
    }
}
