//! What a runtime's workers are: the same keys for the embedded runtime and for a runtime of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};

use crate::agents::{AgentKeys, AgentPermissions, AgentProfile};
use crate::error::ConfigError;
use crate::worker_limits::WorkerLimits;

/// The variable that holds a gateway's access token for the command line. No worker inherits it.
const ACCESS_TOKEN_VARIABLE: &str = "SEKISHO_ACCESS_TOKEN";

/// What the workers of a runtime are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Workers {
    /// What they can run, in the order of the file; the first is the default.
    pub profiles: Vec<Profile>,
    /// Variables that hold tokens. Workers must not find them in their environment.
    pub hidden_variables: Vec<String>,
    /// How much the runtime takes on and keeps, where that is not its default.
    pub limits: WorkerLimits,
}

/// What workers can run. Each field is the key of the same name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    /// The name that clients ask for, not empty.
    pub name: String,
    /// What a worker is.
    pub kind: ProfileKind,
    /// The program and its arguments; empty where the kind needs none.
    pub command: Vec<String>,
    /// A sentence for clients that choose among profiles.
    pub description: Option<String>,
    /// Where the program starts.
    pub cwd: Option<PathBuf>,
    /// Variables that are set for it.
    pub env: BTreeMap<String, String>,
    /// Whether it inherits no variable.
    pub clear_env: bool,
    /// Variables that it does not inherit.
    pub hide_env: Vec<String>,
    /// Patterns of the directories that a create may ask for.
    pub allow_cwd: Vec<String>,
    /// The variables that a create may set.
    pub allow_env: Vec<String>,
    /// The size of its terminal: columns and rows.
    pub size: Option<(u16, u16)>,
    /// Whether its terminal shows what is typed, as a program that sets nothing else would expect.
    pub echo: bool,
    /// The user that it runs as.
    pub user: Option<String>,
    /// How it is started, where it is an agent; there for the kind [`Agent`](ProfileKind::Agent) alone.
    pub agent: Option<AgentProfile>,
}

/// What a worker of a profile is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
pub enum ProfileKind {
    /// A program that reads and writes lines.
    #[default]
    #[serde(rename = "lines")]
    Lines,
    /// A program on a terminal.
    #[serde(rename = "terminal")]
    Terminal,
    /// An agent that speaks the Agent Client Protocol.
    #[serde(rename = "acp")]
    Agent,
    /// What answers each input with the same text.
    #[serde(rename = "builtin:echo")]
    Echo,
}

impl Profile {
    /// A program that reads and writes lines.
    pub fn lines(name: impl Into<String>, command: Vec<String>) -> Self {
        Self { name: name.into(), command, ..Self::default() }
    }
}

/// The profiles of a file, in its order.
#[derive(Debug, Default)]
pub(crate) struct ProfileTables(Vec<(String, ProfileTable)>);

impl<'de> Deserialize<'de> for ProfileTables {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = ProfileTables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of profiles")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut tables: A) -> Result<ProfileTables, A::Error> {
                let mut profiles = Vec::new();
                while let Some(profile) = tables.next_entry()? {
                    profiles.push(profile);
                }
                Ok(ProfileTables(profiles))
            }
        }
        deserializer.deserialize_map(Tables)
    }
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileTable {
    #[serde(default)]
    kind: ProfileKind,
    command: Option<CommandLine>,
    description: Option<String>,
    cwd: Option<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    clear_env: bool,
    #[serde(default)]
    hide_env: Vec<String>,
    #[serde(default)]
    allow_cwd: Vec<String>,
    #[serde(default)]
    allow_env: Vec<String>,
    size: Option<String>,
    #[serde(default)]
    echo: bool,
    user: Option<String>,
    permissions: Option<AgentPermissions>,
    start_timeout_ms: Option<u64>,
    mcp_servers: Option<Vec<serde_json::Value>>,
    mode: Option<String>,
    model: Option<String>,
    auth_method: Option<String>,
}

