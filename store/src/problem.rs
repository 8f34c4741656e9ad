//! What is wrong with a store, or with one worker of it.

use std::io;

/// What is wrong with a store, or with the records of one worker.
///
/// No variant holds a path, and none holds text that the store's owner wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no store where one is configured, or it has no runtime of the configured id.
    #[error("there is no store of this runtime")]
    StoreMissing,
    /// The operating system refused to read.
    #[error("cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// The store is of a version that this program does not know.
    #[error("is of version {found}, and this program reads version {known}")]
    OtherVersion {
        /// The version that the store gives.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// The store belongs to another runtime than the configured one.
    #[error("belongs to another runtime")]
    OtherRuntime,
    /// The records are not what their owner writes.
    #[error("is damaged")]
    Damaged,
    /// A worker's folder has no record of the worker: its owner ended before it wrote one.
    #[error("has no record beside its transcript")]
    RecordMissing,
    /// A name stands for something that is not a plain file.
    #[error("is not a plain file")]
    NotAFile,
    /// A file or a line is larger than what is read of one.
    #[error("is larger than the {limit} bytes that are read")]
    TooLarge {
        /// The bound that it passes, in bytes.
        limit: u64,
    },
    /// One line of a transcript is not an item.
    #[error("line {line} of the transcript cannot be read")]
    Line {
        /// Its number, from 1.
        line: u64,
    },
    /// More workers are stored than are listed.
    #[error("holds more workers than the {limit} that are listed")]
    TooManyWorkers {
        /// The bound.
        limit: usize,
    },
    /// The store was left by an owner that ended at once, and only that owner may put it in order.
    #[error("waits for its runtime to be started once, which completes what was interrupted")]
    NeedsOwner,
    /// The store is in the middle of a change that lasts longer than a reader waits.
    #[error("is busy")]
    Busy,
}

impl Problem {
    /// A stable word for the cause.
    pub fn code(self) -> &'static str {
        match self {
            Self::StoreMissing | Self::RecordMissing => "store_missing",
            Self::Unreadable(_) | Self::NotAFile | Self::NeedsOwner | Self::Busy => "store_io",
            Self::OtherVersion { .. } => "store_version",
            Self::OtherRuntime => "identity_mismatch",
            Self::Damaged | Self::Line { .. } => "store_corrupt",
            Self::TooLarge { .. } | Self::TooManyWorkers { .. } => "store_too_large",
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.kind())
    }
}

/// A problem of one worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerProblem {
    /// The worker's id as the store has it: any text.
    pub worker_id: String,
    /// What is wrong with it.
    pub problem: Problem,
}
