//! What workers can run.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use glob::{MatchOptions, Pattern};
use sekisho_acp::Permissions;

use crate::user::User;

/// The profile that needs no process.
pub const BUILTIN_ECHO: &str = "builtin:echo";

/// A profile: what the operator lets workers run, under the name that `{"kind":"named"}` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerProfile {
    /// Its name: 1 to [`MAX_NAME`](Self::MAX_NAME) of `A-Z a-z 0-9 . _ ~ -`, since names of workers begin with it.
    pub name: String,
    /// What it is.
    pub kind: ProfileKind,
    /// A sentence for clients that choose among profiles.
    pub description: Option<String>,
}

/// What a worker of a profile is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProfileKind {
    /// Answers each input with the same text, and needs no process.
    Echo,
    /// A program that reads and writes lines.
    Lines(Program),
    /// A program on a pseudo-terminal of its own.
    Terminal(Program, TerminalProfile),
    /// A program that speaks the Agent Client Protocol (`docs/agents.md`).
    Agent(Program, AgentSettings),
}

/// A program, and what it finds when it starts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Program {
    /// The program, found on `PATH` where it has no slash, and its arguments.
    pub command: Vec<String>,
    /// Where it starts; the runtime's own directory where this is absent.
    pub cwd: Option<PathBuf>,
    /// Variables that are set for it.
    pub env: BTreeMap<String, String>,
    /// Whether it inherits nothing of the runtime's environment.
    pub clear_env: bool,
    /// Variables of the runtime's environment that it does not inherit.
    pub hide_env: Vec<String>,
    /// Which directories a create may ask for: shell patterns in which `*` does not match a `/`, and `**` does.
    pub allow_cwd: Vec<String>,
    /// Which variables a create may set.
    pub allow_env: Vec<String>,
    /// The user that it runs as, where the runtime may change that; its own where this is absent.
    pub user: Option<String>,
}

/// What the terminal of a profile is like in the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TerminalProfile {
    /// How many columns it has, at least one.
    pub cols: u16,
    /// How many rows it has, at least one.
    pub rows: u16,
    /// Whether it shows what is typed. Clients that send lines show them by themselves.
    pub echo: bool,
}

/// How an agent is started, beside its program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentSettings {
    /// What becomes of a permission that it asks for.
    pub permissions: Permissions,
    /// How long it may take from its start to an open session, more than nothing.
    pub start_timeout: Duration,
    /// The MCP servers that it is to connect to, in the protocol's own form, passed on as they are.
    pub mcp_servers: Vec<serde_json::Value>,
    /// The id of the mode that its session is to be in.
    pub mode: Option<String>,
    /// The id of the model that its session is to use.
    pub model: Option<String>,
    /// The id of its own method of authentication that is used before a session is opened: one that needs no person.
    pub auth_method: Option<String>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            permissions: Permissions::Ask,
            start_timeout: sekisho_acp::limits::START_TIMEOUT,
            mcp_servers: Vec::new(),
            mode: None,
            model: None,
            auth_method: None,
        }
    }
}

impl Default for TerminalProfile {
    fn default() -> Self {
        Self { cols: 80, rows: 24, echo: false }
    }
}

/// Why a profile cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The name is not of the form.
    #[error("a profile's name is 1 to {} of A-Z a-z 0-9 . _ ~ -", WorkerProfile::MAX_NAME)]
    Name,
    /// The command lacks a program.
    #[error("there is no command")]
    NoCommand,
    /// A text holds a NUL, which nothing that is handed to a process can.
    #[error("there is a NUL character")]
    Nul,
    /// The directory is not an absolute path.
    #[error("cwd is not an absolute path")]
    Cwd,
    /// A variable's name is empty or has an equals sign.
    #[error("there is a variable with an impossible name")]
    Variable,
    /// An entry of `allow_cwd` is no pattern.
    #[error("allow_cwd has an entry that is not a pattern of an absolute path")]
    Pattern,
    /// The user is not one of this machine's.
    #[error("user is not one of this machine's users")]
    User,
    /// A terminal without a column or row.
    #[error("size has no columns or no rows")]
    Size,
}

impl WorkerProfile {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 64;

    /// A profile of a program that reads and writes lines.
    pub fn lines(name: impl Into<String>, command: impl IntoIterator<Item: Into<String>>) -> Self {
        let command = command.into_iter().map(Into::into).collect();
        let kind = ProfileKind::Lines(Program { command, ..Program::default() });
        Self { name: name.into(), kind, description: None }
    }

    /// The name of the kind, as v1 and the configuration have it.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            ProfileKind::Echo => BUILTIN_ECHO,
            ProfileKind::Lines(_) => "lines",
            ProfileKind::Terminal(..) => "terminal",
            ProfileKind::Agent(..) => "acp",
        }
    }

    /// Its program, where it has one.
    pub fn program(&self) -> Option<&Program> {
        match &self.kind {
            ProfileKind::Echo => None,
            ProfileKind::Lines(program)
            | ProfileKind::Terminal(program, _)
            | ProfileKind::Agent(program, _) => Some(program),
        }
    }

    /// Whether its workers have a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        matches!(self.kind, ProfileKind::Terminal(..))
    }

    pub(crate) fn check(&self) -> Result<(), ProfileError> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
        if !(1..=Self::MAX_NAME).contains(&self.name.len()) || !self.name.bytes().all(is_of_name) {
            return Err(ProfileError::Name);
        }
        if let ProfileKind::Terminal(_, TerminalProfile { cols: 0, .. } | TerminalProfile { rows: 0, .. }) =
            self.kind
        {
            return Err(ProfileError::Size);
        }
        self.program().map_or(Ok(()), Program::check)
    }
}

impl Program {
    fn check(&self) -> Result<(), ProfileError> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(ProfileError::NoCommand);
        }
        let cwd = self.cwd.as_ref().map(|cwd| cwd.to_string_lossy());
        let mut texts =
            self.command.iter().chain(self.env.values()).map(String::as_str).chain(cwd.as_deref());
        if texts.any(|text| text.contains('\0')) {
            return Err(ProfileError::Nul);
        }
        if self.cwd.as_ref().is_some_and(|cwd| !cwd.is_absolute()) {
            return Err(ProfileError::Cwd);
        }
        if !self.env.keys().chain(&self.allow_env).all(|name| is_variable(name)) {
            return Err(ProfileError::Variable);
        }
        if !self.allow_cwd.iter().all(|pattern| pattern.starts_with('/') && Pattern::new(pattern).is_ok()) {
            return Err(ProfileError::Pattern);
        }
        if self.user.as_ref().is_some_and(|user| User::find(user).is_err()) {
            return Err(ProfileError::User);
        }
        Ok(())
    }

    /// Whether a create may have the program start there.
    pub(crate) fn allows_cwd(&self, cwd: &str) -> bool {
        let path = Path::new(cwd);
        // What a step back leads to is not what the pattern was matched with.
        let is_plain = path.is_absolute()
            && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
            && !cwd.contains('\0');
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        // Without doubled slashes, a slash at the end and steps that stay.
        let plain: PathBuf = path.components().collect();
        is_plain
            && self
                .allow_cwd
                .iter()
                .filter_map(|pattern| Pattern::new(pattern).ok())
                .any(|pattern| pattern.matches_path_with(&plain, options))
    }

    /// Whether a create may set the variable.
    pub(crate) fn allows_env(&self, name: &str) -> bool {
        self.allow_env.iter().any(|allowed| allowed == name)
    }
}

/// Whether a variable can have that name.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

#[cfg(test)]
mod tests;
