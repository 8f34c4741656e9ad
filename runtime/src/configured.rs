//! What the configuration of a program says of workers, as this crate's types.

use sekisho_acp::Permissions;
use sekisho_config::{AgentPermissions, AgentProfile, Profile, RuntimeSettings, WorkerLimits, Workers};
#[cfg(feature = "durable")]
use sekisho_config::{Durability, StorePlace, StoreSettings};
use sekisho_core::id::RuntimeId;

use crate::limits::Limits;
#[cfg(feature = "durable")]
use crate::store::{DurableOptions, DurableStore, StoreDurability};
use crate::{AgentSettings, ProfileKind, Program, RuntimeConfig, TerminalProfile, WorkerProfile};
#[cfg(feature = "durable")]
use crate::{Runtime, StartError};

impl RuntimeConfig {
    /// A runtime by this name whose workers are as the configuration says.
    pub fn with_workers(runtime_id: RuntimeId, workers: &Workers) -> Self {
        let Workers { profiles, hidden_variables, limits } = workers;
        let mut config = Self::new(runtime_id);
        config.profiles = profiles.iter().map(WorkerProfile::from).collect();
        config.hidden_variables.clone_from(hidden_variables);
        config.stop_grace = limits.stop_grace.unwrap_or(config.stop_grace);
        config.limits = Limits::from(limits);
        config
    }
}

impl From<&RuntimeSettings> for RuntimeConfig {
    fn from(settings: &RuntimeSettings) -> Self {
        let mut config = Self::with_workers(settings.runtime_id.clone(), &settings.workers);
        config.display_name.clone_from(&settings.display_name);
        config.token.clone_from(&settings.token);
        config
    }
}

impl From<&WorkerLimits> for Limits {
    fn from(given: &WorkerLimits) -> Self {
        let default = Self::default();
        let or = |given: Option<std::num::NonZeroUsize>, default: usize| given.map_or(default, Into::into);
        Self {
            max_workers: or(given.max_workers, default.max_workers),
            max_ended_workers: or(given.max_ended_workers, default.max_ended_workers),
            keep_ended: given.keep_ended.unwrap_or(default.keep_ended),
            max_transcript_items: or(given.max_transcript_items, default.max_transcript_items),
            max_transcript_bytes: or(given.max_transcript_bytes, default.max_transcript_bytes),
            max_total_transcript_bytes: or(
                given.max_total_transcript_bytes,
                default.max_total_transcript_bytes,
            ),
            max_backlog_events: or(given.max_backlog_events, default.max_backlog_events),
            max_backlog_bytes: or(given.max_backlog_bytes, default.max_backlog_bytes),
            max_total_backlog_bytes: or(given.max_total_backlog_bytes, default.max_total_backlog_bytes),
            max_subscriptions: or(given.max_subscriptions, default.max_subscriptions),
        }
    }
}

impl From<&AgentProfile> for AgentSettings {
    fn from(profile: &AgentProfile) -> Self {
        let AgentProfile { permissions, start_timeout, mcp_servers, mode, model, auth_method } =
            profile.clone();
        let permissions = match permissions {
            AgentPermissions::Ask => Permissions::Ask,
            AgentPermissions::Allow => Permissions::Allow,
            AgentPermissions::Reject => Permissions::Reject,
        };
        Self { permissions, start_timeout, mcp_servers, mode, model, auth_method }
    }
}

impl From<&Profile> for WorkerProfile {
    fn from(profile: &Profile) -> Self {
        let program = Program {
            command: profile.command.clone(),
            cwd: profile.cwd.clone(),
            env: profile.env.clone(),
            clear_env: profile.clear_env,
            hide_env: profile.hide_env.clone(),
            allow_cwd: profile.allow_cwd.clone(),
            allow_env: profile.allow_env.clone(),
            user: profile.user.clone(),
        };
        let usual = TerminalProfile::default();
        let (cols, rows) = profile.size.unwrap_or((usual.cols, usual.rows));
        let terminal = TerminalProfile { cols, rows, echo: profile.echo };
        let kind = match profile.kind {
            sekisho_config::ProfileKind::Echo => ProfileKind::Echo,
            sekisho_config::ProfileKind::Lines => ProfileKind::Lines(program),
            sekisho_config::ProfileKind::Terminal => ProfileKind::Terminal(program, terminal),
            sekisho_config::ProfileKind::Agent => {
                let settings = profile.agent.as_ref().map(AgentSettings::from);
                ProfileKind::Agent(program, settings.unwrap_or_default())
            }
        };
        Self { name: profile.name.clone(), kind, description: profile.description.clone() }
    }
}

#[cfg(feature = "durable")]
impl Runtime {
    /// A runtime with its store where the configuration says, and what is to be warned of.
    ///
    /// A store that was named and cannot be had is an error. One that would be in its default place and cannot be had,
    /// as that of a second runtime of the same user, is a warning: the runtime then remembers for as long as it runs.
    pub fn start_with(
        config: RuntimeConfig,
        settings: &StoreSettings,
    ) -> Result<(Self, Option<String>), StartError> {
        let (folder, is_named) = match &settings.place {
            StorePlace::Memory => return Ok((Self::start(config)?, None)),
            StorePlace::Named(folder) => (folder, true),
            StorePlace::Default(folder) => (folder, false),
        };
        let options = DurableOptions {
            durability: match settings.durability {
                Durability::Commit => StoreDurability::Commit,
                Durability::OutputAsync => StoreDurability::OutputAsync,
            },
            max_bytes: settings.max_bytes,
            max_age: settings.max_age,
        };
        let (runtime_id, name) = (config.runtime_id.clone(), config.display_name.clone());
        match DurableStore::open(folder, &runtime_id, name, &config.limits, &options) {
            Ok(store) => Ok((Self::with_store(config, Box::new(store))?, None)),
            Err(reason) if is_named => Err(StartError::Open { key: settings.key.clone(), reason }),
            Err(reason) => {
                let warning = format!(
                    "{}: {reason}; this runtime remembers for as long as it runs, in memory",
                    settings.key
                );
                Ok((Self::start(config)?, Some(warning)))
            }
        }
    }
}
