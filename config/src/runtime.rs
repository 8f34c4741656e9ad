//! What a runtime of its own is configured with: flags and a file, as one.

use std::num::NonZeroU64;
use std::path::PathBuf;

use sekisho_core::browser_api::AllowedHost;
use sekisho_core::id::RuntimeId;
use sekisho_core::secret::Token;
use serde::Deserialize;

use crate::error::ConfigError;
use crate::listen::{Listen, TlsFiles};
use crate::state_directory::StatePlace;
use crate::store::{Durability, StoreKeys, StoreSettings};
use crate::toml_text::{parse, read_file, token, value, values};
use crate::worker_limits::WorkerLimits;
use crate::workers::{self, Profile, ProfileTables, Workers};

/// Where a runtime listens unless told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:7700";

/// Everything that serving a runtime needs to know, checked.
#[derive(Debug)]
pub struct RuntimeSettings {
    /// The id that it goes by.
    pub runtime_id: RuntimeId,
    /// A name for people.
    pub display_name: Option<String>,
    /// Where to listen: on this machine alone, unless there is a token or none is wanted expressly.
    pub listen: Listen,
    /// The server's certificate and key, where it is to speak https.
    pub tls: Option<TlsFiles>,
    /// What every request must present.
    pub token: Option<Token>,
    /// What its workers are.
    pub workers: Workers,
    /// The names under which it may be spoken to without a token, besides those of loopback and its address.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Where it keeps what it has to remember.
    pub store: StoreSettings,
    /// What an operator should be told at the start although it works: each is one line that names its key.
    pub warnings: Vec<String>,
}

/// What the command line says. A flag wins over the same key of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuntimeFlags {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--runtime-id`
    pub runtime_id: Option<String>,
    /// `--display-name`
    pub display_name: Option<String>,
    /// `--token-file`
    pub token_file: Option<PathBuf>,
    /// `--profile NAME=COMMAND`, each; the first is the default.
    pub profiles: Vec<String>,
    /// `--tls-cert`
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`
    pub tls_key: Option<PathBuf>,
    /// `--store`: a folder, or `memory`.
    pub store: Option<String>,
    /// `--insecure-no-token`
    pub insecure_no_token: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RuntimeFile {
    listen: Option<String>,
    runtime_id: Option<String>,
    display_name: Option<String>,
    token_file: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    store: Option<String>,
    durability: Option<Durability>,
    store_max_bytes: Option<NonZeroU64>,
    store_max_age_hours: Option<NonZeroU64>,
    #[serde(default)]
    profiles: ProfileTables,
    #[serde(default)]
    limits: WorkerLimits,
    #[serde(default)]
    allowed_hosts: Vec<String>,
}

/// A flag or else a key, and which of the two it is.
fn either<T>(
    flag: &'static str,
    given: Option<T>,
    key: &'static str,
    filed: Option<T>,
) -> (&'static str, Option<T>) {
    if given.is_some() { (flag, given) } else { (key, filed) }
}

impl RuntimeSettings {
    /// Reads and checks what the flags say, and the configuration file that they name.
    pub fn read(flags: RuntimeFlags) -> Result<Self, ConfigError> {
        let Some(path) = flags.config.clone() else { return Self::checked(flags, RuntimeFile::default()) };
        let text = read_file(&path)?;
        parse(&text).and_then(|file| Self::checked(flags, file)).map_err(|error| {
            // A flag stands in no file.
            let of_a_flag = error.key.as_deref().is_some_and(|key| key.starts_with("--"));
            if of_a_flag { error } else { error.in_file(&path) }
        })
    }

    fn checked(flags: RuntimeFlags, file: RuntimeFile) -> Result<Self, ConfigError> {
        let (key, runtime_id) = either("--runtime-id", flags.runtime_id, "runtime_id", file.runtime_id);
        let runtime_id = runtime_id.ok_or_else(|| {
            ConfigError::at(key, "is missing: give it with --runtime-id or in the configuration file")
        })?;
        let runtime_id: RuntimeId = value(key, &runtime_id)?;
        let (key, store) = either("--store", flags.store, "store", file.store);
        let store = StoreKeys {
            key,
            store,
            durability: file.durability,
            max_bytes: file.store_max_bytes,
            max_age_hours: file.store_max_age_hours,
        };
        let store = store.checked(&runtime_id, StatePlace::StateDirectory)?;
        let (key, token_file) = either("--token-file", flags.token_file, "token_file", file.token_file);
        let named = token((key, &token_file), ("", &None))?;
        let (token, warning) = named.map(|named| (named.token, named.warning)).unzip();

        let (key, given) = either("--listen", flags.listen, "listen", file.listen);
        let given = given.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        let listen: Listen = value(key, &given)?;
        if !listen.is_local() && token.is_none() && !flags.insecure_no_token {
            let reason = "can be reached from other machines, and there is no token: set token_file, or \
                          --insecure-no-token to let everyone run the profiles who can reach it";
            return Err(ConfigError::at(key, reason));
        }
        let (cert_key, cert) = either("--tls-cert", flags.tls_cert, "tls_cert", file.tls_cert);
        let (key_key, key) = either("--tls-key", flags.tls_key, "tls_key", file.tls_key);
        let tls = TlsFiles::checked((cert_key, cert), (key_key, key), &listen)?;
        Ok(Self {
            runtime_id,
            display_name: flags.display_name.or(file.display_name),
            listen,
            tls,
            token,
            workers: workers(&flags.profiles, file.profiles, file.limits)?,
            store,
            allowed_hosts: values("allowed_hosts", &file.allowed_hosts)?,
            warnings: warning.flatten().into_iter().collect(),
        })
    }
}

/// The profiles of the flags, and then those of the file in its order. A flag replaces a profile of the file by the
/// same name.
fn workers(flags: &[String], file: ProfileTables, limits: WorkerLimits) -> Result<Workers, ConfigError> {
    const FLAG: &str = "--profile";
    let mut workers = Workers::from_tables("profiles", file, limits)?;
    let mut seen: Vec<&str> = Vec::new();
    for given in flags.iter().rev() {
        let Some((name, command)) = given.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(ConfigError::at(FLAG, format!("{given:?} is not of the form NAME=COMMAND")));
        };
        if seen.contains(&name) {
            return Err(ConfigError::at(FLAG, format!("{name} is a duplicate")));
        }
        seen.push(name);
        let command =
            workers::split(command).map_err(|reason| ConfigError::at(FLAG, format!("{name}: {reason}")))?;
        workers.insert_default(Profile::lines(name, command));
    }
    Ok(workers)
}

#[cfg(test)]
mod tests;
