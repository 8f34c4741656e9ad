//! What an agent says and asks, in the terms of the worker-runtime API.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Something that happened to an agent. Each variant names the event of v1 that it becomes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AgentEvent {
    /// The session is open. For the runtime alone: no event of v1.
    Started(Started),
    /// `status`: what the agent does changed.
    Status(Status),
    /// `text_delta`: a fragment of what the agent says, at most [`MAX_DELTA`](crate::limits::MAX_DELTA) bytes.
    TextDelta(String),
    /// `thinking_delta`: a fragment of what it thinks, with the same bound.
    ThinkingDelta(String),
    /// A transcript item: the whole of a run of fragments, or a piece of it. No event of v1.
    Said(Said),
    /// `tool_call_start`: a tool call began.
    ToolCallStart {
        /// Names it within the session.
        id: String,
        /// What it does, in the agent's words.
        name: String,
    },
    /// `tool_result`: a tool call is over.
    ToolResult(ToolResult),
    /// `run_end`: the turn is over, and not by a failure or a cancellation.
    RunEnd(RunResult),
    /// `error`: the turn is over by a failure or a cancellation.
    Error {
        /// Whose failure it is.
        code: ErrorCode,
        /// What happened, in words.
        message: String,
    },
    /// `system_item` of kind `stderr`: a line of standard output that is no message, or a piece of it.
    Stray {
        /// The line without its end.
        text: String,
        /// Whether it goes on the piece before.
        cont: bool,
    },
    /// `system_item` of a kind `acp.…`: what v1 has no event for.
    Item(Item),
    /// `system_item` of kind `request`: the agent asks something.
    RequestOpened(Request),
    /// `system_item` of kind `request_resolved`: it has its answer.
    RequestResolved(Resolved),
}

/// An open session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Started {
    /// The agent's name for the session, by which it can be taken up again. It is the runtime's to keep, and is told
    /// to no viewer.
    pub session_id: String,
    /// Whether the agent can take it up again.
    pub resumable: bool,
    /// The agent's name and version, where it says them.
    pub agent: Option<String>,
}

/// What an agent does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for a prompt.
    #[default]
    Idle,
    /// A turn is under way.
    Running,
    /// A request is open: it waits for a person.
    Paused,
}

impl Status {
    /// The worker's `activity` in this status: `idle`, `running` or `waiting`.
    pub fn activity(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Paused => "waiting",
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Speaker {
    /// The agent, to people.
    Assistant,
    /// The agent, to itself.
    Thinking,
}

impl Speaker {
    /// The role of the transcript item.
    pub fn role(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Thinking => "thinking",
        }
    }
}

/// A transcript item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Who speaks.
    pub speaker: Speaker,
    /// What is said, at most [`MAX_ITEM_TEXT`](crate::limits::MAX_ITEM_TEXT) bytes.
    pub text: String,
    /// Whether it goes on the item before.
    pub cont: bool,
}

/// What came of a tool call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolResult {
    /// Which one, as in [`ToolCallStart`](AgentEvent::ToolCallStart).
    pub id: String,
    /// The result in one line, at most [`MAX_SUMMARY`](crate::limits::MAX_SUMMARY) bytes.
    pub summary: String,
    /// What it gave, at most [`MAX_TOOL_OUTPUT`](crate::limits::MAX_TOOL_OUTPUT) bytes.
    pub output: Option<String>,
    /// Whether it failed.
    pub is_error: bool,
}

/// How a turn ended that ended by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// The agent is done.
    Finished,
    /// A limit on tokens or requests was reached.
    LimitReached,
}

/// Whose failure the end of a turn is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The agent failed or refused.
    ProviderError,
    /// The turn was cancelled, or the agent ended within it.
    Internal,
}

/// What an agent said that v1 has no event for.
#[derive(Clone)]
pub struct Item {
    /// What it is about.
    pub kind: ItemKind,
    /// What it said: the update as the agent wrote it, in at most [`MAX_RAW`](crate::limits::MAX_RAW) bytes.
    pub update: Box<RawValue>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({}, {})", self.kind.as_str(), self.update.get())
    }
}

/// What an [`Item`] is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum ItemKind {
    /// Content that is not text.
    Content,
    /// What else is said of a tool call.
    ToolCall,
    /// The plan.
    Plan,
    /// The mode, or the modes there are.
    Mode,
    /// The commands that prompts can begin with.
    Commands,
    /// The options of the session.
    Options,
    /// The session's title and the like.
    Info,
    /// How full the context is.
    Usage,
    /// What is not known.
    Other,
}

impl ItemKind {
    /// The kind on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "acp.content",
            Self::ToolCall => "acp.tool_call",
            Self::Plan => "acp.plan",
            Self::Mode => "acp.mode",
            Self::Commands => "acp.commands",
            Self::Options => "acp.options",
            Self::Info => "acp.info",
            Self::Usage => "acp.usage",
            Self::Other => "acp.other",
        }
    }

    /// Whether the newest of this kind replaces those before it, and so belongs in a snapshot.
    pub fn is_state(self) -> bool {
        match self {
            Self::Plan | Self::Mode | Self::Commands | Self::Options | Self::Info | Self::Usage => true,
            Self::Content | Self::ToolCall | Self::Other => false,
        }
    }
}

/// A question of an agent that a person must answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Names it within the worker, over all starts of its agent.
    pub request_id: String,
    /// What kind of question it is.
    pub kind: RequestKind,
    /// The question.
    pub title: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The tool call that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The possible answers; at least one.
    pub options: Vec<RequestOption>,
}

/// What kind of question a [`Request`] is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// Whether a tool may do something.
    Permission,
    /// Which of several things to take.
    Choice,
}

/// A possible answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RequestOption {
    /// Names it within the request.
    pub option_id: String,
    /// In the agent's words.
    pub name: String,
    /// `allow_once`, `allow_always`, `reject_once` or `reject_always` for a permission, `choice` or `decline` for a
    /// choice, or what the agent wrote instead.
    pub kind: String,
}

/// The end of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// Which one.
    pub request_id: String,
    /// The option that was chosen; `None` where it was dismissed.
    pub option_id: Option<String>,
    /// Why it is over.
    pub reason: ResolvedBy,
}

/// Why a request is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ResolvedBy {
    /// A person chose an option or dismissed it.
    Answer,
    /// The profile says what becomes of permissions.
    Profile,
    /// The turn was interrupted.
    Interrupt,
    /// The worker was stopped.
    Stop,
    /// The agent asks no longer.
    Withdrawn,
    /// The agent ended its turn without waiting for the answer.
    TurnEnd,
    /// The agent is gone.
    AgentEnd,
}

impl ResolvedBy {
    /// The reason on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answered",
            Self::Profile => "profile",
            Self::Interrupt => "interrupted",
            Self::Stop => "stopped",
            Self::Withdrawn => "withdrawn",
            Self::TurnEnd => "turn_ended",
            Self::AgentEnd => "agent_ended",
        }
    }
}
