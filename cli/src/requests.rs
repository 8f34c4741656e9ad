//! Commands to workers, as requests of the browser API, and their answers in words.

use std::io;

use bytes::Bytes;
use sekisho_core::browser_api::{AckReply, Action};
use sekisho_core::id::{RequestId, WorkerRef};
use sekisho_core::runtime_api::{Answer, Command, IdempotencyKey, Input, Reason};

use crate::backend::read;
use crate::failure::Failure;

/// Ends a worker in an orderly way.
pub(crate) fn stop(worker: &WorkerRef, reason: Option<String>) -> Action {
    of(worker, Command::Stop { worker_id: worker.worker_id.clone(), reason: Reason { reason } })
}

/// Ends a worker at once.
pub(crate) fn cancel(worker: &WorkerRef, reason: Option<String>) -> Action {
    of(worker, Command::Cancel { worker_id: worker.worker_id.clone(), reason: Reason { reason } })
}

/// Interrupts what a worker is doing, under a random key.
pub(crate) fn interrupt(worker: &WorkerRef) -> Result<Action, Failure> {
    let worker_id = worker.worker_id.clone();
    Ok(of(worker, Command::Interrupt { worker_id, key: Some(fresh_key()?) }))
}

/// A command to the runtime of a worker.
pub(crate) fn of(worker: &WorkerRef, command: Command) -> Action {
    Action::Command { runtime_id: worker.runtime_id.clone(), command }
}

/// Input to a worker, under a random key unless it has one.
pub(crate) fn input(
    worker: &WorkerRef,
    input: Input,
    key: Option<IdempotencyKey>,
) -> Result<Action, Failure> {
    let worker_id = worker.worker_id.clone();
    let key = Some(key.map_or_else(fresh_key, Ok)?);
    Ok(of(worker, Command::Input { worker_id, input, key }))
}

/// A random key, with which the same command may safely be sent again by any part of the system.
pub(crate) fn fresh_key() -> Result<IdempotencyKey, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Io { what: "cannot make a key", error: io::Error::other(error) })?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // 32 hexadecimal digits are a key.
    Ok(key.parse().expect("a key"))
}

/// An answer to a request, under a random key: with an option, or without one to dismiss it.
pub(crate) fn answer(
    worker: &WorkerRef,
    request_id: RequestId,
    option_id: Option<String>,
) -> Result<Action, Failure> {
    let answer = option_id.map_or(Answer::Dismiss, Answer::Option);
    let key = Some(fresh_key()?);
    Ok(of(worker, Command::Answer { worker_id: worker.worker_id.clone(), request_id, answer, key }))
}

/// Takes up a worker again whose runtime went away.
pub(crate) fn resume(worker: &WorkerRef) -> Action {
    of(worker, Command::Resume(worker.worker_id.clone()))
}

/// What a runtime answered to a command to a worker, in one line.
pub(crate) fn acknowledgement(worker: &WorkerRef, body: &Bytes) -> Result<String, Failure> {
    let AckReply { ack, .. } = read(body)?;
    let item = ack.transcript_sequence.map(|sequence| format!(", item {sequence}")).unwrap_or_default();
    let status = serde_json::to_value(ack.status).unwrap_or_default();
    Ok(format!("{worker}: {}{item}", status.as_str().unwrap_or("unknown")))
}
