//! The life of the stream that all viewers of a worker share.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use super::{FeedCopy, FeedUpdate, LINGER, StreamContext};
use crate::error::{Error, ErrorKind};
use crate::feed::{Encoder, Feed};
use crate::id::WorkerRef;
use crate::registry::Registry;
use crate::watch::{OnExpiredCursor, Watch, WatchEvent};

/// What a shared stream hears.
#[derive(Clone, Debug)]
pub enum SharedStreamInput {
    /// What happened next on its watch.
    Watch(WatchEvent),
    /// Its watch has ended.
    WatchEnded(Result<(), Error>),
    /// It has a viewer, or a replica that has viewers.
    Viewed,
    /// It has neither any more. To be fed when the last one leaves; a replica that takes another copy does not leave.
    Unviewed,
}

/// What a shared stream says.
#[derive(Clone, Debug)]
pub enum SharedStreamOutput {
    /// Tell the registry how the runtime can be observed, with [`Registry::observed`].
    Observed(Result<(), Error>),
    /// Tell the replicas and viewers that there is something new.
    Update(FeedUpdate),
    /// Nothing to do but for what is heard, before this instant if there is one.
    Wait {
        /// When to poll again at the latest; `None` where only an input can change anything.
        until: Option<Instant>,
        /// What happens then.
        why: SharedStreamWait,
    },
    /// The end: drop the watch and the stream. A viewer that comes later gets another stream.
    End,
}

/// What a shared stream waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SharedStreamWait {
    /// For its watch.
    Watch,
    /// For a viewer, or for [`LINGER`] to be over.
    Linger,
}

/// The stream of one worker: a [`Watch`] from a snapshot on, and the [`Feed`] of what it says.
///
/// A driver [makes](SharedStream::watch) the watch and drives it, feeds what it says, and obeys
/// [`SharedStream::poll`] until that says to wait, or that this is the end. Viewers read [`SharedStream::feed`], or a
/// [`FeedReplica`](super::FeedReplica) that begins with a [`SharedStream::copy`] and takes each [`FeedUpdate`].
pub struct SharedStream {
    worker: WorkerRef,
    generation: u64,
    encoder: Encoder,
    feed: Feed,
    /// Since when it has had no viewer.
    unviewed_since: Option<Instant>,
    ended: Option<Error>,
    /// Whether [`SharedStreamOutput::End`] is to be said once the outputs before it are.
    over: bool,
    outputs: VecDeque<SharedStreamOutput>,
}

impl SharedStream {
    /// A stream without a viewer. `generation` tells it from the other streams of the same worker at this gateway, the
    /// frames of which are numbered anew.
    pub fn new(now: Instant, context: &StreamContext, worker: WorkerRef, generation: u64) -> Self {
        Self {
            generation,
            encoder: context.encoder(worker.clone()),
            worker,
            feed: Feed::new(context.limits),
            unviewed_since: Some(now),
            ended: None,
            over: false,
            outputs: VecDeque::new(),
        }
    }

    /// The watch that it is fed from. An error is to be fed with [`SharedStreamInput::WatchEnded`].
    pub fn watch(&self, now: Instant, registry: &mut Registry) -> Result<Watch, Error> {
        registry.watch(now, &self.worker, None, OnExpiredCursor::Resynchronize)
    }

    /// The worker that is seen.
    pub fn worker(&self) -> &WorkerRef {
        &self.worker
    }

    /// What tells it from the other streams of the same worker.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The feed of its viewers.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Why it has ended, if it has.
    pub fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// The feed as it is, for a replica. Every [`FeedUpdate`] from now on follows it.
    pub fn copy(&self) -> FeedCopy {
        FeedCopy::of(self)
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: SharedStreamInput) {
        if self.over {
            return;
        }
        match input {
            SharedStreamInput::Watch(event) => {
                if event == WatchEvent::Live {
                    self.outputs.push_back(SharedStreamOutput::Observed(Ok(())));
                }
                if let Some(item) = self.encoder.encode(event) {
                    self.feed.apply(item.clone());
                    self.outputs.push_back(SharedStreamOutput::Update(FeedUpdate::Frame(item)));
                }
            }
            SharedStreamInput::WatchEnded(result) => {
                self.outputs.push_back(SharedStreamOutput::Observed(result.clone()));
                // Nothing tells a shared stream's watch to stop: it is dropped.
                let error = result.err().unwrap_or_else(|| Error::new(ErrorKind::Internal));
                self.ended = Some(error.clone());
                self.outputs.push_back(SharedStreamOutput::Update(FeedUpdate::Ended(error)));
                self.over = true;
            }
            SharedStreamInput::Viewed => self.unviewed_since = None,
            SharedStreamInput::Unviewed => drop(self.unviewed_since.get_or_insert(now)),
        }
    }

    /// What to do next. To be called until it says to wait, or that this is the end.
    pub fn poll(&mut self, now: Instant) -> SharedStreamOutput {
        let until = self.unviewed_since.map(|since| since + LINGER);
        self.over |= until.is_some_and(|until| until <= now);
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let why = match until {
            Some(_) => SharedStreamWait::Linger,
            None => SharedStreamWait::Watch,
        };
        match self.over {
            true => SharedStreamOutput::End,
            false => SharedStreamOutput::Wait { until, why },
        }
    }
}

impl fmt::Debug for SharedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStream")
            .field("worker", &self.worker)
            .field("generation", &self.generation)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
