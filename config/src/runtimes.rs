//! Which runtimes there are, and how to get to them.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use sekisho_core::call::CallLimits;
use sekisho_core::cursor::CursorKey;
use sekisho_core::id::RuntimeId;
use sekisho_core::registry::{RuntimeKind, RuntimeSpec};
use sekisho_core::secret::{Access, BaseUrl, Token};
use sekisho_runtime::{ProcessProfile, RuntimeConfig};
use serde::Deserialize;
use toml::Spanned;

use crate::config::{ConfigError, File, at, bytes, parse, positive, time, token};
use crate::cursor_key::cursor_key;
use crate::tls;
use crate::token_file::TokenFile;

/// How many commands may be under way to one runtime, where nothing else is configured.
pub const MAX_IN_FLIGHT: u64 = 64;

/// The runtimes of a configuration, and what streams to them need.
#[derive(Debug)]
pub struct Runtimes {
    /// The runtime in this process, unless it is turned off.
    pub embedded: Option<Embedded>,
    /// The runtimes elsewhere, in the order of the file.
    pub remotes: Vec<Remote>,
    /// What cursors are sealed with.
    pub cursor_key: CursorKey,
    /// The largest event that viewers are shown, in bytes.
    pub max_event_bytes: usize,
    /// How long a stream that was lost is tried again.
    pub give_up_after: Duration,
}

/// The runtime in this process.
#[derive(Debug)]
pub struct Embedded {
    /// The id that it goes by.
    pub runtime_id: RuntimeId,
    /// Its name for people.
    pub display_name: String,
    /// The first is the default.
    pub profiles: Vec<ProcessProfile>,
    /// Variables that hold tokens, which workers must not find in their environment.
    pub hidden_variables: Vec<String>,
}

/// A runtime elsewhere.
#[derive(Clone)]
pub struct Remote {
    /// The id that it goes by.
    pub runtime_id: RuntimeId,
    /// Its name for people, where it is not the runtime's own.
    pub display_name: Option<String>,
    /// Where it is.
    pub base_url: BaseUrl,
    /// What it lets one in with.
    pub token: Option<Token>,
    /// The file that the token stands in, if it does.
    pub token_file: Option<Arc<TokenFile>>,
    /// Whom to trust, where the base URL is https.
    pub tls: Option<Arc<ClientConfig>>,
    /// The bounds of calls to it.
    pub limits: CallLimits,
    /// How many commands may be under way to it.
    pub max_in_flight: usize,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("runtime_id", &self.runtime_id).finish_non_exhaustive()
    }
}

impl Runtimes {
    /// Reads and checks a configuration for who goes to the runtimes by himself: the text of the file, empty for all
    /// defaults. Files and variables that it names for the runtimes are read, too.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::checked(File::from_toml(text)?)
    }

    pub(crate) fn checked(file: File) -> Result<Self, ConfigError> {
        let remote_variables = file.remote.iter().flat_map(|remote| &remote.token_env);
        let variables = file.access_token_env.iter().chain(remote_variables).cloned().collect();
        let max_response_body = bytes(file.max_response_bytes);
        let embedded = embedded(file.embedded, variables)?;
        let mut taken: Vec<RuntimeId> = embedded.iter().map(|embedded| embedded.runtime_id.clone()).collect();
        let mut remotes = Vec::with_capacity(file.remote.len());
        let mut system_trust = None;
        for (index, table) in file.remote.into_iter().enumerate() {
            let key = format!("remote[{}]", index + 1);
            let remote = remote(&key, table, max_response_body, &mut system_trust)?;
            if taken.contains(&remote.runtime_id) {
                return Err(at(format!("{key}.runtime_id"), format!("{} stands twice", remote.runtime_id)));
            }
            taken.push(remote.runtime_id.clone());
            remotes.push(remote);
        }
        Ok(Self {
            embedded,
            remotes,
            cursor_key: cursor_key(file.cursor_key_file.as_deref())?,
            max_event_bytes: bytes(file.max_event_bytes),
            give_up_after: time("give_up_after_ms", file.give_up_after_ms)?,
        })
    }

    /// What a [`Registry`](sekisho_core::registry::Registry) is made of: the embedded runtime first.
    pub fn specs(&self) -> Vec<RuntimeSpec> {
        let embedded = self.embedded.iter().map(|embedded| RuntimeSpec {
            runtime_id: embedded.runtime_id.clone(),
            display_name: Some(embedded.display_name.clone()),
            kind: RuntimeKind::Embedded,
            access: Access::in_process(),
            limits: CallLimits::default(),
            // It answers at once: nothing is ever in flight to it.
            max_in_flight: usize::MAX,
            give_up_after: self.give_up_after,
        });
        let remotes = self.remotes.iter().map(|remote| RuntimeSpec {
            runtime_id: remote.runtime_id.clone(),
            display_name: remote.display_name.clone(),
            kind: RuntimeKind::Remote,
            access: Access::remote(remote.base_url.clone(), remote.token.clone()),
            limits: remote.limits,
            max_in_flight: remote.max_in_flight,
            give_up_after: self.give_up_after,
        });
        embedded.chain(remotes).collect()
    }
}

impl Embedded {
    /// What the runtime is started with.
    pub fn runtime_config(&self) -> RuntimeConfig {
        let mut config = RuntimeConfig::new(self.runtime_id.clone());
        config.display_name = Some(self.display_name.clone());
        config.profiles = self.profiles.clone();
        config.hidden_variables = self.hidden_variables.clone();
        config
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EmbeddedTable {
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
pub(crate) struct RemoteTable {
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
    let runtime_id = parse("embedded.runtime_id", &table.runtime_id)?;
    let display_name = table.display_name;
    Ok(table.enabled.then_some(Embedded { runtime_id, display_name, profiles, hidden_variables }))
}

fn remote(
    key: &str,
    table: RemoteTable,
    max_response_body: usize,
    system_trust: &mut Option<Arc<ClientConfig>>,
) -> Result<Remote, ConfigError> {
    let under = |name: &str| format!("{key}.{name}");
    let base_url: BaseUrl = parse(under("base_url"), &table.base_url)?;
    let token = token((&under("token_file"), &table.token_file), (&under("token_env"), &table.token_env))?;
    if token.is_some() && base_url.exposes_token() && !table.allow_plaintext {
        let reason = "would send the token in the clear: use https, or set allow_plaintext = true";
        return Err(at(under("base_url"), reason));
    }
    let tls = match (&table.ca_file, base_url.is_https()) {
        (Some(_), false) => return Err(at(under("ca_file"), "the base_url is not https")),
        (Some(path), true) => {
            let pem = fs::read(path).map_err(|_| at(under("ca_file"), "the file cannot be read"))?;
            Some(tls::trusting_pem(&pem).map_err(|error| at(under("ca_file"), error))?)
        }
        (None, true) => {
            let trust = match system_trust.take() {
                Some(trust) => trust,
                None => tls::trusting_the_system().map_err(|error| {
                    at(under("ca_file"), format!("is needed, as this system's own roots give {error}"))
                })?,
            };
            *system_trust = Some(trust.clone());
            Some(trust)
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
        runtime_id: parse(under("runtime_id"), &table.runtime_id)?,
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
