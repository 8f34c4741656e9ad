//! The configuration (BROWSER-API.md, "Configuration"): read, checked and turned into types before anything listens.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sekisho_core::browser_api::{AllowedHost, AllowedOrigin};
use sekisho_core::call::CallLimits;
use sekisho_core::cursor::CursorKey;
use sekisho_core::feed::FeedLimits;
use sekisho_core::id::RuntimeId;
use sekisho_core::secret::{BaseUrl, Token};
use sekisho_runtime::ProcessProfile;
use sekisho_transport_tokio::{TlsRoots, TokenFile};
use serde::Deserialize;
use toml::Spanned;

/// Everything that a server needs to know, checked.
#[derive(Debug)]
pub struct Config {
    pub(crate) listen: SocketAddr,
    insecure_no_access_token: bool,
    pub(crate) allowed_hosts: Vec<AllowedHost>,
    pub(crate) allowed_origins: Vec<AllowedOrigin>,
    pub(crate) access_token: Option<Token>,
    pub(crate) max_request_bytes: usize,
    pub(crate) cursor_key: CursorKey,
    pub(crate) feed_limits: FeedLimits,
    pub(crate) max_viewers: usize,
    pub(crate) give_up_after: Duration,
    pub(crate) embedded: Option<Embedded>,
    pub(crate) remotes: Vec<Remote>,
}

/// The runtime in this process.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) runtime_id: RuntimeId,
    pub(crate) display_name: String,
    /// The first is the default.
    pub(crate) profiles: Vec<ProcessProfile>,
    /// Variables that hold tokens, which workers must not find in their environment.
    pub(crate) hidden_variables: Vec<String>,
}

