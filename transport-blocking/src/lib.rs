//! The loops that carry [`Call`]s and [`Watch`]es with blocking I/O: no async runtime, and no thread but for a name
//! that takes long to resolve.
//!
//! Nothing is decided here. [`drive`] obeys one call from its first poll to its end; a [`Transport`] performs one
//! attempt at a time, over the network with a [`HttpClient`], or in the same process. A worker's stream is carried by
//! [`WatchDriver`], and through a gateway by [`GatewayStreamDriver`]. What went wrong on the way is reported as the same [`Failure`]s that the transport under tokio
//! reports: in which phase, and whether a byte of the request had been sent, which is counted and not guessed.
//!
//! ```no_run
//! use std::time::Instant;
//!
//! use sekisho_core::call::CallLimits;
//! use sekisho_core::registry::{Registry, RuntimeKind, RuntimeSpec};
//! use sekisho_core::runtime_api::Command;
//! use sekisho_core::secret::Access;
//! use sekisho_core::watch::GIVE_UP_AFTER;
//! use sekisho_transport_blocking::{HttpClient, Transport, drive};
//!
//! let runtime_id = "build-box".parse()?;
//! let spec = RuntimeSpec {
//!     runtime_id: "build-box".parse()?,
//!     display_name: None,
//!     kind: RuntimeKind::Remote,
//!     access: Access::remote("http://127.0.0.1:7700".parse()?, Some("token".parse()?)),
//!     limits: CallLimits::default(),
//!     max_in_flight: 64,
//!     give_up_after: GIVE_UP_AFTER,
//! };
//! let mut registry = Registry::new(vec![spec], 1)?;
//! let transport = Transport::Network(HttpClient::new(None));
//!
//! let mut call = registry.call(Instant::now(), &runtime_id, Command::workers(), None)?;
//! let reply = drive(&mut call, &transport)?;
//! registry.finish(Instant::now(), call);
//! println!("{reply:?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Logs
//!
//! This crate logs nothing. ureq, which it uses, tells the `log` crate at the levels debug and trace what goes over
//! the wire, credentials included: a program that installs a logger must keep it from the targets `ureq` and
//! `ureq_proto`.
//!
//! [`Call`]: sekisho_core::call::Call
//! [`Watch`]: sekisho_core::watch::Watch
//! [`Failure`]: sekisho_core::transport::Failure

mod client;
mod connector;
mod drive;
mod gateway_stream;
mod probe;
mod socket;
mod watch;

pub use client::{HttpClient, Opened};
pub use drive::{Transport, drive};
pub use gateway_stream::{Ended, GatewayStreamDriver};
pub use probe::{Phase, Step, probe};
pub use watch::WatchDriver;
