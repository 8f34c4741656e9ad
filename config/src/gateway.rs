//! What a server is configured with.

use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use sekisho_core::browser_api::{AllowedHost, AllowedOrigin};
use sekisho_core::cursor::CursorKey;
use sekisho_core::secret::Token;

use crate::error::ConfigError;
use crate::gateway_file::GatewayFile;
use crate::listen::{Listen, TlsFiles};
use crate::runtimes::{Embedded, Runtimes};
use crate::state_directory::StatePlace;
use crate::toml_text::{count, read_file, timeout, token, value, values};
use crate::workers::{self, Profile};

/// Everything that a server needs to know, checked.
#[derive(Debug)]
pub struct Config {
    /// Where to listen: loopback, unless there is an access token or none is wanted expressly.
    pub listen: Listen,
    /// Where metrics and probes are answered without a token, in place of the metrics at `listen`.
    pub admin_listen: Option<Listen>,
    /// How much is logged, as `sekisho-telemetry` reads it.
    pub log: Option<String>,
    /// The server's certificate and key, where it is to speak https.
    pub tls: Option<TlsFiles>,
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
    /// How long the server goes on as before once it is to shut down, but that it says not to be ready: whatever
    /// spreads clients over several gateways needs a while to learn it.
    pub drain_delay: Duration,
    /// How long what is in flight then may take to finish.
    pub drain_time: Duration,
    /// The runtimes that the gateway leads to.
    pub runtimes: Runtimes,
}

impl Config {
    /// Reads and checks a configuration: the text of the file, empty for all defaults. Files and variables that
    /// it names are read, too. Where it names no `cursor_key_file`, cursors last as long as the process.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::checked(GatewayFile::parse(text)?, StatePlace::Process)
    }

    /// Reads and checks the configuration of a program: a file, or all defaults. Where it names no `cursor_key_file`,
    /// the key is kept in the state directory of the user or of the systemd unit.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::read_with(path, StatePlace::StateDirectory)
    }

    /// The same to see whether it is good: no file is made. A cursor key that is not there yet is no error.
    pub fn look_at(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::read_with(path, StatePlace::Unused)
    }

    fn read_with(path: Option<&Path>, state_place: StatePlace) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::checked(GatewayFile::default(), state_place) };
        let text = read_file(path)?;
        GatewayFile::parse(&text)
            .and_then(|file| Self::checked(file, state_place))
            .map_err(|error| error.in_file(path))
    }

    fn checked(file: GatewayFile, state_place: StatePlace) -> Result<Self, ConfigError> {
        let access_token = token(
            ("access_token_file", &file.access_token_file),
            ("access_token_env", &file.access_token_env),
        )?;
        let listen: Listen = value("listen", &file.listen)?;
        let (cert, key) = (file.tls_cert_file.clone(), file.tls_key_file.clone());
        let mut config = Self {
            tls: TlsFiles::checked(("tls_cert_file", cert), ("tls_key_file", key), &listen)?,
            listen: Listen::Tcp(Vec::new()),
            admin_listen: file.admin_listen.as_deref().map(|at| value("admin_listen", at)).transpose()?,
            log: file.log.clone(),
            insecure_no_access_token: file.insecure_no_access_token,
            allowed_hosts: values("allowed_hosts", &file.allowed_hosts)?,
            allowed_origins: values("allowed_origins", &file.allowed_origins)?,
            access_token: None,
            max_request_bytes: count(file.max_request_bytes),
            max_viewers: count(file.max_viewers),
            drain_delay: match NonZeroU64::new(file.drain_delay_ms) {
                Some(delay) => timeout("drain_delay_ms", delay)?,
                None => Duration::ZERO,
            },
            drain_time: timeout("drain_time_ms", file.drain_time_ms)?,
            runtimes: Runtimes::checked(file, state_place)?,
        };
        if let Some(named) = access_token {
            config.access_token = Some(named.token);
            config.runtimes.warnings.extend(named.warning);
        }
        config.set_listen("listen", listen)?;
        Ok(config)
    }

    /// Listens there instead. The same rules hold as for the key `listen`.
    pub fn listen_on(mut self, address: &str) -> Result<Self, ConfigError> {
        let listen: Listen = value("--listen", address)?;
        if self.tls.is_some() && matches!(listen, Listen::Unix(_)) {
            return Err(ConfigError::at("--listen", "a unix socket is not served over TLS"));
        }
        self.set_listen("--listen", listen)?;
        Ok(self)
    }

    fn set_listen(&mut self, key: &str, listen: Listen) -> Result<(), ConfigError> {
        if !listen.is_local() && self.access_token.is_none() && !self.insecure_no_access_token {
            let reason = "not a loopback address: set access_token_file or access_token_env, or \
                          insecure_no_access_token = true to let everyone in who can reach it";
            return Err(ConfigError::at(key, reason));
        }
        self.listen = listen;
        Ok(())
    }

    /// The same with the embedded runtime that a server was started with.
    pub fn with_embedded_of(mut self, fixed: &Fixed) -> Self {
        self.runtimes.embedded = fixed.embedded.clone();
        self
    }

    /// What a server that runs keeps as it was started with.
    pub fn fixed(&self) -> Fixed {
        Fixed {
            listen: self.listen.clone(),
            admin_listen: self.admin_listen.clone(),
            over_tls: self.tls.is_some(),
            max_viewers: self.max_viewers,
            max_event_bytes: self.runtimes.max_event_bytes,
            cursor_key: self.runtimes.cursor_key.clone(),
            embedded: self.runtimes.embedded.clone(),
        }
    }

    /// Makes a command line the default profile of the embedded runtime.
    pub fn exec(mut self, command_line: &str) -> Result<Self, ConfigError> {
        let command = workers::split(command_line).map_err(|reason| ConfigError::at(EXEC_FLAG, reason))?;
        let embedded = self
            .runtimes
            .embedded
            .as_mut()
            .ok_or_else(|| ConfigError::at(EXEC_FLAG, "the embedded runtime is turned off"))?;
        embedded.workers.insert_default(Profile::lines(EXEC_PROFILE, command));
        Ok(self)
    }
}

/// What a server that runs keeps as it was started with, whatever its configuration is changed to.
#[derive(Clone, Debug)]
pub struct Fixed {
    listen: Listen,
    admin_listen: Option<Listen>,
    over_tls: bool,
    max_viewers: usize,
    max_event_bytes: usize,
    cursor_key: CursorKey,
    embedded: Option<Embedded>,
}

impl Fixed {
    /// The keys whose values are others in a changed configuration, and which only a restart takes over.
    pub fn changed_keys(&self, changed: &Self) -> Vec<&'static str> {
        let is_changed = [
            ("listen", self.listen != changed.listen),
            ("admin_listen", self.admin_listen != changed.admin_listen),
            ("tls_cert_file", self.over_tls != changed.over_tls),
            ("max_viewers", self.max_viewers != changed.max_viewers),
            ("max_event_bytes", self.max_event_bytes != changed.max_event_bytes),
            ("cursor_key_file", !self.cursor_key.is_same(&changed.cursor_key)),
            ("embedded", self.embedded != changed.embedded),
        ];
        is_changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
    }
}

/// The flag that makes a command line the default profile.
const EXEC_FLAG: &str = "--exec";

/// The name of the profile that it makes.
const EXEC_PROFILE: &str = "exec";

#[cfg(test)]
mod tests;