impl ProfileTable {
    fn into_profile(self, key: &str, name: String) -> Result<Profile, ConfigError> {
        let at = |field: &str, reason: &str| Err(ConfigError::at(format!("{key}.{name}.{field}"), reason));
        let command = match (self.kind, self.command) {
            (ProfileKind::Echo, Some(_)) => return at("command", "is not for this kind"),
            (ProfileKind::Echo, None) => Vec::new(),
            (_, Some(CommandLine(command))) => command,
            (_, None) => return at("command", "is missing"),
        };
        let of_terminal = self.size.as_ref().map(|_| "size").or(self.echo.then_some("echo"));
        if let (Some(field), false) = (of_terminal, self.kind == ProfileKind::Terminal) {
            return at(field, "is for the kind \"terminal\"");
        }
        let size = self.size.as_deref().map(parse_size);
        if size == Some(None) {
            return at("size", "is not COLUMNSxROWS, as in \"80x24\"");
        }
        let keys = AgentKeys {
            permissions: self.permissions,
            start_timeout_ms: self.start_timeout_ms,
            mcp_servers: self.mcp_servers,
            mode: self.mode,
            model: self.model,
            auth_method: self.auth_method,
        };
        let agent = match (self.kind, keys.first()) {
            (ProfileKind::Agent, _) => match keys.into_profile() {
                Ok(agent) => Some(agent),
                Err((field, reason)) => return at(field, reason),
            },
            (_, Some(field)) => return at(field, "is for the kind \"acp\""),
            (_, None) => None,
        };
        Ok(Profile {
            name,
            kind: self.kind,
            command,
            description: self.description,
            cwd: self.cwd,
            env: self.env,
            clear_env: self.clear_env,
            hide_env: self.hide_env,
            allow_cwd: self.allow_cwd,
            allow_env: self.allow_env,
            size: size.flatten(),
            echo: self.echo,
            user: self.user,
            agent,
        })
    }
}

fn parse_size(text: &str) -> Option<(u16, u16)> {
    let (cols, rows) = text.split_once('x')?;
    let side = |text: &str| text.parse::<u16>().ok().filter(|side| *side > 0);
    Some((side(cols)?, side(rows)?))
}

/// A command: an array of its words, or a text that is split into words as a shell would.
#[derive(Debug)]
struct CommandLine(Vec<String>);

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = CommandLine;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command: an array of words, or a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CommandLine, E> {
                split(text).map(CommandLine).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<CommandLine, A::Error> {
                let mut command = Vec::new();
                while let Some(word) = words.next_element()? {
                    command.push(word);
                }
                check(&command).map_err(de::Error::custom)?;
                Ok(CommandLine(command))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// A text as a program and its arguments, as a shell would split it.
pub(crate) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let command = shell_words::split(text).map_err(|_| "a quote is not closed")?;
    check(&command).map(|()| command)
}

fn check(command: &[String]) -> Result<(), &'static str> {
    match command.first() {
        None => Err("there is no command"),
        Some(program) if program.is_empty() => Err("there is no command"),
        Some(_) if command.iter().any(|word| word.contains('\0')) => Err("a NUL character"),
        Some(_) => Ok(()),
    }
}

impl Workers {
    /// The profiles of a file, in its order.
    pub(crate) fn from_tables(
        key: &str,
        tables: ProfileTables,
        limits: WorkerLimits,
    ) -> Result<Self, ConfigError> {
        let mut profiles = Vec::with_capacity(tables.0.len());
        for (name, table) in tables.0 {
            if name.is_empty() {
                return Err(ConfigError::at(key, "a profile has an empty name"));
            }
            profiles.push(table.into_profile(key, name)?);
        }
        Ok(Self { profiles, hidden_variables: vec![ACCESS_TOKEN_VARIABLE.to_owned()], limits })
    }

    /// Adds a profile as the default, in place of another by the same name.
    pub(crate) fn insert_default(&mut self, profile: Profile) {
        self.profiles.retain(|other| other.name != profile.name);
        self.profiles.insert(0, profile);
    }
}
