//! Where a runtime keeps what it has to remember.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use sekisho_core::id::RuntimeId;
use serde::Deserialize;

use crate::error::ConfigError;
use crate::state_directory::{StatePlace, state_directory};

/// What stands in place of a folder where nothing is to be kept.
const MEMORY: &str = "memory";

/// How a runtime's store is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreSettings {
    /// Where it is.
    pub place: StorePlace,
    /// The key or flag that says so.
    pub key: String,
    /// When what a worker wrote becomes durable.
    pub durability: Durability,
    /// How much of all workers together is kept, in bytes; the store's own default where it is `None`.
    pub max_bytes: Option<u64>,
    /// How old what a worker wrote may become; `None` for any age.
    pub max_age: Option<Duration>,
}

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorePlace {
    /// Nowhere: the runtime remembers for as long as it runs.
    Memory,
    /// In this folder, which was named: where it cannot be had, the runtime does not start.
    Named(PathBuf),
    /// In this folder of the state directory. Where it cannot be had, the runtime remembers for as long as it runs.
    Default(PathBuf),
}

/// When what a worker wrote becomes durable. What a client was told always is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Before the worker is read any further.
    Commit,
    /// A moment later, together with what was written by then.
    #[default]
    OutputAsync,
}

/// What a file says of a store, and where it says so.
pub(crate) struct StoreKeys<'a> {
    pub(crate) key: &'a str,
    pub(crate) store: Option<String>,
    pub(crate) durability: Option<Durability>,
    pub(crate) max_bytes: Option<NonZeroU64>,
    pub(crate) max_age_hours: Option<NonZeroU64>,
}

impl StoreKeys<'_> {
    pub(crate) fn checked(
        self,
        runtime_id: &RuntimeId,
        place: StatePlace,
    ) -> Result<StoreSettings, ConfigError> {
        let place = match (self.store.as_deref(), place) {
            (Some(""), _) => return Err(ConfigError::at(self.key, "is empty: a folder, or \"memory\"")),
            (Some(MEMORY), _) | (None, StatePlace::Process) => StorePlace::Memory,
            (Some(folder), _) => StorePlace::Named(folder.into()),
            // An id is a name of a file: it has no slash, and is no step in a path.
            (None, StatePlace::StateDirectory | StatePlace::Unused) => match state_directory() {
                Some(directory) => StorePlace::Default(directory.join(runtime_id.as_str())),
                None => StorePlace::Memory,
            },
        };
        let hours = |hours: NonZeroU64| Duration::from_secs(hours.get().saturating_mul(3600));
        Ok(StoreSettings {
            place,
            key: self.key.to_owned(),
            durability: self.durability.unwrap_or_default(),
            max_bytes: self.max_bytes.map(NonZeroU64::get),
            max_age: self.max_age_hours.map(hours),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(store: Option<&str>, place: StatePlace) -> Result<StorePlace, ConfigError> {
        let store = store.map(str::to_owned);
        let keys = StoreKeys { key: "store", store, durability: None, max_bytes: None, max_age_hours: None };
        keys.checked(&"r".parse().unwrap(), place).map(|settings| settings.place)
    }

    #[test]
    fn a_store_is_where_it_was_named() {
        for of in [StatePlace::Process, StatePlace::StateDirectory] {
            assert_eq!(place(Some("memory"), of), Ok(StorePlace::Memory));
            assert_eq!(place(Some("./memory"), of), Ok(StorePlace::Named("./memory".into())));
            assert_eq!(place(Some("/srv/x"), of), Ok(StorePlace::Named("/srv/x".into())));
            assert_eq!(place(Some(""), of).unwrap_err().key.as_deref(), Some("store"));
        }
        assert_eq!(place(None, StatePlace::Process), Ok(StorePlace::Memory));
    }
}
