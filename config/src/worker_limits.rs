//! How much a runtime takes on and keeps.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// The bounds of a runtime that are not its defaults. Each is the key of the same name in the table `limits`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerLimits {
    /// How many workers run at once.
    pub max_workers: Option<NonZeroUsize>,
    /// How many workers that have ended are kept.
    pub max_ended_workers: Option<NonZeroUsize>,
    /// How long a worker that has ended is kept.
    #[serde(deserialize_with = "duration")]
    pub keep_ended: Option<Duration>,
    /// How long a stopped worker may take to end before it is killed.
    #[serde(deserialize_with = "duration")]
    pub stop_grace: Option<Duration>,
    /// How many items of a worker's transcript are kept.
    pub max_transcript_items: Option<NonZeroUsize>,
    /// How many bytes of a worker's transcript are kept.
    pub max_transcript_bytes: Option<NonZeroUsize>,
    /// How many bytes of all transcripts are kept in memory.
    pub max_total_transcript_bytes: Option<NonZeroUsize>,
    /// How many events of a worker are kept for streams that come back.
    pub max_backlog_events: Option<NonZeroUsize>,
    /// How many bytes of them are kept.
    pub max_backlog_bytes: Option<NonZeroUsize>,
    /// How many bytes of them are kept of all workers.
    pub max_total_backlog_bytes: Option<NonZeroUsize>,
    /// How many streams are open at once.
    pub max_subscriptions: Option<NonZeroUsize>,
    /// How many connections a runtime of its own has that are no streams.
    pub max_connections: Option<NonZeroUsize>,
    /// How many bytes the bodies of requests under way to a runtime of its own take.
    pub max_total_body_bytes: Option<NonZeroUsize>,
}

/// A time, as in `"5s"` or `"30 days"`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected = || de::Error::custom("expected a time, as in \"5s\", \"10 min\" or \"30 days\"");
    humantime::parse_duration(&text).map(Some).map_err(|_| expected())
}
