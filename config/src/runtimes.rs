//! Which runtimes there are, and how to get to them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use sekisho_core::call::CallLimits;
use sekisho_core::cursor::CursorKey;
use sekisho_core::id::RuntimeId;
use sekisho_core::registry::{RuntimeKind, RuntimeSpec};
use sekisho_core::secret::{Access, BaseUrl, Token};

use crate::error::ConfigError;
use crate::gateway_file::{EmbeddedTable, GatewayFile, LocalTable, RemoteTable};
use crate::key_file::{self, KeyFile};
use crate::state_directory::StatePlace;
use crate::store::{StoreKeys, StoreSettings};
use crate::tls;
use crate::token_file::TokenFile;
use crate::toml_text::{count, positive, read_file, timeout, token, value};
use crate::workers::Workers;

/// How many commands may be under way to one runtime, where nothing else is configured.
pub const MAX_IN_FLIGHT: u64 = 64;

/// The runtimes of a configuration, and what streams to them need.
#[derive(Debug)]
pub struct Runtimes {
    /// The runtime in this process, unless it is turned off.
    pub embedded: Option<Embedded>,
    /// The runtimes elsewhere, in the order of the file.
    pub remotes: Vec<Remote>,
    /// The stores on this machine that are read, in the order of the file.
    pub locals: Vec<Local>,
    /// What cursors are sealed with.
    pub cursor_key: CursorKey,
    /// The largest event that viewers are shown, in bytes.
    pub max_event_bytes: usize,
    /// How long a stream that was lost is tried again.
    pub give_up_after: Duration,
    /// What an operator should be told at the start although it works: each is one line that names its key.
    pub warnings: Vec<String>,
}

/// The largest `max_event_bytes`: half of what is kept of a worker's stream for its viewers.
const MAX_EVENT_BYTES: u64 = 4 << 20;

/// The runtime in this process.
#[derive(Clone, PartialEq, Debug)]
pub struct Embedded {
    /// The id that it goes by.
    pub runtime_id: RuntimeId,
    /// Its name for people.
    pub display_name: String,
    /// What its workers are.
    pub workers: Workers,
    /// Where it keeps what it has to remember.
    pub store: StoreSettings,
}

