//! What went wrong, whose it is, and whether the command may have happened.
//!
//! Every [`Error`] is built from a closed list of kinds. No text of a transport, a resolver, a TLS library or a URL
//! type is ever part of one; what a runtime wrote is scrubbed and bounded before it gets here.

mod kind;
mod misuse;

use std::borrow::Cow;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::id::{RuntimeId, WorkerId};
pub use kind::{ErrorKind, NetworkPhase, TimeoutPhase};
pub use misuse::Misuse;

/// The longest text of a runtime that is repeated in an error, in characters.
pub const MAX_RUNTIME_TEXT: usize = 512;

/// Whose error it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The client's: another request is needed.
    Client,
    /// The gateway's.
    Gateway,
    /// The network's between gateway and runtime.
    Network,
    /// The runtime's.
    Runtime,
}

impl Origin {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Network => "network",
            Self::Runtime => "runtime",
        }
    }
}

/// Whether a failed command that changes something took effect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It certainly did not: safe to send again.
    NotApplied,
    /// It may have.
    Unknown,
}

impl Outcome {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotApplied => "not_applied",
            Self::Unknown => "unknown",
        }
    }
}

/// A failure, ready to be shown to anybody.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {}", .0.kind.code(), .0.detail)]
pub struct Error(Box<Facts>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Facts {
    kind: ErrorKind,
    detail: Cow<'static, str>,
    runtime_id: Option<RuntimeId>,
    worker_id: Option<WorkerId>,
    outcome: Option<Outcome>,
    runtime_code: Option<String>,
    retry_after: Option<Duration>,
    misuse: Option<Misuse>,
}

impl Error {
    /// An error of this kind, explained by the kind's own title.
    pub fn new(kind: ErrorKind) -> Self {
        Self::with_detail(kind, kind.title())
    }

    /// An error of this kind with a sentence about this very case.
    ///
    /// The sentence is the gateway's own: it holds nothing that a runtime, a transport or a library said.
    pub(crate) fn with_detail(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Facts {
            kind,
            detail: detail.into(),
            runtime_id: None,
            worker_id: None,
            outcome: None,
            runtime_code: None,
            retry_after: None,
            misuse: None,
        }))
    }

    pub(crate) fn of_runtime(mut self, runtime_id: &RuntimeId) -> Self {
        self.0.runtime_id = Some(runtime_id.clone());
        self
    }

    pub(crate) fn of_worker(mut self, worker_id: Option<&WorkerId>) -> Self {
        self.0.worker_id = worker_id.cloned();
        self
    }

    pub(crate) fn with_outcome(mut self, outcome: Option<Outcome>) -> Self {
        self.0.outcome = outcome;
        self
    }

    pub(crate) fn with_runtime_code(mut self, code: Option<String>) -> Self {
        self.0.runtime_code = code;
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What went wrong in this very case, in a sentence.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The runtime that the request was about.
    pub fn runtime_id(&self) -> Option<&RuntimeId> {
        self.0.runtime_id.as_ref()
    }

    /// The worker that the request was about.
    pub fn worker_id(&self) -> Option<&WorkerId> {
        self.0.worker_id.as_ref()
    }

    /// For commands that change something, whether this one may have happened all the same.
    pub fn outcome(&self) -> Option<Outcome> {
        self.0.outcome
    }

    /// The runtime's own code, scrubbed and bounded to [`MAX_RUNTIME_TEXT`] characters.
    pub fn runtime_code(&self) -> Option<&str> {
        self.0.runtime_code.as_deref()
    }

    /// How long to wait before another try, where the runtime or the gateway said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The mistake of the embedding program that caused it, where it was one.
    pub fn misuse(&self) -> Option<Misuse> {
        self.0.misuse
    }

    /// For a refusal by the gateway, made before anything left it: a command that would have changed something
    /// certainly did not.
    pub(crate) fn refusing(self, method: &Method) -> Self {
        self.with_outcome((!method.is_safe()).then_some(Outcome::NotApplied))
    }
}

/// A text that another program wrote, fit to be repeated: without control characters and at most [`MAX_RUNTIME_TEXT`]
/// characters long. Scrub what is [`printable`] first: a secret cut in two is no longer found.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_RUNTIME_TEXT).collect()
}

/// The text without control characters. Scrub afterwards: there may be a secret whose parts these kept apart.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// A wait as `Retry-After` tells it, rounded up: a client that comes back a moment early waits in vain.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
