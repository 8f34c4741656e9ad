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
//! use sekisho_core::id::RuntimeId;
//! use sekisho_core::registry::{Registry, RuntimeSpec};
//! use sekisho_core::runtime_api::Command;
//! use sekisho_transport_blocking::{HttpClient, Transport, drive};
//!
//! let runtime_id: RuntimeId = "build-box".parse()?;
//! let spec = RuntimeSpec::remote(
//!     runtime_id.clone(),
//!     "http://127.0.0.1:7700".parse()?,
//!     Some("token".parse()?),
//! );
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
//! This crate logs nothing. ureq-proto, which it uses, tells the `log` crate at the levels debug and trace what goes over
//! the wire, credentials included: a program that installs a logger must keep it from the target `ureq_proto`.
//!
//! [`Call`]: sekisho_core::call::Call
//! [`Watch`]: sekisho_core::watch::Watch
//! [`Failure`]: sekisho_core::transport::Failure

mod call;
mod client;
mod gateway_stream;
mod http1;
mod probe;
mod socket;
mod transport;
mod watch;

pub use call::drive;
pub use client::{HttpClient, Opened};
pub use gateway_stream::{Ended, GatewayStreamDriver};
pub use probe::{Phase, Step, probe};
pub use transport::Transport;
pub use watch::WatchDriver;
