//! What is known of how a runtime is faring.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::RuntimeSpec;
use super::circuit::Circuit;
use crate::backoff::Jitter;
use crate::error::ErrorKind;
use crate::runtime_api::{Feature, Operation, RuntimeStatus, RuntimeSummary};

/// Whether a runtime is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// It answered, whatever it said.
    Reachable,
    /// It did not.
    Unreachable,
    /// It answered, but does not know the gateway's credential.
    Unauthorized,
    /// Another runtime answered in its place.
    Misdirected,
    /// It has not been asked.
    #[serde(other)]
    Unknown,
}

impl Reachability {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Reachable, Self::Unreachable, Self::Unauthorized, Self::Misdirected, Self::Unknown];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Misdirected => "misdirected",
            Self::Unknown => "unknown",
        }
    }
}

/// How a runtime is faring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Whether it is reached.
    pub reachability: Reachability,
    /// When it last answered.
    pub last_seen: Option<Instant>,
    /// What it last said of itself, scrubbed.
    pub summary: Option<RuntimeSummary>,
    /// What it has answered that it does not have.
    pub unsupported: BTreeSet<Operation>,
    pub(super) circuit: Circuit,
}

impl Health {
    /// Of a runtime that has not been asked. `unsupported` is what it cannot have.
    pub(super) fn unknown(unsupported: BTreeSet<Operation>) -> Self {
        Self {
            reachability: Reachability::Unknown,
            last_seen: None,
            summary: None,
            unsupported,
            circuit: Circuit::default(),
        }
    }

    /// The runtime's own word about its state.
    pub fn status(&self) -> RuntimeStatus {
        self.summary.as_ref().map_or(RuntimeStatus::Unknown, |summary| summary.status)
    }

    /// What people call the runtime: by the configuration, by its own word, or by its id.
    pub(crate) fn display_name<'a>(&'a self, spec: &'a RuntimeSpec) -> &'a str {
        let said = self.summary.as_ref().and_then(|summary| summary.display_name.as_deref());
        spec.display_name.as_deref().or(said).unwrap_or(spec.runtime_id.as_str())
    }

    /// Whether the runtime has said that it has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.summary.as_ref().is_some_and(|summary| summary.has(feature))
    }

    /// Whether the runtime can do something, as far as is known.
    pub fn can(&self, operation: Operation) -> bool {
        !self.unsupported.contains(&operation) && operation.feature().is_none_or(|feature| self.has(feature))
    }

    /// Learns how something that was asked ended. Whether anything but [`Health::last_seen`] has changed.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        (operation, end): (Operation, Result<(), ErrorKind>),
        is_probe: bool,
        jitter: &mut Jitter,
    ) -> bool {
        let kind = end.err();
        let mut changed = match kind {
            Some(kind @ (ErrorKind::Network(_) | ErrorKind::RuntimeTimeout(_))) => {
                self.circuit.failed(now, kind, is_probe, jitter)
            }
            _ => self.circuit.succeeded(),
        };
        if let Some(reachability) = kind.map_or(Some(Reachability::Reachable), reachability) {
            changed |= std::mem::replace(&mut self.reachability, reachability) != reachability;
            if reachability == Reachability::Reachable {
                self.last_seen = Some(now);
            }
        }
        changed |= match kind {
            Some(ErrorKind::Unsupported) => self.unsupported.insert(operation),
            None => self.unsupported.remove(&operation),
            _ => false,
        };
        changed
    }

    /// Learns what the runtime says of itself. Whether that has changed.
    pub(super) fn describe(&mut self, now: Instant, summary: RuntimeSummary) -> bool {
        self.last_seen = Some(now);
        // A store that is only read tells by its first word whether it has streams.
        if self.summary.is_none() && summary.incarnation.is_some() {
            self.unsupported.remove(&Operation::ObserveEvents);
        }
        let changed = self.summary.as_ref() != Some(&summary);
        self.summary = Some(summary);
        changed
    }
}

/// What a failure of this kind says about whether the runtime is reached, if it says anything.
fn reachability(kind: ErrorKind) -> Option<Reachability> {
    match kind {
        ErrorKind::Network(_) | ErrorKind::RuntimeTimeout(_) => Some(Reachability::Unreachable),
        ErrorKind::RuntimeAuthFailed => Some(Reachability::Unauthorized),
        ErrorKind::IdentityMismatch => Some(Reachability::Misdirected),
        // These are the gateway's own word: nothing was sent, or nothing came of it.
        ErrorKind::RuntimeUnavailable | ErrorKind::Denied | ErrorKind::Internal => None,
        // Of a stream: what was asked for, or what its frames held, and not an answer.
        ErrorKind::CursorExpired | ErrorKind::CursorUnknown | ErrorKind::CursorMalformed => None,
        _ => Some(Reachability::Reachable),
    }
}
