//! Intents and profiles as a runtime may write them: of a kind that v1 does not know, too.

use serde::{Deserialize, Deserializer};

use super::{Intent, OtherIntent, OtherProfile, Profile};

/// All that an intent of v1 can have.
#[derive(Deserialize)]
struct AnyIntent {
    kind: String,
    #[serde(default)]
    purpose: Option<String>,
    #[serde(default)]
    objective: Option<String>,
    #[serde(default)]
    role: Option<String>,
}

#[derive(Deserialize)]
struct AnyProfile {
    kind: String,
    #[serde(default)]
    value: Option<String>,
}

/// Reads an intent, whatever its kind is.
pub(crate) fn intent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Intent, D::Error> {
    let AnyIntent { kind, purpose, objective, role } = Deserialize::deserialize(deserializer)?;
    Ok(match (kind.as_str(), objective, role) {
        ("assistant", ..) => Intent::Assistant { purpose },
        ("task", Some(objective), _) => Intent::Task { objective },
        ("role", _, Some(role)) => Intent::Role { role, purpose },
        (_, objective, role) => Intent::Other(OtherIntent { kind, purpose: purpose.or(objective).or(role) }),
    })
}

/// Reads a profile, whatever its kind is.
pub(crate) fn profile<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Profile, D::Error> {
    let AnyProfile { kind, value } = Deserialize::deserialize(deserializer)?;
    Ok(match (kind.as_str(), value) {
        ("runtime_default", _) => Profile::RuntimeDefault,
        ("builtin", Some(name)) => Profile::Builtin(name),
        ("named", Some(name)) => Profile::Named(name),
        (_, value) => Profile::Other(OtherProfile { kind, value }),
    })
}