/// A runtime elsewhere.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) runtime_id: RuntimeId,
    pub(crate) display_name: Option<String>,
    pub(crate) base_url: BaseUrl,
    pub(crate) token: Option<Token>,
    pub(crate) token_file: Option<Arc<TokenFile>>,
    pub(crate) tls: Option<TlsRoots>,
    pub(crate) limits: CallLimits,
    pub(crate) max_in_flight: usize,
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
struct File {
    listen: String,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    access_token_file: Option<PathBuf>,
    access_token_env: Option<String>,
    insecure_no_access_token: bool,
    max_request_bytes: NonZeroU64,
    max_response_bytes: NonZeroU64,
    max_event_bytes: NonZeroU64,
    max_viewers: NonZeroU64,
    give_up_after_ms: NonZeroU64,
    cursor_key_file: Option<PathBuf>,
    embedded: EmbeddedTable,
    remote: Vec<RemoteTable>,
    local: Option<toml::Value>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8787".into(),
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EmbeddedTable {
    enabled: bool,
    runtime_id: String,
    display_name: String,
    profiles: BTreeMap<Spanned<String>, ProfileTable>,
}

impl Default for EmbeddedTable {
    fn default() -> Self {
        Self {
            enabled: true,
            runtime_id: "embedded".into(),
            display_name: "Embedded runtime".into(),
            profiles: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileTable {
    command: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoteTable {
    runtime_id: String,
    display_name: Option<String>,
    base_url: String,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    connect_timeout_ms: Option<NonZeroU64>,
    response_timeout_ms: Option<NonZeroU64>,
    max_in_flight: Option<NonZeroU64>,
    #[serde(default)]
    allow_plaintext: bool,
}

/// How many commands may be under way to one runtime, where nothing else is configured.
const MAX_IN_FLIGHT: u64 = 64;

/// The longest time that can be configured for anything.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

fn positive(value: u64) -> NonZeroU64 {
    NonZeroU64::new(value).unwrap_or(NonZeroU64::MIN)
}

fn at(key: impl Into<String>, reason: impl ToString) -> ConfigError {
    ConfigError { key: Some(key.into()), reason: reason.to_string() }
}

impl Config {
    /// Reads and checks a configuration: the text of the file, empty for all defaults. Files and variables that
    /// it names are read, too.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map(|line| format!(" (line {line})")).unwrap_or_default();
            ConfigError { key: None, reason: format!("{}{place}", error.message()) }
        })?;
        if file.local.is_some() {
            return Err(at("local", "this version does not have it yet"));
        }
        let access_token = token(
            ("access_token_file", &file.access_token_file),
            ("access_token_env", &file.access_token_env),
        )?;
        let remote_variables = file.remote.iter().flat_map(|remote| &remote.token_env);
        let variables = file.access_token_env.iter().chain(remote_variables).cloned().collect();
        let max_response_body = bytes(file.max_response_bytes);
        let mut config = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            insecure_no_access_token: file.insecure_no_access_token,
            allowed_hosts: each("allowed_hosts", &file.allowed_hosts)?,
            allowed_origins: each("allowed_origins", &file.allowed_origins)?,
            access_token: access_token.map(|(token, _)| token),
            max_request_bytes: bytes(file.max_request_bytes),
            cursor_key: cursor_key(file.cursor_key_file.as_deref())?,
            feed_limits: FeedLimits { max_event: bytes(file.max_event_bytes), ..FeedLimits::default() },
            max_viewers: bytes(file.max_viewers),
            give_up_after: time("give_up_after_ms", file.give_up_after_ms)?,
            embedded: embedded(file.embedded, variables)?,
            remotes: Vec::new(),
        };
        config.set_listen("listen", &file.listen)?;
        let mut taken: Vec<RuntimeId> =
            config.embedded.iter().map(|embedded| embedded.runtime_id.clone()).collect();
        let mut system_roots = None;
        for (index, table) in file.remote.into_iter().enumerate() {
            let key = format!("remote[{}]", index + 1);
            let remote = remote(&key, table, max_response_body, &mut system_roots)?;
            if taken.contains(&remote.runtime_id) {
                return Err(at(format!("{key}.runtime_id"), format!("{} stands twice", remote.runtime_id)));
            }
            taken.push(remote.runtime_id.clone());
            config.remotes.push(remote);
        }
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
        let embedded =
            self.embedded.as_mut().ok_or_else(|| at("--exec", "the embedded runtime is turned off"))?;
        embedded.profiles.retain(|profile| profile.name != EXEC);
        embedded.profiles.insert(0, ProcessProfile { name: EXEC.to_owned(), command });
        Ok(self)
    }
}

/// The name of the profile that `--exec` makes.
const EXEC: &str = "exec";

fn bytes(value: NonZeroU64) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}

fn time(key: &str, milliseconds: NonZeroU64) -> Result<Duration, ConfigError> {
    match Duration::from_millis(milliseconds.get()) {
        time if time > LONGEST_TIMEOUT => Err(at(key, format!("is over {} ms", LONGEST_TIMEOUT.as_millis()))),
        time => Ok(time),
    }
}

