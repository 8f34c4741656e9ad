//! What a journal takes in and gives back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{WorkerEnd, WorkerStatus};
use serde::{Deserialize, Serialize};

/// The number of a worker within its store: the place of the event that told of its creation, which no other worker
/// has, and which orders workers by age.
pub type WorkerNo = i64;

/// A moment: milliseconds since 1970, UTC.
pub type Millis = i64;

/// Something to be kept. What is noted in one go is kept as a whole or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Record {
    /// A new worker, or one of which something has changed.
    Worker(Box<WorkerRow>),
    /// A worker that is to be forgotten with all that is kept of it.
    Forget(WorkerNo),
    /// The next event of a worker's stream.
    Event(EventRow),
    /// The next item of a worker's transcript.
    Item(ItemRow),
    /// What a command with an idempotency key was answered.
    Answer(AnswerRow),
    /// That there is no answer under this idempotency key any more: what it said has turned out not to be so.
    Unanswered(Arc<str>),
    /// What had to be given up because it could not be written for too long.
    #[doc(hidden)]
    Lost(LostRow),
}

/// The end of what could not be kept of a worker. Everything before it goes with it, so that there is no hole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[doc(hidden)]
pub struct LostRow {
    pub(crate) worker: WorkerNo,
    pub(crate) items_gone: u64,
    pub(crate) events_after: u64,
}

impl Record {
    /// About how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        const BASE: usize = size_of::<Record>();
        BASE + match self {
            Self::Worker(worker) => size_of::<WorkerRow>() + worker.request.len(),
            Self::Forget(_) | Self::Lost(_) => 0,
            Self::Event(event) => match &event.payload {
                Payload::Json(json) => json.len(),
                Payload::Lines { .. } => 0,
            },
            Self::Item(item) => item.content.len(),
            Self::Unanswered(key) => key.len(),
            Self::Answer(answer) => answer.reply.len() + answer.key.len(),
        }
    }
}

/// A worker, but for what its events and items tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerRow {
    /// Its number.
    pub no: WorkerNo,
    /// Its id.
    pub worker_id: WorkerId,
    /// Its status.
    pub status: WorkerStatus,
    /// What it was created with, as JSON.
    pub request: Arc<str>,
    /// What its creator called it.
    pub name: Option<String>,
    /// What its creator filed it under.
    pub labels: BTreeMap<String, String>,
    /// When it was created.
    pub created_at: Millis,
    /// When its process started.
    pub started_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// The order to end it, while it runs all the same.
    pub stopping: Option<Stopping>,
    /// The event that first told of its end, which a repeated stop or cancel is answered with.
    pub ended_by: Option<u64>,
    /// How it ended.
    pub end: Option<WorkerEnd>,
    /// What is kept of it where it is an agent, its questions that wait for an answer included: JSON, in a form that its
    /// caller chooses.
    pub agent: Option<Arc<str>>,
}

/// An order to end a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stopping {
    /// Whether it is to end at once.
    pub cancel: bool,
    /// Why, in the words of the client.
    pub reason: Option<String>,
    /// The event that told of it.
    pub event_id: u64,
}

/// How far a worker's events and items go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// The place of its newest event, 0 where there is none.
    pub last_event_id: u64,
    /// No event up to this place is kept.
    pub events_after: u64,
    /// The sequence of the newest item, and so how many there ever were.
    pub items: u64,
    /// How many items of the beginning are gone.
    pub items_gone: u64,
    /// When it last wrote something.
    pub last_output_at: Option<Millis>,
}

/// An event of a worker's stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    /// Whose it is.
    pub worker: WorkerNo,
    /// Its place: larger than that of every event of this worker before.
    pub place: u64,
    /// When it happened.
    pub at: Millis,
    /// Whether it tells of something that the worker wrote.
    pub output: bool,
    /// What it tells.
    pub payload: Payload,
}

/// What an event tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// The payload in the form of v1, `{"event":…,"data":…}`.
    Json(Arc<str>),
    /// A `text_delta` of items that are kept beside it, so that their text is kept once.
    Lines {
        /// The sequence of the first item.
        first: u64,
        /// How many items follow each other, with a line feed between each two.
        count: u64,
        /// Whether a line feed follows the last, too.
        ended: bool,
    },
}

/// An item of a worker's transcript.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ItemRow {
    /// Whose it is.
    pub worker: WorkerNo,
    /// Counts from 1 within the worker.
    pub sequence: u64,
    /// The event that told it.
    pub place: u64,
    /// When it was said.
    pub at: Millis,
    /// Who said it.
    pub role: Cow<'static, str>,
    /// Whether it goes on with the item before it.
    pub cont: bool,
    /// What was said.
    pub content: Arc<str>,
}

/// What a command with an idempotency key was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnswerRow {
    /// The key.
    pub key: Arc<str>,
    /// When it was answered.
    pub at: Millis,
    /// The worker that the command was about; `None` for a create.
    pub worker: Option<WorkerNo>,
    /// What stands for the command.
    pub fingerprint: [u8; 32],
    /// The answer, in a form that its caller chooses.
    pub reply: Arc<str>,
}

/// The newest events of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredEvents {
    /// The place of the event before the first of them, from which one can go on as well; `None` where there never was
    /// one.
    pub before: Option<u64>,
    /// The events, oldest first.
    pub events: Vec<StoredEvent>,
}

/// An event as it is read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its place.
    pub place: u64,
    /// When it happened.
    pub at: Millis,
    /// The payload in the form of v1.
    pub payload: String,
}
