//! The thread that reads the worker's stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anstyle::Style;
use bytes::Bytes;
use sekisho_core::frame::payload_value;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Command, WorkerEnd};
use serde::Deserialize;
use serde_json::Value;

use super::mailbox::{Message, Sender};
use super::open_requests::OpenRequests;
use super::output_queue::OutputQueue;
use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::history::{History, is_told_by_snapshots};
use crate::render::{Entry, Renderer, message};
use crate::requests::of;
use crate::streaming::{Moment, until_the_end};
use crate::text::{FAINT, WARNING};
use crate::transcript::newest;

/// What is shown: text that waits for the terminal, and the renderer that made it.
pub(super) struct Output {
    pub(super) queue: OutputQueue,
    /// Locked while what it made is put into the queue, so that texts come in the order in which they were made.
    renderer: Mutex<Renderer>,
    /// Whether the loop waits for the renderer.
    wanted: AtomicBool,
}

impl Output {
    pub(super) fn new(renderer: Renderer) -> Self {
        Self { queue: OutputQueue::default(), renderer: renderer.into(), wanted: AtomicBool::new(false) }
    }

    /// Shows what a message that was acknowledged looks like, unless the stream's thread is showing something just now;
    /// whether it was shown. The loop is woken when it can be.
    pub(super) fn try_acknowledged(&self, message: &str) -> bool {
        self.wanted.store(true, Ordering::SeqCst);
        let Ok(mut renderer) = self.renderer.try_lock() else { return false };
        self.wanted.store(false, Ordering::SeqCst);
        self.queue.put_at_once(&renderer.acknowledged(message));
        true
    }

    fn renderer(&self) -> MutexGuard<'_, Renderer> {
        self.renderer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread knows.
pub(super) struct StreamThread {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) worker: WorkerRef,
    pub(super) output: Arc<Output>,
    pub(super) sender: Sender,
}

/// What tells one worker from another by the same id.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct Identity {
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    transcript_len: u64,
}

#[derive(Deserialize)]
struct Reply {
    worker: Identity,
}

impl Identity {
    /// Whether this is certainly another worker than the one that was seen before.
    fn replaces(&self, before: &Self) -> bool {
        match (&before.created_at, &self.created_at) {
            (Some(before), Some(now)) => before != now,
            // A transcript only grows.
            _ => self.transcript_len < before.transcript_len,
        }
    }
}

impl StreamThread {
    /// Shows what comes until the worker ends.
    pub(super) fn run(self) -> Result<Option<WorkerEnd>, Failure> {
        let mut identity = self.identity()?;
        // How to leave is to be seen behind the history, which may be long.
        let mut introduced = false;
        let mut begun = false;
        let mut history = History::default();
        let mut requests = OpenRequests::default();
        until_the_end(&*self.backend, &self.worker, None, |moment| {
            match moment {
                Moment::Event(envelope) => {
                    let first = !std::mem::replace(&mut begun, true) && envelope.is_snapshot();
                    let value: Value = payload_value(&envelope.payload);
                    self.event(&envelope.payload, &value, (first, introduced), &mut history);
                    // Behind what shows them: a question is answered once it is shown.
                    if requests.handle(&value) {
                        self.sender.send(Message::Requests(requests.clone()));
                    }
                }
                Moment::Unreachable => self.sender.send(Message::Reachable(false)),
                Moment::Reachable | Moment::Lost => {
                    identity = self.check(&identity)?;
                    self.sender.send(Message::Reachable(true));
                }
                Moment::Note(style, text) => self.put(|renderer| renderer.note(style, &text)),
                Moment::CaughtUp | Moment::Quiet if !introduced => {
                    introduced = true;
                    self.release(&mut history);
                    let fate = fate(&*self.backend, &self.worker);
                    self.put(|renderer| {
                        renderer.note(FAINT, &format!("Ctrl-D leaves, {fate}; /help for more"))
                    });
                }
                Moment::CaughtUp | Moment::Quiet | Moment::Counted(_) => {}
            }
            Ok(())
        })
    }

