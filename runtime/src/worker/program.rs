//! What a worker's program is started with.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use super::TerminalSettings;
use crate::launcher::message::Program;
use crate::user::User;

/// The variable that clients of a gateway have their token in: no worker inherits it, whatever is configured.
const ACCESS_TOKEN_VARIABLE: &str = "SEKISHO_ACCESS_TOKEN";

/// What a service manager tells the server, and not what the server starts (`sd_notify(3)`, `sd_listen_fds(3)`).
const SERVICE_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What every worker is told of itself. Where the runtime is in a worker of another one, what that was told is not meant
/// for its own.
const OWN_VARIABLES: [&str; 4] =
    ["SEKISHO_RUNTIME_ID", "SEKISHO_WORKER_ID", "SEKISHO_WORKER_NAME", "SEKISHO_TASK"];

/// One worker's program, as its profile and its create say.
#[derive(Clone, Debug)]
pub(crate) struct ProgramSpec {
    /// The program, found on `PATH` where it has no slash, and its arguments.
    pub(crate) command: Arc<[String]>,
    /// Where it starts, if not where the runtime runs.
    pub(crate) directory: Option<PathBuf>,
    /// As whom, if not as the runtime's user.
    pub(crate) user: Option<User>,
    /// Whether it inherits nothing of the runtime's environment.
    pub(crate) clear_environment: bool,
    /// The variables of the runtime's environment that it does not inherit, by name.
    pub(crate) hidden_variables: Arc<[String]>,
    /// Variables that it has beside those. Of two by one name the later is meant.
    pub(crate) environment: Vec<(String, String)>,
    /// The terminal that it runs on, if it does.
    pub(crate) terminal: Option<TerminalSettings>,
}

impl ProgramSpec {
    /// A program with what the runtime itself has.
    pub(crate) fn new(command: Arc<[String]>) -> Self {
        Self {
            command,
            directory: None,
            user: None,
            clear_environment: false,
            hidden_variables: Arc::default(),
            environment: Vec::new(),
            terminal: None,
        }
    }

    /// What its launcher is told, where this is the runtime's environment.
    pub(super) fn program(&self, inherited: impl Iterator<Item = (OsString, OsString)>) -> Program {
        Program {
            command: self.command.iter().map(OsString::from).collect(),
            environment: self.environment_from(inherited),
            directory: self.directory.clone(),
            user: self.user.as_ref().map(|user| user.identity.clone()),
            has_terminal: self.terminal.is_some(),
        }
    }

    fn environment_from(
        &self,
        inherited: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let is_hidden = |name: &OsStr| {
            name == ACCESS_TOKEN_VARIABLE
                || OWN_VARIABLES.iter().chain(&SERVICE_VARIABLES).any(|own| name == *own)
                || self.hidden_variables.iter().any(|hidden| name == OsStr::new(hidden))
        };
        let mut environment: Vec<_> =
            inherited.filter(|(name, _)| !self.clear_environment && !is_hidden(name)).collect();
        let mut set = |name: &str, value: OsString| {
            environment.retain(|(known, _)| known != OsStr::new(name));
            environment.push((name.into(), value));
        };
        if let Some(user) = &self.user {
            set("HOME", user.home.clone().into_os_string());
            set("USER", user.name.clone().into());
            set("LOGNAME", user.name.clone().into());
        }
        if let Some(terminal) = &self.terminal {
            set("TERM", terminal.term.clone().into());
        }
        for (name, value) in &self.environment {
            // No variable can hold a NUL: what would stand after it would be lost.
            set(name, value.replace('\0', "\u{FFFD}").into());
        }
        environment
    }
}
