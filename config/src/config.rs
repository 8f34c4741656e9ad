//! The configuration (BROWSER-API.md, "Configuration"): read, checked and turned into types before anything listens.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sekisho_core::browser_api::{AllowedHost, AllowedOrigin};
use sekisho_core::secret::Token;
use sekisho_runtime::ProcessProfile;
use serde::Deserialize;

use crate::runtimes::{EmbeddedTable, RemoteTable, Runtimes};
use crate::token_file::TokenFile;

/// Where a server listens, and a client expects one, unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8787";

/// Everything that a server needs to know, checked.
#[derive(Debug)]
pub struct Config {
    /// Where to listen: loopback, unless there is an access token or none is wanted expressly.
    pub listen: SocketAddr,
    insecure_no_access_token: bool,
    /// What a `Host` header may say, besides the names of loopback.
    pub allowed_hosts: Vec<AllowedHost>,
    /// What an `Origin` header may say, besides the same origin.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// What every request must present.
    pub access_token: Option<Token>,
    /// The largest request body, in bytes.
    pub max_request_bytes: usize,
    /// How many viewers there may be.
    pub max_viewers: usize,
    /// The runtimes behind the door.
    pub runtimes: Runtimes,
}

/// What is wrong with a configuration, and at which key. It never repeats a value that may be a secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {reason}", key.as_deref().unwrap_or("the configuration"))]
pub struct ConfigError {
    /// The key, as in `remote[2].base_url`, where the fault is at one.
    pub key: Option<String>,
    /// What is wrong there.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    listen: String,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    access_token_file: Option<PathBuf>,
    pub(crate) access_token_env: Option<String>,
    insecure_no_access_token: bool,
    max_request_bytes: NonZeroU64,
    pub(crate) max_response_bytes: NonZeroU64,
    pub(crate) max_event_bytes: NonZeroU64,
    max_viewers: NonZeroU64,
    pub(crate) give_up_after_ms: NonZeroU64,
    pub(crate) cursor_key_file: Option<PathBuf>,
    pub(crate) embedded: EmbeddedTable,
    pub(crate) remote: Vec<RemoteTable>,
    local: Option<toml::Value>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN.into(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            access_token_file: None,
            access_token_env: None,
            insecure_no_access_token: false,
            max_request_bytes: positive(1 << 20),
            max_response_bytes: positive(8 << 20),
            max_event_bytes: positive(1 << 20),
            max_viewers: positive(4096),
            give_up_after_ms: positive(60_000),
            cursor_key_file: None,
            embedded: EmbeddedTable::default(),
            remote: Vec::new(),
            local: None,
        }
    }
}

/// The longest time that can be configured for anything.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) fn positive(value: u64) -> NonZeroU64 {
    NonZeroU64::new(value).unwrap_or(NonZeroU64::MIN)
}

pub(crate) fn at(key: impl Into<String>, reason: impl ToString) -> ConfigError {
    ConfigError { key: Some(key.into()), reason: reason.to_string() }
}

/// What the parser says. Of a value that is of another type than it should be, it repeats the value: what is left is
/// what was expected.
fn without_value(message: &str) -> &str {
    let repeats = ["invalid type: ", "invalid value: "].iter().any(|start| message.starts_with(start));
    match message.rfind("expected ") {
        Some(expected) if repeats => &message[expected..],
        _ => message,
    }
}

impl File {
    pub(crate) fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let file: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map(|line| format!(" (line {line})")).unwrap_or_default();
            ConfigError { key: None, reason: format!("{}{place}", without_value(error.message())) }
        })?;
        match file.local {
            Some(_) => Err(at("local", "this version does not have it yet")),
            None => Ok(file),
        }
    }
}

