//! What a runtime is started with.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sekisho_core::id::RuntimeId;
use sekisho_core::secret::Token;

use crate::limits::{Limits, STOP_GRACE};
use crate::profile::{ProfileError, WorkerProfile};

/// What a [`Runtime`](crate::Runtime) is started with.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The name that the runtime goes by.
    pub runtime_id: RuntimeId,
    /// A name for people.
    pub display_name: Option<String>,
    /// What every request must present. Without one, any program that can reach the runtime may do all it can do.
    pub token: Option<Token>,
    /// What workers can run; the first is the default. Where there are none, `builtin:echo` is.
    pub profiles: Vec<WorkerProfile>,
    /// How long a stopped worker may take to end before it is killed; [`STOP_GRACE`] unless set.
    pub stop_grace: Duration,
    /// Environment variables that no worker inherits, such as those that hold the embedding program's secrets: a
    /// client that may talk to a shell worker can read its environment.
    pub hidden_variables: Vec<String>,
    /// The program that the helper processes of workers run: one that calls
    /// [`launcher::run_if_asked`](crate::launcher::run_if_asked). Where there is none it is this program, which has to
    /// have called it.
    pub launcher: Option<PathBuf>,
    /// How much the runtime takes on and keeps.
    pub limits: Limits,
    /// What a simulation puts in place of chance and time.
    pub simulation: Option<Simulation>,
}

/// What a simulation puts in place of chance and time, so that it repeats itself. The runtime's workers are then named
/// `worker-00000001` and on, at every start anew.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// Tells this start from all others: cursors of another incarnation mean nothing to it.
    pub incarnation: u128,
    /// The time of day.
    pub now: fn() -> SystemTime,
}

impl RuntimeConfig {
    /// A runtime by this name with nothing configured.
    pub fn new(runtime_id: RuntimeId) -> Self {
        Self {
            runtime_id,
            display_name: None,
            token: None,
            profiles: Vec::new(),
            stop_grace: STOP_GRACE,
            hidden_variables: Vec::new(),
            launcher: None,
            limits: Limits::default(),
            simulation: None,
        }
    }
}

/// Why a runtime does not start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A profile cannot be used.
    #[error("the profile {name:?}: {error}")]
    Profile {
        /// The profile.
        name: String,
        /// What is wrong with it.
        error: ProfileError,
    },
    /// Two profiles have one name.
    #[error("there are two profiles by the name {name:?}")]
    DuplicateProfile {
        /// That name.
        name: String,
    },
    /// The store that was named cannot be had.
    #[cfg(feature = "durable")]
    #[error("{key}: {reason}")]
    Open {
        /// The key or flag that names it.
        key: String,
        /// Why.
        reason: crate::store::OpenError,
    },
    /// What an earlier run kept cannot be read.
    #[error("{0}")]
    Store(#[from] crate::store::StoreError),
}

/// The profiles, checked.
pub(crate) fn check_profiles(profiles: &[WorkerProfile]) -> Result<(), StartError> {
    for (index, profile) in profiles.iter().enumerate() {
        let name = profile.name.clone();
        if profiles[..index].iter().any(|earlier| earlier.name == name) {
            return Err(StartError::DuplicateProfile { name });
        }
        profile.check().map_err(|error| StartError::Profile { name, error })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
