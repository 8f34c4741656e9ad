//! Mistakes of the code that drives core.

use super::{Error, ErrorKind};

/// A mistake of the code that drives core. No client, runtime or network can cause one, so that an embedder may treat it
/// as a bug of its own program.
///
/// Where a function has no other place for it, it comes as an [`Error`] of kind [`Internal`](ErrorKind::Internal) whose
/// [`misuse`](Error::misuse) says which.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// A machine was polled after it had reported its end.
    #[error("a machine was polled after its end")]
    PolledAfterEnd,
    /// An exchange was not given exactly one result for each of its calls.
    #[error("an exchange needs exactly one result for each of its calls")]
    ResultCount,
    /// An exchange was given a result that is not that of its call.
    #[error("an exchange was given the result of another call")]
    ForeignResult,
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        let mut error = Self::with_detail(ErrorKind::Internal, misuse.to_string());
        error.0.misuse = Some(misuse);
        error
    }
}