impl Config {
    /// Reads and checks a configuration: the text of the file, empty for all defaults. Files and variables that
    /// it names are read, too.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let file = File::from_toml(text)?;
        let access_token = token(
            ("access_token_file", &file.access_token_file),
            ("access_token_env", &file.access_token_env),
        )?;
        let listen = file.listen.clone();
        let mut config = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            insecure_no_access_token: file.insecure_no_access_token,
            allowed_hosts: each("allowed_hosts", &file.allowed_hosts)?,
            allowed_origins: each("allowed_origins", &file.allowed_origins)?,
            access_token: access_token.map(|(token, _)| token),
            max_request_bytes: bytes(file.max_request_bytes),
            max_viewers: bytes(file.max_viewers),
            runtimes: Runtimes::checked(file)?,
        };
        config.set_listen("listen", &listen)?;
        Ok(config)
    }

    /// Listens there instead. The same rules hold as for the key `listen`.
    pub fn listen_on(mut self, address: &str) -> Result<Self, ConfigError> {
        self.set_listen("--listen", address)?;
        Ok(self)
    }

    fn set_listen(&mut self, key: &str, address: &str) -> Result<(), ConfigError> {
        let unresolved = || at(key, "not an address and port, as in 127.0.0.1:8787");
        let listen = address.to_socket_addrs().map_err(|_| unresolved())?.next().ok_or_else(unresolved)?;
        if !listen.ip().is_loopback() && self.access_token.is_none() && !self.insecure_no_access_token {
            let reason = "not a loopback address: set access_token_file or access_token_env, or \
                          insecure_no_access_token = true to let anybody in";
            return Err(at(key, reason));
        }
        self.listen = listen;
        Ok(())
    }

    /// Makes a command line the default profile of the embedded runtime.
    pub fn exec(mut self, command_line: &str) -> Result<Self, ConfigError> {
        let command = shell_words::split(command_line).map_err(|_| at("--exec", "a quote is not closed"))?;
        if command.is_empty() {
            return Err(at("--exec", "there is no command"));
        }
        let embedded = self
            .runtimes
            .embedded
            .as_mut()
            .ok_or_else(|| at("--exec", "the embedded runtime is turned off"))?;
        embedded.profiles.retain(|profile| profile.name != EXEC);
        embedded.profiles.insert(0, ProcessProfile { name: EXEC.to_owned(), command });
        Ok(self)
    }
}

/// The name of the profile that `--exec` makes.
const EXEC: &str = "exec";

pub(crate) fn bytes(value: NonZeroU64) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}

pub(crate) fn time(key: &str, milliseconds: NonZeroU64) -> Result<Duration, ConfigError> {
    match Duration::from_millis(milliseconds.get()) {
        time if time > LONGEST_TIMEOUT => Err(at(key, format!("is over {} ms", LONGEST_TIMEOUT.as_millis()))),
        time => Ok(time),
    }
}

fn each<T: FromStr<Err: ToString>>(key: &str, texts: &[String]) -> Result<Vec<T>, ConfigError> {
    texts.iter().enumerate().map(|(index, text)| parse(format!("{key}[{}]", index + 1), text)).collect()
}

pub(crate) fn parse<T: FromStr<Err: ToString>>(key: impl Into<String>, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|error| at(key, error))
}

/// A token from a file or a variable, whichever key is there, and the file if it is one.
pub(crate) fn token(
    (file_key, file): (&str, &Option<PathBuf>),
    (env_key, env): (&str, &Option<String>),
) -> Result<Option<(Token, Option<TokenFile>)>, ConfigError> {
    match (file, env) {
        (Some(_), Some(_)) => Err(at(file_key, format!("there is {env_key} as well: choose one"))),
        (Some(path), None) => {
            let (file, token) = TokenFile::open(path.clone()).map_err(|error| at(file_key, error))?;
            Ok(Some((token, Some(file))))
        }
        (None, Some(name)) => {
            let value = std::env::var(name).map_err(|_| at(env_key, "there is no such variable"))?;
            Ok(Some((value.parse().map_err(|error| at(env_key, error))?, None)))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
