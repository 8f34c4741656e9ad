//! Identifiers: parsed once where they enter, valid for ever after.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest identifier, in characters.
pub const MAX_ID_LENGTH: usize = 128;

/// Why a text is not an identifier.
///
/// The text itself is not repeated: it may be of any length and hold anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Nothing stands where an identifier should.
    #[error("is empty")]
    Empty,
    /// More than [`MAX_ID_LENGTH`] characters.
    #[error("has {length} bytes, at most {MAX_ID_LENGTH} are allowed")]
    TooLong {
        /// The length found, in bytes.
        length: usize,
    },
    /// A character outside `A-Z a-z 0-9 . _ : ~ -`.
    #[error("has a character at byte {position} that is not one of A-Z a-z 0-9 . _ : ~ -")]
    Character {
        /// Offset of the first such character, in bytes.
        position: usize,
    },
    /// `.` and `..` are steps in a path and never names.
    #[error("is a path step, not a name")]
    PathStep,
}

/// The form of an identifier as a regular expression, but for its greatest length. Without look-ahead, which not every
/// reader of a JSON schema knows: one with another character than dots, or at least three dots.
#[cfg(feature = "pages")]
const PATTERN: &str = r"^(\.*[A-Za-z0-9_:~-][A-Za-z0-9._:~-]*|\.{3,})$";

fn check(text: &[u8]) -> Result<(), IdError> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:~-".contains(byte);
    match text {
        [] => Err(IdError::Empty),
        _ if text.len() > MAX_ID_LENGTH => Err(IdError::TooLong { length: text.len() }),
        b"." | b".." => Err(IdError::PathStep),
        _ => match text.iter().position(|byte| !allowed(byte)) {
            Some(position) => Err(IdError::Character { position }),
            None => Ok(()),
        },
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to [`MAX_ID_LENGTH`] of `A-Z a-z 0-9 . _ : ~ -`, and neither `.` nor `..` (`docs/http-api.md`).
        /// Cheap to clone.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as it is written in paths and bodies.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text.as_bytes())?;
                Ok(Self(text.into()))
            }
        }

        #[cfg(feature = "pages")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": MAX_ID_LENGTH })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(|error| {
                    serde::de::Error::custom(format_args!("an identifier that {error}"))
                })
            }
        }
    };
}

identifier! {
    /// Names one runtime among those that a gateway is configured with.
    RuntimeId
}
identifier! {
    /// Names one worker within its runtime, and nothing outside of it.
    WorkerId
}

identifier! {
    /// Names one request of a worker, within that worker.
    RequestId
}

/// The only authority there is: a worker is never addressed by its [`WorkerId`] alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerRef {
    /// The runtime that holds the worker.
    pub runtime_id: RuntimeId,
    /// The worker within it.
    pub worker_id: WorkerId,
}

impl fmt::Display for WorkerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.runtime_id, self.worker_id)
    }
}

impl FromStr for WorkerRef {
    type Err = WorkerRefError;

    /// Takes `RUNTIME/WORKER`, as `Display` writes it.
    fn from_str(text: &str) -> Result<Self, WorkerRefError> {
        let (runtime_id, worker_id) = text.split_once('/').ok_or(WorkerRefError::NoSlash)?;
        Ok(Self {
            runtime_id: runtime_id.parse().map_err(WorkerRefError::Runtime)?,
            worker_id: worker_id.parse().map_err(WorkerRefError::Worker)?,
        })
    }
}

/// Why a text does not name a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerRefError {
    /// There is one id where two are needed.
    #[error("a worker is named RUNTIME/WORKER")]
    NoSlash,
    /// What stands before the slash is not an id.
    #[error("the runtime's id {0}")]
    Runtime(#[source] IdError),
    /// What stands behind the slash is not an id.
    #[error("the worker's id {0}")]
    Worker(#[source] IdError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_identifier() {
        for text in ["a", "worker-00000001", "A.b_c:d~e-9", "...", &"x".repeat(MAX_ID_LENGTH)] {
            assert_eq!(text.parse::<WorkerId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_worker_is_named_by_two() {
        let worker: WorkerRef = "build-box/worker-1".parse().unwrap();
        assert_eq!((worker.runtime_id.as_str(), worker.worker_id.as_str()), ("build-box", "worker-1"));
        assert_eq!(worker.to_string().parse(), Ok(worker));
        assert_eq!("w".parse::<WorkerRef>(), Err(WorkerRefError::NoSlash));
        assert_eq!("/w".parse::<WorkerRef>(), Err(WorkerRefError::Runtime(IdError::Empty)));
        let slash = IdError::Character { position: 1 };
        assert_eq!("r/a/b".parse::<WorkerRef>(), Err(WorkerRefError::Worker(slash)));
    }

    #[test]
    fn what_is_not() {
        for (text, error) in [
            ("", IdError::Empty),
            (".", IdError::PathStep),
            ("..", IdError::PathStep),
            ("a/b", IdError::Character { position: 1 }),
            ("%2e%2e", IdError::Character { position: 0 }),
            ("a b", IdError::Character { position: 1 }),
            ("a\n", IdError::Character { position: 1 }),
            ("\0", IdError::Character { position: 0 }),
            ("関所", IdError::Character { position: 0 }),
            (&"x".repeat(129), IdError::TooLong { length: 129 }),
            (&"x".repeat(10_000), IdError::TooLong { length: 10_000 }),
        ] {
            assert_eq!(text.parse::<RuntimeId>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn json_is_checked_too() {
        assert!(serde_json::from_str::<WorkerId>(r#""w-1""#).is_ok());
        let error = serde_json::from_str::<WorkerId>(r#""../x""#).unwrap_err().to_string();
        assert!(error.contains("at byte 2"), "{error}");
    }
}
