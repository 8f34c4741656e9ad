//! Which workers need attention first.

use std::time::{Duration, SystemTime};

use crate::browser_api::WorkerView;
use crate::runtime_api::{EndReason, WorkerActivity, WorkerStatus};

/// For how long a worker that failed needs attention. One that failed before that has ended, as others have.
pub const LATELY: Duration = Duration::from_secs(3600);

/// What a worker needs of those who look after it. What needs most stands first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Attention {
    /// It waits for an answer.
    Asks,
    /// It ended otherwise than it should, and not longer than [`LATELY`] ago.
    Failed,
    /// It has not ended.
    Runs,
    /// It has ended as it should, was ended, or failed long ago.
    Ended,
}

impl Attention {
    /// Every one, in order.
    pub const ALL: [Self; 4] = [Self::Asks, Self::Failed, Self::Runs, Self::Ended];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asks => "asks",
            Self::Failed => "failed",
            Self::Runs => "runs",
            Self::Ended => "ended",
        }
    }

    /// What a worker needs, given whether one of its requests is open. A runtime tells of these in its list, too, before they
    /// are listed themselves.
    pub fn of(worker: &WorkerView, has_open_request: bool, now: SystemTime) -> Self {
        let facts = &worker.facts;
        match worker.status {
            WorkerStatus::Running
                if has_open_request
                    || facts.requests.is_some_and(|requests| requests > 0)
                    || facts.activity == Some(WorkerActivity::Waiting) =>
            {
                Self::Asks
            }
            // What is not known to have ended has not.
            WorkerStatus::Running | WorkerStatus::Unknown => Self::Runs,
            WorkerStatus::Stopped | WorkerStatus::Cancelled if has_failed(worker) && is_late(worker, now) => {
                Self::Failed
            }
            WorkerStatus::Stopped | WorkerStatus::Cancelled => Self::Ended,
        }
    }
}

/// Whether a worker ended otherwise than it should.
fn has_failed(worker: &WorkerView) -> bool {
    worker.facts.end.as_ref().is_some_and(|end| match end.reason {
        EndReason::Exited => end.exit_code.is_some_and(|code| code != 0),
        EndReason::Signalled | EndReason::NotStarted | EndReason::RuntimeLost | EndReason::StoreFailed => {
            true
        }
        EndReason::Stopped | EndReason::Cancelled | EndReason::Other(_) => false,
    })
}

/// Whether a worker ended lately, or at a time that is not known.
fn is_late(worker: &WorkerView, now: SystemTime) -> bool {
    let ended = worker.facts.ended_at.as_deref().and_then(|at| humantime::parse_rfc3339_weak(at).ok());
    // The clock of another machine may be ahead.
    ended.is_none_or(|ended| now.duration_since(ended).unwrap_or_default() <= LATELY)
}

/// The place of a worker that runs among others: those at work, those of which that is not known, and those that wait for
/// input.
pub(super) fn idleness(worker: &WorkerView) -> u8 {
    match worker.facts.activity {
        Some(WorkerActivity::Running) => 0,
        Some(WorkerActivity::Idle) => 2,
        Some(WorkerActivity::Waiting | WorkerActivity::Other(_)) | None => 1,
    }
}