/// The key in a file, which is made where there is none; without a file, one that lasts as long as the process.
fn cursor_key(path: Option<&Path>) -> Result<CursorKey, ConfigError> {
    let fault = |reason: &str| at("cursor_key_file", reason);
    let fresh = || {
        let mut bytes = [0; CursorKey::LENGTH];
        getrandom::fill(&mut bytes).map_err(|_| fault("this system has no random source"))?;
        Ok(CursorKey::from_bytes(bytes))
    };
    let Some(path) = path else { return fresh() };
    match fs::read_to_string(path) {
        Ok(text) => text.parse().map_err(|error| at("cursor_key_file", error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = fresh()?;
            // Nobody must be able to read it before it is whole, nor two servers to make two.
            let written = tempfile_beside(path, &key.to_hex()).and_then(|temporary| {
                let linked = fs::hard_link(&temporary, path);
                fs::remove_file(&temporary)?;
                linked
            });
            match written {
                Ok(()) => Ok(key),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => cursor_key(Some(path)),
                Err(_) => Err(fault("the file is not there and cannot be made")),
            }
        }
        Err(_) => Err(fault("the file cannot be read")),
    }
}

/// A new file in the same directory, for its owner alone.
fn tempfile_beside(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(temporary)
}

fn each<T: std::str::FromStr<Err: ToString>>(key: &str, texts: &[String]) -> Result<Vec<T>, ConfigError> {
    let parse = |(index, text): (usize, &String)| {
        text.parse().map_err(|error: T::Err| at(format!("{key}[{}]", index + 1), error))
    };
    texts.iter().enumerate().map(parse).collect()
}

fn runtime_id(key: &str, text: &str) -> Result<RuntimeId, ConfigError> {
    text.parse().map_err(|error| at(key, error))
}

fn embedded(table: EmbeddedTable, hidden_variables: Vec<String>) -> Result<Option<Embedded>, ConfigError> {
    let mut tables: Vec<_> = table.profiles.into_iter().collect();
    // In the order of the file: the first is the default.
    tables.sort_by_key(|(name, _)| name.span().start);
    let mut profiles = Vec::with_capacity(tables.len());
    for (name, ProfileTable { command }) in tables {
        let name = name.into_inner();
        if command.first().is_none_or(String::is_empty) {
            return Err(at(format!("embedded.profiles.{name}.command"), "there is no command"));
        }
        profiles.push(ProcessProfile { name, command });
    }
    let runtime_id = runtime_id("embedded.runtime_id", &table.runtime_id)?;
    let display_name = table.display_name;
    Ok(table.enabled.then_some(Embedded { runtime_id, display_name, profiles, hidden_variables }))
}

/// A token from a file or a variable, whichever key is there, and the file if it is one.
fn token(
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

fn remote(
    key: &str,
    table: RemoteTable,
    max_response_body: usize,
    system_roots: &mut Option<TlsRoots>,
) -> Result<Remote, ConfigError> {
    let under = |name: &str| format!("{key}.{name}");
    let base_url: BaseUrl = table.base_url.parse().map_err(|error| at(under("base_url"), error))?;
    let token = token((&under("token_file"), &table.token_file), (&under("token_env"), &table.token_env))?;
    if token.is_some() && base_url.exposes_token() && !table.allow_plaintext {
        let reason = "would send the token in the clear: use https, or set allow_plaintext = true";
        return Err(at(under("base_url"), reason));
    }
    let tls = match (&table.ca_file, base_url.is_https()) {
        (Some(_), false) => return Err(at(under("ca_file"), "the base_url is not https")),
        (Some(path), true) => {
            let pem = fs::read(path).map_err(|_| at(under("ca_file"), "the file cannot be read"))?;
            Some(TlsRoots::from_pem(&pem).map_err(|error| at(under("ca_file"), error))?)
        }
        (None, true) => {
            let roots = match system_roots.take() {
                Some(roots) => roots,
                None => TlsRoots::of_system().map_err(|error| {
                    at(under("ca_file"), format!("is needed, as this system's own roots give {error}"))
                })?,
            };
            *system_roots = Some(roots.clone());
            Some(roots)
        }
        (None, false) => None,
    };
    let timeout = |name: &str, value: Option<NonZeroU64>, default| match value {
        Some(value) => time(&under(name), value),
        None => Ok(default),
    };
    let default = CallLimits::default();
    let (token, token_file) = token.unzip();
    Ok(Remote {
        runtime_id: runtime_id(&under("runtime_id"), &table.runtime_id)?,
        display_name: table.display_name,
        base_url,
        token,
        token_file: token_file.flatten().map(Arc::new),
        tls,
        limits: CallLimits {
            connect: timeout("connect_timeout_ms", table.connect_timeout_ms, default.connect)?,
            response: timeout("response_timeout_ms", table.response_timeout_ms, default.response)?,
            max_response_body,
        },
        max_in_flight: bytes(table.max_in_flight.unwrap_or(positive(MAX_IN_FLIGHT))),
    })
}

#[cfg(test)]
mod tests;
