//! The configuration of sekisho's programs, read and checked before anything else happens.
//!
//! One crate for all of them. A server takes [`Config`]; a program that goes to the runtimes by itself takes
//! [`Runtimes`] of the same file, and what concerns only a server (where to listen, who may come in) is looked at for
//! its form alone; a runtime of its own takes [`RuntimeSettings`]. What workers are ([`Workers`]) is the same everywhere.
//!
//! All of it is checked: an unknown key, a duplicate id, an address that is none, a token that cannot be read is a
//! [`ConfigError`] that names the file and the key. Where TOML cannot be read it shows the line, without its value.
//! `docs/configuration.md` lists every key.
//!
//! ```
//! use sekisho_config::Runtimes;
//!
//! let runtimes = Runtimes::from_toml(
//!     "[[remote]]
//!      runtime_id = 'build-box'
//!      base_url = 'http://127.0.0.1:7700'",
//! )?;
//! let ids: Vec<_> = runtimes.specs().iter().map(|spec| spec.runtime_id.to_string()).collect();
//! assert_eq!(ids, ["embedded", "build-box"]);
//!
//! let error = Runtimes::from_toml("[[remote]]\nruntime_id = 'x'\nbase_url = 'ftp://h'").unwrap_err();
//! assert_eq!(error.key.as_deref(), Some("remote[1].base_url"));
//! # Ok::<(), sekisho_config::ConfigError>(())
//! ```

mod agents;
mod error;
mod file;
mod gateway;
mod gateway_file;
mod key_file;
mod listen;
mod runtime;
mod runtimes;
mod state_directory;
mod store;
mod tls;
mod token_file;
mod toml_text;
mod worker_limits;
mod workers;

pub use agents::{AgentPermissions, AgentProfile};
pub use error::{ConfigError, Place};
pub use file::ReadError;
pub use gateway::{Config, Fixed};
pub use gateway_file::DEFAULT_LISTEN;
pub use listen::{InvalidListen, Listen, TlsFiles};
pub use runtime::{RuntimeFlags, RuntimeSettings};
pub use runtimes::{Embedded, Local, MAX_IN_FLIGHT, Remote, Runtimes};
pub use store::{Durability, StorePlace, StoreSettings};
pub use tls::{TlsError, TlsFileError, trusting_file, trusting_the_system};
pub use token_file::{TokenFile, TokenFileError};
pub use worker_limits::WorkerLimits;
pub use workers::{Profile, ProfileKind, Workers};
