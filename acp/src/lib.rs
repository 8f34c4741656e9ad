//! The client's side of the [Agent Client Protocol](https://agentclientprotocol.com), version 1, without I/O.
//!
//! An agent that speaks ACP is a process with JSON-RPC on its standard input and output. [`Agent`] is what its client
//! decides: how a session is opened, what becomes of prompts, which of the agent's questions wait for a person, and
//! what is told of all it says, in the terms of sekisho's worker-runtime API. It has no process, no clock, no thread
//! and no random source; it sees bytes and the [`Instant`](std::time::Instant) it is given.
//!
//! # The run loop
//!
//! 1. Start the process, and make an [`Agent`] of an [`AgentConfig`].
//! 2. [`Agent::poll`] until it says [`AgentOutput::Wait`] or [`AgentOutput::Ended`]. Write what it says to
//!    [write](AgentOutput::Write), and tell the [events](AgentOutput::Event).
//! 3. On [`AgentOutput::Wait`], wait for the process to write, for what is being written to be written, for an order
//!    from outside, or for the instant. Feed what happened to [`Agent::handle`].
//! 4. Orders are methods that say at once whether they are taken: [`Agent::prompt`], [`Agent::interrupt`],
//!    [`Agent::answer`], [`Agent::stop`]. Poll after each.
//! 5. On [`AgentOutput::Ended`], end the process where it has not ended.
//!
//! Output is read while something is being written: an agent may write before it reads on. Where those who look on
//! cannot take more, a driver stops reading, and the agent waits as it would on any pipe.
//!
//! ```
//! use std::time::Instant;
//!
//! use sekisho_acp::{Agent, AgentConfig, AgentEvent, AgentInput, AgentOutput, RunResult};
//!
//! /// An agent of the simplest kind: the answer to each line of its input.
//! fn answer(line: &[u8]) -> String {
//!     let request: serde_json::Value = serde_json::from_slice(line).unwrap();
//!     let result = match request["method"].as_str().unwrap() {
//!         "initialize" => r#"{"protocolVersion":1}"#,
//!         "session/new" => r#"{"sessionId":"s"}"#,
//!         _ => r#"{"stopReason":"end_turn"}"#,
//!     };
//!     format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}\n", request["id"])
//! }
//!
//! // Time is an argument, and here it stands still.
//! let now = Instant::now();
//! let mut agent = Agent::new(now, AgentConfig::new("/srv/repo"));
//! agent.prompt("hello".into())?;
//! let mut told = Vec::new();
//! loop {
//!     match agent.poll(now) {
//!         AgentOutput::Write(line) => {
//!             agent.handle(AgentInput::Written);
//!             agent.handle(AgentInput::Output(answer(&line).as_bytes()));
//!         }
//!         AgentOutput::Event(event) => told.push(event),
//!         AgentOutput::Wait { .. } => break,
//!         AgentOutput::CloseInput | AgentOutput::Ended(_) => unreachable!(),
//!     }
//! }
//! assert!(told.iter().any(|event| matches!(event, AgentEvent::RunEnd(RunResult::Finished))));
//! # Ok::<(), sekisho_acp::PromptError>(())
//! ```
//!
//! # What becomes of what an agent says
//!
//! | ACP | [`AgentEvent`] |
//! |---|---|
//! | `agent_message_chunk`, `agent_thought_chunk` with text | `TextDelta`, `ThinkingDelta`; the whole of a run is `Said` |
//! | the same with other content | `Item` `acp.content` |
//! | `user_message_chunk` | nothing: the runtime tells a prompt when it accepts it |
//! | `tool_call` | `ToolCallStart`, and `Item` `acp.tool_call` where it says more |
//! | `tool_call_update` | `ToolResult` where it is `completed` or `failed`, else `Item` `acp.tool_call` |
//! | `plan`, `current_mode_update`, `available_commands_update`, `config_option_update`, `session_info_update`, `usage_update` | `Item` `acp.plan`, `acp.mode`, `acp.commands`, `acp.options`, `acp.info`, `acp.usage` |
//! | another update, a notification that is not known | `Item` `acp.other` |
//! | `session/request_permission`, `elicitation/create` with one choice | `Status` paused, `RequestOpened`; then `RequestResolved` |
//! | another method | nothing: the agent is told that there is no such method |
//! | stop reason `end_turn` | `RunEnd` finished, `Status` idle |
//! | stop reason `max_tokens`, `max_turn_requests` | `RunEnd` limit reached, `Status` idle |
//! | stop reason `refusal`, a JSON-RPC error | `Error` provider error, `Status` idle |
//! | any end of a turn that was interrupted | `ToolResult` of what was not done, `Error` internal, `Status` idle |
//! | a line that is not JSON-RPC | `Stray` |
//!
//! # Types of its own
//!
//! The crate `agent-client-protocol-schema` defines all of ACP. It is not used, for three reasons. With its default
//! features off it brings about twenty crates that nothing else here needs, and it turns on `preserve_order` of
//! `serde_json`, which changes maps everywhere in the program. Its types stand for the newest schema in full, where
//! this client looks into a dozen messages and passes on the rest as it was written. And agents write what strict
//! types refuse, halves of surrogate pairs for one, which would lose a message for the sake of one character.
//!
//! # Bounds
//!
//! Every bound is a constant in [`limits`]. The outputs that wait are those of one line.
#![forbid(unsafe_code)]

mod agent;
mod config;
mod error;
mod event;
pub mod limits;
mod line;
mod raw;
mod request;
mod rpc;
mod schema;
mod start;
mod text;
mod tool;
mod transcript;

pub use agent::{Agent, AgentInput, AgentOutput, AgentWait, Answered};
pub use config::{AgentConfig, Permissions};
pub use error::{AgentEnd, AgentFailure, AnswerError, PromptError, StartError, StartStep};
pub use event::{
    AgentEvent, ErrorCode, Item, ItemKind, Request, RequestKind, RequestOption, Resolved, ResolvedBy,
    RunResult, Said, Speaker, Started, Status, ToolResult,
};