/// A store on this machine that is only read.
#[derive(Clone)]
pub struct Local {
    /// The id of the runtime whose store it is.
    pub runtime_id: RuntimeId,
    /// Its name for people, where it is not the runtime's own.
    pub display_name: Option<String>,
    /// The store's folder.
    pub store: PathBuf,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("runtime_id", &self.runtime_id).finish_non_exhaustive()
    }
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
    /// Reads and checks a configuration for a program that goes to the runtimes by itself: the text of the file, empty
    /// for all defaults. Files and variables that it names for the runtimes are read, too. Where it names no
    /// `cursor_key_file`, cursors last as long as the process.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::checked(GatewayFile::parse(text)?, StatePlace::Process)
    }

    /// The same of a file. Where it names no `cursor_key_file`, the key is kept in the state directory.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_file(path)?;
        GatewayFile::parse(&text)
            .and_then(|file| Self::checked(file, StatePlace::StateDirectory))
            .map_err(|error| error.in_file(path))
    }

    pub(crate) fn checked(file: GatewayFile, state_place: StatePlace) -> Result<Self, ConfigError> {
        if file.max_event_bytes.get() > MAX_EVENT_BYTES {
            return Err(ConfigError::at("max_event_bytes", format!("is over {MAX_EVENT_BYTES}")));
        }
        let give_up_after = timeout("give_up_after_ms", file.give_up_after_ms)?;
        let mut warnings = Vec::new();
        let remote_variables = file.remote.iter().flat_map(|remote| &remote.token_env);
        let variables = file.access_token_env.iter().chain(remote_variables).cloned().collect();
        let embedded = embedded(file.embedded, variables, state_place)?;
        let mut taken: Vec<RuntimeId> = embedded.iter().map(|embedded| embedded.runtime_id.clone()).collect();
        let mut remotes = Vec::with_capacity(file.remote.len());
        let mut trust = Trust { max_response_body: count(file.max_response_bytes), system: None };
        for (index, table) in file.remote.into_iter().enumerate() {
            let key = format!("remote[{}]", index + 1);
            let remote = remote(&key, table, &mut trust, &mut warnings)?;
            if taken.contains(&remote.runtime_id) {
                let reason = format!("{} is a duplicate", remote.runtime_id);
                return Err(ConfigError::at(format!("{key}.runtime_id"), reason));
            }
            taken.push(remote.runtime_id.clone());
            remotes.push(remote);
        }
        let mut locals = Vec::with_capacity(file.local.len());
        for (index, table) in file.local.into_iter().enumerate() {
            let key = format!("local[{}]", index + 1);
            let local = local(&key, table)?;
            if taken.contains(&local.runtime_id) {
                let reason = format!("{} is a duplicate", local.runtime_id);
                return Err(ConfigError::at(format!("{key}.runtime_id"), reason));
            }
            taken.push(local.runtime_id.clone());
            locals.push(local);
        }
        let KeyFile { key: cursor_key, warning } = match (&file.cursor_key_file, state_place) {
            (Some(path), StatePlace::Unused) => key_file::read_if_there(path)?,
            (Some(path), _) => key_file::read_or_make(path)?,
            (None, StatePlace::StateDirectory) => key_file::default_key()?,
            (None, StatePlace::Process | StatePlace::Unused) => {
                KeyFile { key: key_file::fresh()?, warning: None }
            }
        };
        warnings.extend(warning);
        let max_event_bytes = count(file.max_event_bytes);
        Ok(Self { embedded, remotes, locals, cursor_key, max_event_bytes, give_up_after, warnings })
    }

    /// What a [`Registry`](sekisho_core::registry::Registry) is made of: the embedded runtime first.
    pub fn specs(&self) -> Vec<RuntimeSpec> {
        let embedded = self.embedded.iter().map(|embedded| RuntimeSpec {
            runtime_id: embedded.runtime_id.clone(),
            display_name: Some(embedded.display_name.clone()),
            kind: RuntimeKind::Embedded,
            access: Access::in_process(),
            limits: CallLimits::default(),
            // What is in flight to it is bounded by the workers that it starts at once.
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
        let locals = self.locals.iter().map(|local| RuntimeSpec {
            runtime_id: local.runtime_id.clone(),
            display_name: local.display_name.clone(),
            kind: RuntimeKind::Local,
            access: Access::in_process_at(place(&local.store)),
            limits: CallLimits::default(),
            max_in_flight: count(positive(MAX_IN_FLIGHT)),
            give_up_after: self.give_up_after,
        });
        embedded.chain(remotes).chain(locals).collect()
    }
}

/// A number for a folder, by which a configuration that was changed is told from the one before.
fn place(folder: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    hasher.finish()
}

fn embedded(
    table: EmbeddedTable,
    token_variables: Vec<String>,
    state_place: StatePlace,
) -> Result<Option<Embedded>, ConfigError> {
    let mut workers = Workers::from_tables("embedded.profiles", table.profiles, table.limits)?;
    workers.hidden_variables.extend(token_variables);
    let runtime_id = value("embedded.runtime_id", &table.runtime_id)?;
    let display_name = table.display_name;
    let store = StoreKeys {
        key: "embedded.store",
        store: table.store,
        durability: table.durability,
        max_bytes: table.store_max_bytes,
        max_age_hours: table.store_max_age_hours,
    };
    let store = store.checked(&runtime_id, state_place)?;
    Ok(table.enabled.then_some(Embedded { runtime_id, display_name, workers, store }))
}

fn local(key: &str, table: LocalTable) -> Result<Local, ConfigError> {
    let LocalTable { runtime_id, display_name, store } = table;
    if store.as_os_str().is_empty() {
        return Err(ConfigError::at(format!("{key}.store"), "is empty: the folder of a store"));
    }
    Ok(Local { runtime_id: value(format!("{key}.runtime_id"), &runtime_id)?, display_name, store })
}

/// What the tables of all remote runtimes share.
struct Trust {
    max_response_body: usize,
    /// The roots of this system, once they have been read.
    system: Option<Arc<ClientConfig>>,
}

fn remote(
    key: &str,
    table: RemoteTable,
    trust: &mut Trust,
    warnings: &mut Vec<String>,
) -> Result<Remote, ConfigError> {
    let under = |name: &str| format!("{key}.{name}");
    let base_url: BaseUrl = value(under("base_url"), &table.base_url)?;
    let named = token((&under("token_file"), &table.token_file), (&under("token_env"), &table.token_env))?;
    if named.is_some() && base_url.exposes_token() && !table.allow_plaintext {
        let reason = "would send the token in the clear: use https, or set allow_plaintext = true";
        return Err(ConfigError::at(under("base_url"), reason));
    }
    let tls = client_tls(&under("ca_file"), table.ca_file.as_deref(), &base_url, trust)?;
    let time = |name: &str, value: Option<NonZeroU64>, default| match value {
        Some(value) => timeout(&under(name), value),
        None => Ok(default),
    };
    let default = CallLimits::default();
    let (token, token_file) = match named {
        Some(named) => {
            warnings.extend(named.warning);
            (Some(named.token), named.file.map(Arc::new))
        }
        None => (None, None),
    };
    Ok(Remote {
        runtime_id: value(under("runtime_id"), &table.runtime_id)?,
        display_name: table.display_name,
        base_url,
        token,
        token_file,
        tls,
        limits: CallLimits {
            connect: time("connect_timeout_ms", table.connect_timeout_ms, default.connect)?,
            response: time("response_timeout_ms", table.response_timeout_ms, default.response)?,
            max_response_body: trust.max_response_body,
        },
        max_in_flight: count(table.max_in_flight.unwrap_or(positive(MAX_IN_FLIGHT))),
    })
}

/// The certificates to trust for a base URL that is https.
fn client_tls(
    key: &str,
    ca_file: Option<&Path>,
    base_url: &BaseUrl,
    trust: &mut Trust,
) -> Result<Option<Arc<ClientConfig>>, ConfigError> {
    let fault = |reason: &dyn ToString| ConfigError::at(key, reason.to_string());
    match (ca_file, base_url.is_https()) {
        (Some(_), false) => Err(fault(&"the base_url is not https")),
        (Some(path), true) => tls::trusting_file(path).map(Some).map_err(|error| fault(&error)),
        (None, true) if trust.system.is_some() => Ok(trust.system.clone()),
        (None, true) => {
            let system = tls::trusting_the_system()
                .map_err(|error| fault(&format!("is needed, as this system's own roots give {error}")))?;
            trust.system = Some(system.clone());
            Ok(Some(system))
        }
        (None, false) => Ok(None),
    }
}
