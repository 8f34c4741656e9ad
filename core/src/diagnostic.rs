//! Something to be told beside a reply or within a stream.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::id::RuntimeId;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something failed.
    Error,
    /// Something is missing.
    Warning,
    /// Good to know. Also what a gateway to come calls something else.
    #[default]
    #[serde(other)]
    Info,
}

/// Something to be told beside a reply or within a stream: about what is missing, or what became of the stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct Diagnostic {
    /// What it is: the [code](crate::error::ErrorKind::code) of an error, or one of its own. Programs may rely on it.
    pub code: Cow<'static, str>,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// The same for people, in one sentence.
    #[serde(default)]
    pub message: Cow<'static, str>,
    /// The runtime that it is about, in replies about several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<RuntimeId>,
    /// In how many milliseconds the gateway will try again, in streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Diagnostic {
    /// A diagnostic about nothing in particular.
    pub fn new(code: &'static str, severity: Severity, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), severity, message: message.into(), runtime_id: None, retry_after_ms: None }
    }

    /// The same, about a runtime.
    #[must_use]
    pub fn of_runtime(self, runtime_id: &RuntimeId) -> Self {
        Self { runtime_id: Some(runtime_id.clone()), ..self }
    }

    /// The same, with when the gateway will try again; whole milliseconds of it.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        Self { retry_after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)), ..self }
    }

    /// Whether this tells of an error. On a stream one stands last, before the stream is closed.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error || ErrorKind::from_code(&self.code).is_some()
    }

    /// When the gateway will try again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

impl From<&Error> for Diagnostic {
    fn from(error: &Error) -> Self {
        Self {
            runtime_id: error.runtime_id().cloned(),
            ..Self::new(error.kind().code(), Severity::Error, error.detail().to_owned())
        }
    }
}
