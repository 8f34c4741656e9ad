//! The configuration file of a gateway, as it is written.

use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::ConfigError;
use crate::store::Durability;
use crate::toml_text::{self, positive};
use crate::worker_limits::WorkerLimits;
use crate::workers::ProfileTables;

/// Where a server listens, and a client expects one, unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8787";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GatewayFile {
    pub(crate) listen: String,
    pub(crate) admin_listen: Option<String>,
    pub(crate) log: Option<String>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) access_token_file: Option<PathBuf>,
    pub(crate) access_token_env: Option<String>,
    pub(crate) insecure_no_access_token: bool,
    pub(crate) tls_cert_file: Option<PathBuf>,
    pub(crate) tls_key_file: Option<PathBuf>,
    pub(crate) max_request_bytes: NonZeroU64,
    pub(crate) max_response_bytes: NonZeroU64,
    pub(crate) max_event_bytes: NonZeroU64,
    pub(crate) max_viewers: NonZeroU64,
    pub(crate) give_up_after_ms: NonZeroU64,
    pub(crate) drain_delay_ms: u64,
    pub(crate) drain_time_ms: NonZeroU64,
    pub(crate) cursor_key_file: Option<PathBuf>,
    pub(crate) embedded: EmbeddedTable,
    pub(crate) remote: Vec<RemoteTable>,
    pub(crate) local: Vec<LocalTable>,
}

impl Default for GatewayFile {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN.into(),
            admin_listen: None,
            log: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            access_token_file: None,
            access_token_env: None,
            insecure_no_access_token: false,
            tls_cert_file: None,
            tls_key_file: None,
            max_request_bytes: positive(1 << 20),
            max_response_bytes: positive(8 << 20),
            max_event_bytes: positive(1 << 20),
            max_viewers: positive(4096),
            give_up_after_ms: positive(60_000),
            drain_delay_ms: 0,
            drain_time_ms: positive(10_000),
            cursor_key_file: None,
            embedded: EmbeddedTable::default(),
            remote: Vec::new(),
            local: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EmbeddedTable {
    pub(crate) enabled: bool,
    pub(crate) runtime_id: String,
    pub(crate) display_name: String,
    pub(crate) store: Option<String>,
    pub(crate) durability: Option<Durability>,
    pub(crate) store_max_bytes: Option<NonZeroU64>,
    pub(crate) store_max_age_hours: Option<NonZeroU64>,
    pub(crate) profiles: ProfileTables,
    pub(crate) limits: WorkerLimits,
}

impl Default for EmbeddedTable {
    fn default() -> Self {
        Self {
            enabled: true,
            runtime_id: "embedded".into(),
            display_name: "Embedded runtime".into(),
            store: None,
            durability: None,
            store_max_bytes: None,
            store_max_age_hours: None,
            profiles: ProfileTables::default(),
            limits: WorkerLimits::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteTable {
    pub(crate) runtime_id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) base_url: String,
    pub(crate) token_env: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) connect_timeout_ms: Option<NonZeroU64>,
    pub(crate) response_timeout_ms: Option<NonZeroU64>,
    pub(crate) max_in_flight: Option<NonZeroU64>,
    #[serde(default)]
    pub(crate) allow_plaintext: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocalTable {
    pub(crate) runtime_id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) store: PathBuf,
}

impl GatewayFile {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        toml_text::parse(text)
    }
}
