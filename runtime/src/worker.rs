//! Workers that are processes: what is started, what it is told, and what it says.
//!
//! A worker's process has one thread in the runtime ([`attend`]). Others reach it by its [`Handle`], and it tells what
//! happens to what implements [`OutputSink`]. The helper processes between the runtime and the program are
//! [`crate::launcher`].

mod agent;
mod attendant;
mod handle;
mod output;
mod poll_set;
mod process;
mod program;
mod supervisor;
mod terminal;

use std::time::Duration;

pub(crate) use crate::launcher::message::{NotStarted, Step};
pub(crate) use agent::{AgentSink, SharedAgent, attend_agent};
pub(crate) use attendant::{End, Launch, OutputSink, Source, StoreFailed, attend};
pub(crate) use handle::{Handle, Undeliverable};
pub(crate) use output::Fragment;
pub(crate) use program::ProgramSpec;
pub(crate) use supervisor::Supervisor;
pub(crate) use terminal::{TerminalSettings, TerminalSize};

/// How many inputs wait for a worker that does not read.
pub const MAX_QUEUED_INPUTS: usize = 256;

/// How much text waits for a worker that does not read, in bytes.
pub const MAX_QUEUED_BYTES: usize = 2 * 1024 * 1024;

/// The longest input, in bytes: a queue that is empty has room for it.
pub const MAX_INPUT_BYTES: usize = 1024 * 1024;

/// How long it may take until the helper processes of a worker have started its program, or have told that they
/// could not.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);
