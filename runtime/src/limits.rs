//! The bounds of a runtime.

use std::time::Duration;

/// How much a runtime takes on and keeps. Each bound has a default, and a key of the configuration by the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many workers run at once; 128. Each costs a thread, a helper process and a few descriptors. Beyond it a
    /// create is refused as `runtime_full`.
    pub max_workers: usize,
    /// How many workers that have ended are kept; 1,000. Beyond it the one that ended first is forgotten.
    pub max_ended_workers: usize,
    /// How long a worker that has ended is kept; 30 days.
    pub keep_ended: Duration,
    /// How many items of a worker's transcript are kept; 65,536. The oldest go first.
    pub max_transcript_items: usize,
    /// How many bytes of a worker's transcript are kept, [`ITEM_COST`] for each item included; 16 MiB.
    pub max_transcript_bytes: usize,
    /// How many bytes the transcripts of all workers may take in memory; 64 MiB. Workers that have ended lose their
    /// oldest items first.
    pub max_total_transcript_bytes: usize,
    /// How many events of a worker are kept for streams that come back; 16,384.
    pub max_backlog_events: usize,
    /// How many bytes of those are kept of a worker; 4 MiB. Never less than its newest event.
    pub max_backlog_bytes: usize,
    /// How many bytes of those are kept of all workers; 32 MiB. Workers that have ended lose theirs first.
    pub max_total_backlog_bytes: usize,
    /// How many streams are open at once; 1,024. Beyond it an upgrade is refused as `runtime_full`.
    pub max_subscriptions: usize,
}

/// The time between asking a process to end and ending it.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long a service manager is asked to wait for the workers once what is in flight is finished: their time of grace, and
/// some more for a machine that is busy.
pub const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What an item of a transcript costs beside its text, in bytes: it counts against the bounds, so that many short
/// lines take no more memory than a few long ones.
pub const ITEM_COST: usize = 128;

/// What an event of a backlog costs beside its frame, in bytes.
pub const EVENT_COST: usize = 64;

const MIB: usize = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_workers: 128,
            max_ended_workers: 1000,
            keep_ended: Duration::from_secs(30 * 24 * 60 * 60),
            max_transcript_items: 65_536,
            max_transcript_bytes: 16 * MIB,
            max_total_transcript_bytes: 64 * MIB,
            max_backlog_events: 16 * 1024,
            max_backlog_bytes: 4 * MIB,
            max_total_backlog_bytes: 32 * MIB,
            max_subscriptions: 1024,
        }
    }
}
