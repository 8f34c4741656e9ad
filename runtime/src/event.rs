//! What workers say: the events of one worker's stream.

use std::sync::Arc;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{TranscriptItem, WorkerEnd, WorkerRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// A fragment of what an agent thinks.
    ThinkingDelta {
        /// The text with its newlines in it.
        text: Arc<str>,
    },
    /// An agent began a tool call.
    ToolCallStart {
        /// Names it within the worker.
        id: String,
        /// What it does.
        name: String,
    },
    /// A tool call is over.
    ToolResult {
        /// Which one.
        id: String,
        /// What came of it, in one line.
        summary: String,
        /// What it gave.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        /// Whether it failed.
        is_error: bool,
    },
    /// What v1 has no event for.
    SystemItem {
        /// What it is.
        item: SystemItem,
    },
    /// A turn is over, or the worker ended by itself, and well.
    RunEnd {
        /// How.
        result: RunResult,
    },
    /// A turn failed or was cancelled, or the worker could not start, or ended with a failure.
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
    /// Its questions that wait for an answer, oldest first; as many as [`MAX_SNAPSHOT_EXTRAS`] has room for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<WorkerRequest>,
    /// The newest of each kind of item of which only the newest counts; as many as there is room for after the questions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<SystemItem>,
}

/// The most items of a transcript in a [`Snapshot`].
pub const MAX_SNAPSHOT_ITEMS: usize = 256;

/// The most text in a [`Snapshot`], in bytes of JSON: it is sent to each viewer that comes.
pub const MAX_SNAPSHOT_BYTES: usize = 512 * 1024;

/// The most that requests and items take in a [`Snapshot`], in bytes of JSON. What goes beyond it is left out, the newest
/// questions first: the questions of a worker can also be asked for. Together with the text a snapshot is within the 1 MiB
/// that gateways pass on.
pub const MAX_SNAPSHOT_EXTRAS: usize = 384 * 1024;

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

/// What a worker does, as far as its runtime can tell: agents alone say when they are busy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It takes input.
    #[default]
    Idle,
    /// It is at work.
    Running,
    /// It waits for the answer to a request, or takes no input any more: it ended, was stopped or was cancelled.
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
    /// It asks something that a person has to answer.
    Request {
        /// The question.
        request: WorkerRequest,
    },
    /// A question has its answer, or is asked no longer.
    RequestResolved {
        /// Which one.
        request_id: String,
        /// The answer; absent where it was dismissed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        option_id: Option<String>,
        /// Whether it was dismissed.
        dismissed: bool,
        /// Why: `answered`, `profile`, `interrupted`, `stopped`, `withdrawn`, `turn_ended`, `agent_ended` or
        /// `runtime_lost`.
        reason: String,
    },
    /// An agent was taken up again, and goes on in its session.
    Resumed,
    /// Content of an agent that is not text.
    #[serde(rename = "acp.content")]
    AcpContent {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// What else an agent says of a tool call.
    #[serde(rename = "acp.tool_call")]
    AcpToolCall {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// An agent's plan.
    #[serde(rename = "acp.plan")]
    AcpPlan {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// An agent's mode, or the modes that it has.
    #[serde(rename = "acp.mode")]
    AcpMode {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// The commands that prompts can begin with.
    #[serde(rename = "acp.commands")]
    AcpCommands {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// The options of an agent's session.
    #[serde(rename = "acp.options")]
    AcpOptions {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// An agent's session: its title and the like.
    #[serde(rename = "acp.info")]
    AcpInfo {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// How full an agent's context is.
    #[serde(rename = "acp.usage")]
    AcpUsage {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// What is not known of what an agent says.
    #[serde(rename = "acp.other")]
    AcpOther {
        /// The update as the agent wrote it.
        update: Value,
    },
    /// How it ended. Nothing follows.
    Ended(WorkerEnd),
}

/// How a turn or a worker ended that ended well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// The turn is over, or the process exited with 0.
    Finished,
    /// The turn is over because a limit was reached.
    LimitReached,
}

/// Whose failure the end of a turn or of a worker is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The agent failed or refused, or the profile's process did not start or did not end well.
    ProviderError,
    /// The turn was cancelled, or the runtime could not keep the worker.
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