    /// Shows an event: the first snapshot, or another one, before or after the introduction.
    fn event(
        &self,
        payload: &Bytes,
        value: &Value,
        (first, introduced): (bool, bool),
        history: &mut History,
    ) {
        if let (Some("status"), Some(status)) = (value["event"].as_str(), value["data"]["status"].as_str()) {
            self.sender.send(Message::Busy(status == "running"));
        }
        if !introduced {
            self.remember(message(value));
        }
        if first {
            let tells_history = || is_told_by_snapshots(&*self.backend, &self.worker.runtime_id);
            let said = history.snapshot(value, tells_history);
            self.remember(said.iter().filter(is_users).map(|entry| entry.content.clone()));
            return self.put(|renderer| renderer.entries(&said) + &renderer.open_requests(value));
        }
        self.put(|renderer| history.pass(renderer.event(payload)));
    }

    /// Puts what the user has sent into the history of lines.
    fn remember(&self, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<String> = lines.into_iter().collect();
        if !lines.is_empty() {
            self.sender.send(Message::History(lines));
        }
    }

    /// Shows the history that the snapshot did not have, and what has happened since.
    fn release(&self, history: &mut History) {
        if !history.is_holding() {
            return;
        }
        let items = match newest(&*self.backend, &self.worker) {
            Ok((items, _)) => items,
            Err(failure) => {
                let text = format!("the history cannot be read: {failure}");
                self.put(|renderer| renderer.note(WARNING, &text));
                Vec::new()
            }
        };
        let (items, held) = history.release(items);
        self.remember(items.iter().filter(is_users).map(|entry| entry.content.clone()));
        self.put(|renderer| Renderer::new(renderer.options()).entries(&items) + &held);
    }

    /// Shows what a renderer makes.
    fn put(&self, make: impl FnOnce(&mut Renderer) -> String) {
        let mut renderer = self.output.renderer();
        let text = make(&mut renderer);
        self.output.queue.put(&text, || self.sender.waker().wake());
        drop(renderer);
        if self.output.wanted.load(Ordering::SeqCst) {
            self.sender.waker().wake();
        }
    }

    fn identity(&self) -> Result<Identity, Failure> {
        let command = Command::Worker(self.worker.worker_id.clone());
        Ok(read::<Reply>(&self.backend.ask(&of(&self.worker, command))?)?.worker)
    }

    /// The worker's identity now. A worker that was replaced ends the attachment.
    fn check(&self, before: &Identity) -> Result<Identity, Failure> {
        match self.identity() {
            Ok(now) if now.replaces(before) => Err(Failure::Replaced(self.worker.to_string())),
            Ok(now) => Ok(now),
            Err(Failure::Problem { problem, .. }) if problem.retryable => Ok(before.clone()),
            Err(failure) => Err(failure),
        }
    }
}

fn is_users(entry: &&Entry) -> bool {
    entry.role == "user"
}

/// What becomes of a worker that is left.
pub(super) fn fate(backend: &dyn Backend, worker: &WorkerRef) -> &'static str {
    if backend.embeds(&worker.runtime_id) { "which ends the worker, too" } else { "the worker goes on" }
}

/// A line about this program, as it is shown.
pub(super) fn note(style: Style, color: bool, text: &str) -> String {
    let text = format!("sekisho: {}", crate::text::safe(text));
    format!("{}\n", crate::text::painted(color, style, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_worker_by_the_same_id_is_noticed() {
        let identity = |created_at: Option<&str>, transcript_len| Identity {
            created_at: created_at.map(str::to_owned),
            transcript_len,
        };
        for (before, now, replaced) in [
            (identity(Some("a"), 5), identity(Some("a"), 7), false),
            (identity(Some("a"), 5), identity(Some("b"), 7), true),
            (identity(None, 5), identity(None, 5), false),
            (identity(None, 5), identity(None, 4), true),
        ] {
            assert_eq!(now.replaces(&before), replaced, "{before:?} {now:?}");
        }
    }
}
