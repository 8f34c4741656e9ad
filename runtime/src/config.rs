//! What a runtime is started with.

use std::path::PathBuf;
use std::time::Duration;

use sekisho_core::id::RuntimeId;
use sekisho_core::secret::Token;

/// The time between asking a process to end and ending it (RUNTIME-API.md).
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// What a [`Runtime`](crate::Runtime) is started with.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The name that the runtime goes by.
    pub runtime_id: RuntimeId,
    /// A name for people.
    pub display_name: Option<String>,
    /// What every request must present. Where there is none, whoever can call the runtime may do all it can do.
    pub token: Option<Token>,
    /// What workers can run; the first is the default. Where there are none, `builtin:echo` is.
    pub profiles: Vec<ProcessProfile>,
    /// How long a stopped worker may take to end before it is killed; [`STOP_GRACE`] unless set.
    pub stop_grace: Duration,
    /// Environment variables that workers do not inherit, such as those that hold the embedding program's
    /// secrets: whoever may talk to a shell worker may read its environment.
    pub hidden_variables: Vec<String>,
    /// The program that the helper processes of workers run: one that calls
    /// [`launcher::run_if_asked`](crate::launcher::run_if_asked). Where there is none it is this program, which has to
    /// have called it.
    pub launcher: Option<PathBuf>,
    /// What tells this start from all others: ids and cursors of another incarnation mean nothing to it. Drawn by
    /// chance unless set, which is for simulations: they have to repeat themselves, and draw a new one for each start.
    pub incarnation: Option<u128>,
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
            incarnation: None,
        }
    }
}

/// A program that the operator lets workers run, under the name that `{"kind":"named"}` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessProfile {
    /// The name, not empty.
    pub name: String,
    /// The program, found on `PATH` where it has no slash, and its arguments.
    pub command: Vec<String>,
}

/// Why a runtime does not start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A profile's name is empty.
    #[error("a profile has no name")]
    NamelessProfile,
    /// Two profiles have one name.
    #[error("there are two profiles by the name {name:?}")]
    RepeatedProfile {
        /// That name.
        name: String,
    },
    /// A profile's command lacks a program.
    #[error("the profile {name:?} has no command")]
    NoCommand {
        /// The profile.
        name: String,
    },
    /// A profile's command holds a NUL, which no argument of a process can.
    #[error("the command of the profile {name:?} has a NUL character")]
    NulInCommand {
        /// The profile.
        name: String,
    },
}

/// The profiles, checked.
pub(crate) fn check_profiles(profiles: &[ProcessProfile]) -> Result<(), StartError> {
    for (index, ProcessProfile { name, command }) in profiles.iter().enumerate() {
        let name = name.clone();
        if name.is_empty() {
            return Err(StartError::NamelessProfile);
        }
        if profiles[..index].iter().any(|earlier| earlier.name == name) {
            return Err(StartError::RepeatedProfile { name });
        }
        if command.first().is_none_or(String::is_empty) {
            return Err(StartError::NoCommand { name });
        }
        if command.iter().any(|argument| argument.contains('\0')) {
            return Err(StartError::NulInCommand { name });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_checked_at_the_start() {
        let profile = |name: &str, command: &[&str]| ProcessProfile {
            name: name.into(),
            command: command.iter().map(|part| (*part).to_owned()).collect(),
        };
        let name = || "a".to_owned();
        for (profiles, expected) in [
            (vec![], Ok(())),
            (vec![profile("a", &["sh"]), profile("b", &["sh"])], Ok(())),
            (vec![profile("", &["sh"])], Err(StartError::NamelessProfile)),
            (
                vec![profile("a", &["sh"]), profile("a", &["cat"])],
                Err(StartError::RepeatedProfile { name: name() }),
            ),
            (vec![profile("a", &[])], Err(StartError::NoCommand { name: name() })),
            (vec![profile("a", &[""])], Err(StartError::NoCommand { name: name() })),
            (vec![profile("a", &["sh", "\0"])], Err(StartError::NulInCommand { name: name() })),
        ] {
            assert_eq!(check_profiles(&profiles), expected);
        }
    }
}
