//! What a runtime may have beyond v1.

use crate::error::{Error, ErrorKind};

/// Something that runtimes have or lack, by the name that `GET /v1/runtime` lists it under (`docs/runtime-api.md`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Feature {
    /// It honours `Idempotency-Key`.
    Idempotency,
    /// Workers have a name and labels.
    Names,
    /// A create may say in which directory and with which variables a worker starts.
    Placement,
    /// What a worker is doing can be interrupted.
    Interrupt,
    /// The end of a worker's input can be told.
    Eof,
    /// Input can be sent to a terminal as it is.
    RawInput,
    /// A worker that has ended can be removed.
    Remove,
    /// Workers ask questions, which are listed and answered.
    Requests,
    /// Profiles are listed.
    Profiles,
    /// Lists of workers come in pages.
    Pages,
    /// Workers on a terminal can be resized.
    Terminal,
    /// Input can be kept out of transcript, events and logs.
    SecretInput,
    /// A worker whose runtime went away can be taken up again.
    Resume,
}

impl Feature {
    /// What a command that needs it ends with where the runtime does not have it.
    pub(crate) fn missing(self) -> Error {
        let detail = format!("the runtime does not have the feature `{}`", self.name());
        Error::with_detail(ErrorKind::Unsupported, detail)
    }

    /// Every feature.
    pub const ALL: &[Self] = &[
        Self::Idempotency,
        Self::Names,
        Self::Placement,
        Self::Interrupt,
        Self::Eof,
        Self::RawInput,
        Self::Remove,
        Self::Requests,
        Self::Profiles,
        Self::Pages,
        Self::Terminal,
        Self::SecretInput,
        Self::Resume,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idempotency => "idempotency",
            Self::Names => "names",
            Self::Placement => "placement",
            Self::Interrupt => "interrupt",
            Self::Eof => "eof",
            Self::RawInput => "raw_input",
            Self::Remove => "remove",
            Self::Requests => "requests",
            Self::Profiles => "profiles",
            Self::Pages => "pages",
            Self::Terminal => "terminal",
            Self::SecretInput => "secret_input",
            Self::Resume => "resume",
        }
    }
}
