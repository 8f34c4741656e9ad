//! The configuration of the gateway (BROWSER-API.md, "Configuration"), read and checked before anything else
//! happens.
//!
//! One file serves two readers. A server takes [`Config`], all of it; a program that goes to the runtimes by itself
//! takes [`Runtimes`], and what concerns the door alone (where to listen, who may come in) need not even be readable
//! to it. Either is checked whole: an unknown key, a doubled id, an address that is none, a token that cannot be read
//! is a [`ConfigError`] that names the key and repeats nothing that may be a secret.
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

mod config;
mod cursor_key;
mod runtimes;
mod tls;
mod token_file;

pub use config::{Config, ConfigError, DEFAULT_LISTEN};
pub use runtimes::{Embedded, MAX_IN_FLIGHT, Remote, Runtimes};
pub use tls::{TlsError, trusting_pem, trusting_the_system};
pub use token_file::{TokenFile, TokenFileError};
