//! What a call knows of who is at the other end.

use bytes::Bytes;
use http::Response;

use super::limits::MAX_QUESTIONS;
use crate::runtime_api::Command;
use crate::secret::Access;
use crate::transport::{Target, Via, ends_connection};

/// Whether `GET /v1/runtime` is to be asked before the command is sent, and which connection the command may use.
///
/// ```text
///              asked and answered rightly          sent
///   Unknown ───────────────────────────► Asked ─────────► …
///      ▲    │                              │
///      │    │                              │ there is no identified connection: it was lost, or others use it
///      ├────┼──────────────────────────────┘
///      │    └── answered on a connection that ends with it ──► Unkept ──► sent on any
///      └── there is no identified connection ◄── Identified ──► sent
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// It does not matter.
    Any,
    /// The question is to be asked first.
    Unknown,
    /// There are connections to the right runtime, as the registry knows.
    Identified,
    /// The question was answered rightly, on a connection that the transport keeps.
    Asked,
    /// The question was answered rightly a moment ago, on a connection that ended with the answer. There is no better
    /// knowledge to be had of a runtime that keeps no connection.
    Unkept,
}

impl Peer {
    /// What is known before anything was sent. `identified` is whether there are connections to the right runtime,
    /// `features_known` whether the runtime has said what it can do.
    pub(super) fn of(command: &Command, access: &Access, identified: bool, features_known: bool) -> Self {
        let is_remote = access.target() != Target::InProcess;
        let changes_something = command.operation().changes_something();
        let needs_features = changes_something || command.features().next().is_some();
        match (is_remote && changes_something, identified) {
            _ if needs_features && !features_known => Self::Unknown,
            (true, false) => Self::Unknown,
            (true, true) => Self::Identified,
            (false, _) => Self::Any,
        }
    }

    /// Which connection the command may use.
    pub(super) fn via(&self) -> Via {
        match self {
            Self::Any | Self::Unknown | Self::Unkept => Via::Any,
            Self::Identified | Self::Asked => Via::Identified,
        }
    }

    /// The question was answered rightly.
    pub(super) fn answered(response: &Response<Bytes>) -> Self {
        if ends_connection(response) { Self::Unkept } else { Self::Asked }
    }

    /// There is no identified connection for the command, after so many questions. Whether to ask again.
    #[must_use]
    pub(super) fn not_identified(&mut self, questions: u32) -> bool {
        *self = Self::Unknown;
        questions < MAX_QUESTIONS
    }

    /// An attempt has failed. What was known of a connection that is gone is known no more.
    pub(super) fn failed(&mut self) {
        if let Self::Unkept = self {
            *self = Self::Unknown;
        }
    }
}
