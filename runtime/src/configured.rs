//! What the configuration of a program says of workers, as this crate's types.

use sekisho_config::{Profile, RuntimeSettings, Workers};
use sekisho_core::id::RuntimeId;

use crate::{RuntimeConfig, WorkerProfile};

impl RuntimeConfig {
    /// A runtime by this name whose workers are as the configuration says.
    pub fn with_workers(runtime_id: RuntimeId, workers: &Workers) -> Self {
        let Workers { profiles, hidden_variables, .. } = workers;
        let mut config = Self::new(runtime_id);
        config.profiles = profiles.iter().map(WorkerProfile::from).collect();
        config.hidden_variables.clone_from(hidden_variables);
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

impl From<&Profile> for WorkerProfile {
    fn from(Profile { name, command, .. }: &Profile) -> Self {
        Self::lines(name.clone(), command.iter().cloned())
    }
}
