//! What a runtime's workers are: the same keys for the embedded runtime and for a runtime of its own.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};

use crate::error::ConfigError;

/// The variable that holds a gateway's access token for the command line. No worker inherits it.
const ACCESS_TOKEN_VARIABLE: &str = "SEKISHO_ACCESS_TOKEN";

/// What the workers of a runtime are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Workers {
    /// What they can run, in the order of the file; the first is the default.
    pub profiles: Vec<Profile>,
    /// Variables that hold tokens. Workers must not find them in their environment.
    pub hidden_variables: Vec<String>,
}

/// A program that workers can run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// The name that clients ask for, not empty.
    pub name: String,
    /// The program, not empty, and its arguments.
    pub command: Vec<String>,
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
    command: CommandLine,
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
    pub(crate) fn from_tables(key: &str, tables: ProfileTables) -> Result<Self, ConfigError> {
        let mut profiles = Vec::with_capacity(tables.0.len());
        for (name, ProfileTable { command: CommandLine(command) }) in tables.0 {
            if name.is_empty() {
                return Err(ConfigError::at(key, "a profile has an empty name"));
            }
            profiles.push(Profile { name, command });
        }
        Ok(Self { profiles, hidden_variables: vec![ACCESS_TOKEN_VARIABLE.to_owned()] })
    }

    /// Adds a profile as the default, in place of another by the same name.
    pub(crate) fn insert_default(&mut self, profile: Profile) {
        self.profiles.retain(|other| other.name != profile.name);
        self.profiles.insert(0, profile);
    }
}
