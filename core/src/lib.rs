//! Every decision of the sekisho gateway, and no I/O.
//!
//! sekisho stands between people who use workers and the machines that run them. This crate holds what it decides:
//! which runtime a command goes to, when to try again, what an answer means, whose error it is, whether a failed
//! command may have happened, and which texts must not leave. It has no socket, no clock, no thread, no random source
//! and no async runtime; it sees [`http`] types, bytes and the [`Instant`](std::time::Instant) it is given. One core
//! thus serves an async server, a blocking command line, an application that embeds it, and a simulator.
//!
//! # Modules
//!
//! A module uses those above it in this table, and none below.
//!
//! | module | decides |
//! |---|---|
//! | [`id`] | what a name is |
//! | [`memory`] | how much memory many things may take together |
//! | [`error`] | what went wrong, whose it is, and what follows |
//! | [`trace`] | what names a request in logs and problems, and at runtimes |
//! | [`diagnostic`], [`problem`] | how an error or another notice is told |
//! | [`secret`] | what must not leave, and what takes it out of texts |
//! | [`cursor`] | sealed cursors |
//! | [`heartbeat`] | whether the peer of a connection is still there |
//! | [`runtime_api`] | the wire to runtimes, v1, both sides of it: the table of [operations](runtime_api::Operation) is here |
//! | [`frame`] | the frames of a stream as viewers get them |
//! | [`policy`] | where permission and redaction plug in |
//! | [`transport`] | nothing: it is what the author of a transport needs |
//! | [`call`] | the life of one command |
//! | [`watch`] | the life of one stream to a runtime |
//! | [`registry`] | which runtimes there are, and how each is faring |
//! | [`feed`] | a worker's stream, shared by its viewers |
//! | [`browser_api`] | the API of browsers, terminals and scripts |
//! | [`viewer`] | the life of one viewer, and of the stream that all viewers of a worker share |
//! | [`fleet`] | all workers of all runtimes as one stream |
//! | [`gateway_client`] | the client's side of that API |
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | runtime | a process that holds workers, behind the API v1 |
//! | worker | a long-lived interactive process in a runtime: an agent, a shell, a build |
//! | gateway | the program between clients and runtimes that this crate decides for |
//! | client | a program that speaks the gateway's API |
//! | viewer | a client that watches a worker |
//! | command | one request to one runtime; [`Command`](runtime_api::Command) |
//! | operation | what a command asks for, whatever it is about; [`Operation`](runtime_api::Operation) |
//! | feature | what a runtime has beyond v1; [`Feature`](runtime_api::Feature) |
//! | call, attempt | the life of a command, and one request of it; [`Call`](call::Call) |
//! | watch | the life of one stream to a runtime; [`Watch`](watch::Watch) |
//! | event | something that happened to a worker |
//! | diagnostic | something to be told about a stream or a reply; [`Diagnostic`](diagnostic::Diagnostic) |
//! | frame | an event or a diagnostic on its way to a viewer; [`Frame`](frame::Frame) |
//! | snapshot | an event that tells the state of a worker rather than a change of it |
//! | cursor | where a viewer goes on, sealed; the runtime's own is an [`UpstreamCursor`](cursor::UpstreamCursor) |
//! | feed | one worker's frames in a ring, shared by its viewers; [`Feed`](feed::Feed) |
//! | replay stream | a second watch that brings viewers with one cursor up to the feed |
//! | view | what clients are shown of a runtime, a worker or a request |
//! | origin | whose error it is; [`Origin`](error::Origin) |
//! | outcome | whether a failed command may have happened; [`Outcome`](error::Outcome) |
//! | fleet | all workers of all runtimes; [`Fleet`](fleet::Fleet) |
//! | circuit | what keeps commands from a runtime that fails again and again |
//!
//! # The run loop
//!
//! 1. [`Registry::call`](registry::Registry::call) makes a [`Call`](call::Call) of a command, or says why not.
//! 2. [`Call::poll`](call::Call::poll) says what to do: send an attempt, wait until an instant, or that it is done.
//! 3. [`Call::handle`](call::Call::handle) hears what became of it.
//! 4. [`Registry::finish`](registry::Registry::finish) learns from how it ended.
//!
//! A worker's stream has the same three verbs, in [`watch`].
//!
//! ```
//! use std::time::Instant;
//!
//! use sekisho_core::call::{CallInput, CallOutput};
//! use sekisho_core::error::NetworkPhase;
//! use sekisho_core::registry::{Registry, RuntimeSpec};
//! use sekisho_core::runtime_api::{Command, Reply};
//! use sekisho_core::transport::{Attempt, Failure, FailureCause};
//!
//! /// A transport of the simplest kind: the network is down, but for the second attempt.
//! fn send(attempt: &Attempt, count: u32) -> CallInput {
//!     match count {
//!         2 => CallInput::Response(attempt.id, http::Response::new(r#"{"workers":[]}"#.into())),
//!         _ => CallInput::Failed(attempt.id, Failure::unsent(FailureCause::Network(NetworkPhase::Connect))),
//!     }
//! }
//!
//! let base_url = "https://10.0.0.5:7700".parse()?;
//! let spec = RuntimeSpec::remote("build-box".parse()?, base_url, Some("token".parse()?));
//! let mut registry = Registry::new(vec![spec], 1)?;
//!
//! // Time is an argument: here it jumps to wherever the call wants to be.
//! let mut now = Instant::now();
//! let mut call = registry.call(now, &"build-box".parse()?, Command::workers(), None)?;
//! let result = loop {
//!     match call.poll(now) {
//!         CallOutput::Send(attempt) => {
//!             let report = send(&attempt, call.attempts());
//!             call.handle(now, report);
//!         }
//!         CallOutput::RefreshCredential => call.handle(now, CallInput::Credential(None)),
//!         CallOutput::Wait { until, .. } => now = until,
//!         CallOutput::Done(result) => break result,
//!     }
//! };
//! assert_eq!(result, Ok(Reply::Workers(vec![].into())));
//! registry.finish(now, call);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod backoff;
pub mod browser_api;
pub mod call;
pub mod cursor;
pub mod diagnostic;
pub mod error;
pub mod feed;
pub mod fleet;
pub mod frame;
pub mod gateway_client;
pub mod heartbeat;
pub mod id;
mod json;
pub mod memory;
pub mod policy;
pub mod problem;
mod query;
pub mod registry;
pub mod runtime_api;
pub mod secret;
pub mod trace;
pub mod transport;
pub mod viewer;
pub mod watch;

/// The guide for embedders compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;
