//! TOML into types, and what is shared by the tables of all programs.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sekisho_core::secret::Token;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::error::ConfigError;
use crate::file::{self, MAX_TEXT};
use crate::token_file::TokenFile;

/// The longest time that can be configured for anything that is waited for.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

/// The text of a configuration file, at most 1 MiB.
pub(crate) fn read_file(path: &Path) -> Result<String, ConfigError> {
    let content = file::read(path, MAX_TEXT).and_then(|content| content.into_text(path));
    content.map_err(|error| ConfigError::at("--config", error))
}

/// Reads a text as this type. A fault has its key and its place.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    let fault = |path: &str, error: &toml::de::Error| ConfigError::in_toml(text, path, error);
    let deserializer = toml::Deserializer::parse(text).map_err(|error| fault("", &error))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = dotted(error.path().iter());
        fault(&path, error.inner())
    })
}

/// A path as the documentation writes it: `remote[2].base_url`; the first table of an array is 1.
fn dotted<'a>(segments: impl Iterator<Item = &'a Segment>) -> String {
    let mut path = String::new();
    for segment in segments {
        match segment {
            Segment::Seq { index } => path.push_str(&format!("[{}]", index + 1)),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Segment::Unknown => {}
        }
    }
    path
}

pub(crate) fn positive(value: u64) -> NonZeroU64 {
    NonZeroU64::new(value).unwrap_or(NonZeroU64::MIN)
}

/// A number of bytes or things.
pub(crate) fn count(value: NonZeroU64) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}

/// A time to wait at most.
pub(crate) fn timeout(key: &str, milliseconds: NonZeroU64) -> Result<Duration, ConfigError> {
    match Duration::from_millis(milliseconds.get()) {
        time if time > LONGEST_TIMEOUT => {
            Err(ConfigError::at(key, format!("is over {} ms", LONGEST_TIMEOUT.as_millis())))
        }
        time => Ok(time),
    }
}

/// A text as a value of this type.
pub(crate) fn value<T: FromStr<Err: ToString>>(key: impl Into<String>, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|error: T::Err| ConfigError::at(key, error))
}

/// A list of texts as values of this type.
pub(crate) fn values<T: FromStr<Err: ToString>>(key: &str, texts: &[String]) -> Result<Vec<T>, ConfigError> {
    texts.iter().enumerate().map(|(index, text)| value(format!("{key}[{}]", index + 1), text)).collect()
}

/// A token that is named by a file or a variable.
pub(crate) struct NamedToken {
    pub(crate) token: Token,
    pub(crate) file: Option<TokenFile>,
    pub(crate) warning: Option<String>,
}

/// The token that the one or the other of two keys names.
pub(crate) fn token(
    (file_key, file): (&str, &Option<PathBuf>),
    (env_key, env): (&str, &Option<String>),
) -> Result<Option<NamedToken>, ConfigError> {
    match (file, env) {
        (Some(_), Some(_)) => {
            Err(ConfigError::at(file_key, format!("there is {env_key} as well: choose one")))
        }
        (Some(path), None) => {
            let (file, token) =
                TokenFile::open(path.clone()).map_err(|error| ConfigError::at(file_key, error))?;
            let warning = file.exposure().map(|exposure| format!("{file_key}: {exposure}"));
            Ok(Some(NamedToken { token, file: Some(file), warning }))
        }
        (None, Some(name)) => {
            let text =
                std::env::var(name).map_err(|_| ConfigError::at(env_key, "there is no such variable"))?;
            Ok(Some(NamedToken { token: value(env_key, &text)?, file: None, warning: None }))
        }
        (None, None) => Ok(None),
    }
}
