//! Every bound of the machine. Together they bound its memory: about [`MAX_LINE`] plus [`MAX_UNWRITTEN`] plus the
//! queued prompts, whatever an agent writes.

use std::time::Duration;

/// How long an agent may take from its start to an open session, unless the profile says otherwise.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// After how much silence between turns a run of text becomes a transcript item.
pub const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// The longest line that is read as a message, in bytes. A `session/update` that is longer is left out with a note;
/// any other message that is longer [ends the agent](crate::AgentFailure::LineTooLong), because the loss of a
/// question or an answer would leave one side waiting for ever.
pub const MAX_LINE: usize = 8 << 20;

/// How much of a line that is too long is looked at to find out what it is, in bytes.
pub const MAX_LINE_HEAD: usize = 4 << 10;

/// The longest piece of a line that is no message, in bytes; a longer line is several pieces.
pub const MAX_STRAY: usize = 64 << 10;

/// How many prompts wait for the turn under way to end.
pub const MAX_QUEUED_PROMPTS: usize = 16;

/// The longest prompt, in bytes.
pub const MAX_PROMPT: usize = 1 << 20;

/// How many requests of one agent are open at a time. One more is answered with a JSON-RPC error.
pub const MAX_OPEN_REQUESTS: usize = 16;

/// How many options a request may have. One with more is answered with a JSON-RPC error.
pub const MAX_OPTIONS: usize = 64;

/// The longest name that an agent gives to anything (a session, a tool call, an option), in bytes.
pub const MAX_ID: usize = 256;

/// The longest id of a JSON-RPC request from the agent, in bytes of JSON.
pub const MAX_RPC_ID: usize = 256;

/// How many answers are remembered, so that one that is sent again is recognized.
pub const MAX_REMEMBERED_ANSWERS: usize = 256;

/// The longest title of a request, an option or a tool call, in bytes; a longer one is cut.
pub const MAX_TITLE: usize = 1 << 10;

/// The longest detail of a request, in bytes; a longer one is cut.
pub const MAX_DETAIL: usize = 16 << 10;

/// The longest message of an error, in bytes; a longer one is cut.
pub const MAX_MESSAGE: usize = 2 << 10;

/// How many tool calls are remembered; the oldest makes room.
pub const MAX_TOOLS: usize = 64;

/// The longest output of a tool call, in bytes; a longer one is cut.
pub const MAX_TOOL_OUTPUT: usize = 64 << 10;

/// The longest summary of a tool call, in bytes; a longer one is cut.
pub const MAX_SUMMARY: usize = 256;

/// The largest update that is passed on as the agent wrote it, in bytes. Of a larger one, the large fields are
/// replaced by `{"omitted_bytes":N}`.
pub const MAX_RAW: usize = 64 << 10;

/// How deep arrays and objects of such an update may nest; a deeper one is replaced as a whole. Parsers of JSON have
/// such limits, too, and the update is passed on within other JSON.
pub const MAX_RAW_DEPTH: usize = 64;

/// The largest fragment of text in one event, in bytes. Fragments that arrive together are joined up to this.
pub const MAX_DELTA: usize = 16 << 10;

/// The largest transcript item, in bytes; a longer text is several.
pub const MAX_ITEM_TEXT: usize = 64 << 10;

/// How much may wait to be written, in bytes, before an agent that does not read
/// [is given up](crate::AgentFailure::NotReading). The longest prompt has room, whatever JSON makes of it.
pub const MAX_UNWRITTEN: usize = 8 << 20;
