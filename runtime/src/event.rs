//! What workers say: the events of one worker's stream.

use std::sync::Arc;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::TranscriptItem;
use serde::{Deserialize, Serialize};

/// One event of a worker, in the JSON form `{"event":NAME,"data":…}` (RUNTIME-API.md, "What our own runtime's
/// workers say").
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
    /// A line of output.
    TextDelta {
        /// The line without its end.
        text: Arc<str>,
    },
    /// A line that is not for the transcript.
    SystemItem {
        /// The line, and where it came from.
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
    /// [`MAX_SNAPSHOT_BYTES`] of text.
    pub entries: Vec<TranscriptItem>,
    /// Constant but for the worker's name.
    pub greeting: Greeting,
    /// What the worker does.
    pub status: Activity,
}

/// The most items of a transcript in a [`Snapshot`].
pub const MAX_SNAPSHOT_ITEMS: usize = 256;

/// The most text in a [`Snapshot`], in bytes: it is sent to everybody who comes.
pub const MAX_SNAPSHOT_BYTES: usize = 512 * 1024;

/// What clients of v1 expect to be told of a worker's surroundings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct Greeting {
    pub worker_name: String,
    pub cwd: String,
    pub provider: String,
    pub model: String,
    pub scope_summary: String,
    pub tools: Vec<String>,
    pub context_window: u64,
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
    /// It is at work. Workers of this runtime are never said to be.
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

/// Something that a worker's process said beside its output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SystemItem {
    /// A line of its standard error.
    Stderr {
        /// The line without its end.
        text: Arc<str>,
    },
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

/// An event with its place among the runtime's events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NumberedEvent {
    /// Counts over all workers of the runtime: it grows within a worker, with gaps.
    pub event_id: u64,
    /// The event.
    pub event: Event,
}

impl Event {
    pub(crate) fn user_message(content: Arc<str>) -> Self {
        Self::UserMessage { segments: vec![Segment::Text { content }] }
    }

    pub(crate) fn stderr(text: Arc<str>) -> Self {
        Self::SystemItem { item: SystemItem::Stderr { text } }
    }

    pub(crate) fn failure(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Error { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_shapes_of_the_table() {
        let snapshot = Event::Snapshot(Box::new(Snapshot {
            entries: Vec::new(),
            greeting: Greeting::of(&"worker-00000001".parse().unwrap()),
            status: Activity::Idle,
        }));
        for (event, json) in [
            // As recorded from a deployed runtime.
            (
                snapshot,
                r#"{"event":"snapshot","data":{"entries":[],"greeting":{"worker_name":"worker-00000001","cwd":"","provider":"worker-runtime","model":"worker-runtime","scope_summary":"runtime worker observation","tools":[],"context_window":0,"context_tokens":0},"status":"idle"}}"#,
            ),
            (
                Event::user_message("hi".into()),
                r#"{"event":"user_message","data":{"segments":[{"kind":"text","content":"hi"}]}}"#,
            ),
            (Event::Status { status: Activity::Idle }, r#"{"event":"status","data":{"status":"idle"}}"#),
            (
                Event::Status { status: Activity::Running },
                r#"{"event":"status","data":{"status":"running"}}"#,
            ),
            (Event::Status { status: Activity::Paused }, r#"{"event":"status","data":{"status":"paused"}}"#),
            (Event::TextDelta { text: "関".into() }, r#"{"event":"text_delta","data":{"text":"関"}}"#),
            (
                Event::stderr("oh".into()),
                r#"{"event":"system_item","data":{"item":{"kind":"stderr","text":"oh"}}}"#,
            ),
            (
                Event::RunEnd { result: RunResult::Finished },
                r#"{"event":"run_end","data":{"result":"finished"}}"#,
            ),
            (
                Event::failure(ErrorCode::ProviderError, "exit status 3"),
                r#"{"event":"error","data":{"code":"provider_error","message":"exit status 3"}}"#,
            ),
            (
                Event::failure(ErrorCode::Internal, "m"),
                r#"{"event":"error","data":{"code":"internal","message":"m"}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&event).unwrap(), json);
            assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
        }
    }
}
