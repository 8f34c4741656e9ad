//! What workers say: the events of one worker's stream.

use std::sync::Arc;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{TranscriptItem, WorkerEnd};
use serde::{Deserialize, Serialize};

/// One event of a worker, in the JSON form `{"event":NAME,"data":…}` (`docs/runtime-api.md`).
///
/// Existing clients of v1 parse these shapes strictly: a field more or less is a break.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The first frame of a stream: where the worker stands. It is made for a viewer and never stored.
    Snapshot(Box<Snapshot>),
    /// An input was accepted.
    UserMessage {
        /// What was said; always one piece of text.
        segments: Vec<Segment>,
    },
    /// The worker's activity changed.
    Status {
        /// What it is now.
        status: Activity,
    },
    /// A fragment of output.
    TextDelta {
        /// The text with its newlines in it. What is not UTF-8 has become U+FFFD.
        text: Arc<str>,
    },
    /// What v1 has no event for.
    SystemItem {
        /// What it is.
        item: SystemItem,
    },
    /// The worker ended by itself, and well.
    RunEnd {
        /// How.
        result: RunResult,
    },
    /// The worker could not start, or ended with a failure.
    Error {
        /// Whose failure.
        code: ErrorCode,
        /// The failure in words.
        message: String,
    },
}

/// Where a worker stands when a viewer comes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The newest items of the transcript: at most [`MAX_SNAPSHOT_ITEMS`], and no more than
    /// [`MAX_SNAPSHOT_BYTES`] of text as JSON has it.
    pub entries: Vec<TranscriptItem>,
    /// Constant but for the worker's name.
    pub greeting: Greeting,
    /// What the worker does.
    pub status: Activity,
}

/// The most items of a transcript in a [`Snapshot`].
pub const MAX_SNAPSHOT_ITEMS: usize = 256;

/// The most text in a [`Snapshot`], in bytes of JSON: it is sent to each viewer that comes.
pub const MAX_SNAPSHOT_BYTES: usize = 512 * 1024;

/// What clients of v1 expect to be told of a worker's surroundings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// The worker's id.
    pub worker_name: String,
    /// Empty: where a worker runs is not told.
    pub cwd: String,
    /// What deployed runtimes say here.
    pub provider: String,
    /// What deployed runtimes say here.
    pub model: String,
    /// What deployed runtimes say here.
    pub scope_summary: String,
    /// Empty.
    pub tools: Vec<String>,
    /// 0.
    pub context_window: u64,
    /// 0.
    pub context_tokens: u64,
}

impl Greeting {
    /// The greeting of a worker, in the words of deployed runtimes.
    pub fn of(worker_id: &WorkerId) -> Self {
        Self {
            worker_name: worker_id.to_string(),
            cwd: String::new(),
            provider: "worker-runtime".into(),
            model: "worker-runtime".into(),
            scope_summary: "runtime worker observation".into(),
            tools: Vec::new(),
            context_window: 0,
            context_tokens: 0,
        }
    }
}

/// What a worker does, as far as its runtime can tell: a process does not say when it is busy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It takes input.
    Idle,
    /// It is at work.
    Running,
    /// It takes no input any more: it ended, was stopped or was cancelled.
    Paused,
}

/// A piece of an input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Segment {
    /// Text.
    Text {
        /// The text itself.
        content: Arc<str>,
    },
}

/// What v1 has no event for: something that a worker's process said beside its output, or that happened to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SystemItem {
    /// A fragment of what it wrote to its standard error.
    Stderr {
        /// The text with its newlines in it.
        text: Arc<str>,
    },
    /// How it ended. Nothing follows.
    Ended(WorkerEnd),
}

/// How a worker ended that ended well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// Its process exited with 0.
    Finished,
}

/// Whose failure a worker's end is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The profile's process did not start or did not end well.
    ProviderError,
    /// The runtime could not keep the worker.
    Internal,
}

impl Event {
    pub(crate) fn user_message(content: Arc<str>) -> Self {
        Self::UserMessage { segments: vec![Segment::Text { content }] }
    }

    pub(crate) fn stderr(text: Arc<str>) -> Self {
        Self::SystemItem { item: SystemItem::Stderr { text } }
    }

    pub(crate) fn ended(end: WorkerEnd) -> Self {
        Self::SystemItem { item: SystemItem::Ended(end) }
    }

    pub(crate) fn failure(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Error { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests;
