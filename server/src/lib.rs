//! The sekisho gateway as a server: the browser API of [`sekisho_core::browser_api`] on hyper, in front of an
//! embedded runtime and of remote ones.
//!
//! [`Config::from_toml`] reads and checks a configuration, [`Server::start`] listens and serves, and
//! [`Server::shutdown`] finishes what is in flight and ends the embedded workers. One event loop runs per core,
//! each with its own share of the listener, its own connections and its own [`Registry`]; what one registry learns
//! reaches the others as one message per change.
//!
//! ```
//! use sekisho_server::{Config, Server};
//!
//! let config = Config::from_toml("listen = '127.0.0.1:0'")?;
//! let server = Server::start(config)?;
//! println!("listening on http://{}", server.local_addr());
//! server.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Registry`]: sekisho_core::registry::Registry

mod budget;
mod description;
mod drain;
mod event_loop;
mod fleet;
mod gateway;
mod hub;
mod metrics;
mod refusals;
mod reply_body;
mod request_log;
mod respond;
mod server;
mod setup;
mod shared_reads;
mod threads;
mod upstreams;
mod viewer;

pub use description::describe;
pub use sekisho_config::{Config, ConfigError};
pub use server::{ReloadError, Reloaded, Server, StartError};
