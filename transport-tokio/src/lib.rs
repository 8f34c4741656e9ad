//! The loops that carry [`Call`]s and [`Watch`]es under tokio.
//!
//! Nothing is decided here. [`drive`] obeys one call from its first poll to its end; a [`Transport`] performs one
//! attempt at a time, over the network with a [`HttpClient`] that keeps a pool of connections to one runtime, or in the
//! same process. What went wrong on the way is reported as a [`Failure`]: in which phase, and whether a byte of the
//! request had been sent, which is counted and not guessed. A worker's stream is carried by [`WatchDriver`].
//!
//! ```no_run
//! use std::time::Instant;
//!
//! use sekisho_core::id::RuntimeId;
//! use sekisho_core::registry::{Registry, RuntimeSpec};
//! use sekisho_core::runtime_api::Command;
//! use sekisho_transport_tokio::{HttpClient, Transport, drive};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
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
//! let reply = drive(&mut call, &transport).await?;
//! registry.finish(Instant::now(), call);
//! println!("{reply:?}");
//! # Ok(())
//! # }
//! ```
//!
//! Every future here is `Send` and runs under any tokio runtime that has time and I/O enabled.
//!
//! [`Call`]: sekisho_core::call::Call
//! [`Watch`]: sekisho_core::watch::Watch
//! [`Failure`]: sekisho_core::transport::Failure

mod body;
mod call;
mod client;
mod http1;
mod socket;
mod transport;
mod watch;

pub use call::drive;
pub use client::HttpClient;
pub use socket::OpenConnections;
pub use transport::Transport;
pub use watch::WatchDriver;
