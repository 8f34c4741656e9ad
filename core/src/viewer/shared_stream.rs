//! The life of the stream that all viewers of a worker share.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use super::replays::Running;
use super::{
    CATCH_UP_TIMEOUT, FeedCopy, FeedUpdate, LINGER, MIN_RING, REPLAY_AHEAD, REPLAY_AHEAD_BYTES, REPLAY_LOOKS,
    ReplayOrder, StreamContext,
};
use crate::error::{Error, ErrorKind};
use crate::feed::{Encoder, Feed};
use crate::id::WorkerRef;
use crate::memory::Memory;
use crate::registry::Registry;
use crate::watch::{OnExpiredCursor, Watch, WatchEvent};

/// What a shared stream hears.
#[derive(Clone, Debug)]
pub enum SharedStreamInput {
    /// What happened next on its watch.
    Watch(WatchEvent),
    /// Its watch has ended.
    WatchEnded(Result<(), Error>),
    /// It is to end for this reason, which says nothing about its runtime.
    End(Error),
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
    /// For its watch, or for a replay to have come to a cursor that the worker's feed has.
    CatchUp,
    /// For its viewers. Its watch is not to be heard now.
    Pace,
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
    /// What the frames of all feeds take.
    memory: Memory,
    /// Since when it has had no viewer.
    unviewed_since: Option<Instant>,
    ended: Option<Error>,
    /// Whether [`SharedStreamOutput::End`] is to be said once the outputs before it are.
    over: bool,
    outputs: VecDeque<SharedStreamOutput>,
    /// What it is besides where it is a replay.
    replay: Option<Replay>,
}

struct Replay {
    order: ReplayOrder,
    running: Running,
    /// Since when it has been open and silent; `None` while it is not open.
    silent_since: Option<Instant>,
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
            memory: context.frames.clone(),
            unviewed_since: Some(now),
            ended: None,
            over: false,
            outputs: VecDeque::new(),
            replay: None,
        }
    }

    /// A replay stream for the viewers that want this one. It ends when the last of them has left, when others need its
    /// place, and when it is open and silent for [`CATCH_UP_TIMEOUT`].
    pub fn replay(now: Instant, context: &StreamContext, order: ReplayOrder, generation: u64) -> Self {
        let running = order.begin();
        let stream = Self::new(now, context, order.worker().clone(), generation);
        let feed = Feed::of_replay(context.replay_limits());
        let replay = Some(Replay { order, running, silent_since: None });
        Self { unviewed_since: None, feed, replay, ..stream }
    }

    /// The watch that it is fed from. An error is to be fed with [`SharedStreamInput::WatchEnded`].
    pub fn watch(&self, now: Instant, registry: &mut Registry) -> Result<Watch, Error> {
        let (cursor, on_expired) = match &self.replay {
            Some(Replay { order, .. }) => (order.cursor().cloned(), order.on_expired()),
            None => (None, OnExpiredCursor::Resynchronize),
        };
        registry.watch(now, &self.worker, cursor, on_expired)
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
            SharedStreamInput::Watch(event) => self.heard(now, event),
            SharedStreamInput::WatchEnded(result) => {
                self.observed(result.clone());
                // Nothing tells a shared stream's watch to stop: it is dropped.
                self.ends(result.err().unwrap_or_else(|| Error::new(ErrorKind::Internal)));
            }
            SharedStreamInput::End(error) => self.ends(error),
            SharedStreamInput::Viewed => self.unviewed_since = None,
            // The viewers of a replay say it themselves.
            SharedStreamInput::Unviewed if self.replay.is_some() => {}
            SharedStreamInput::Unviewed => drop(self.unviewed_since.get_or_insert(now)),
        }
    }

    fn heard(&mut self, now: Instant, event: WatchEvent) {
        if let Some(replay) = &mut self.replay {
            replay.silent_since = match event {
                WatchEvent::Disconnected { .. } => None,
                WatchEvent::Live => Some(now),
                _ => replay.silent_since.map(|_| now),
            };
        }
        if event == WatchEvent::Live {
            self.observed(Ok(()));
        }
        let Some(item) = self.encoder.encode(event) else { return };
        let bytes = item.event().len();
        self.feed.apply(item.clone());
        if let Some(replay) = self.replay.as_ref().filter(|_| !self.feed.is_complete()) {
            replay.running.closes();
        }
        self.outputs.push_back(SharedStreamOutput::Update(FeedUpdate::Frame(item)));
        if self.memory.is_exceeded() && self.replay.is_none() {
            // More than has come, so that all feeds together come back to what they may have.
            let (_, retained) = self.feed.retained();
            let shrunk = self.feed.shrink(retained.saturating_sub(2 * bytes).max(MIN_RING));
            let update = shrunk.map(|first| SharedStreamOutput::Update(FeedUpdate::Shrunk(first)));
            self.outputs.extend(update);
        }
    }

    /// Tells the registry; of a replay's failure it learns from the worker's own stream if at all.
    fn observed(&mut self, result: Result<(), Error>) {
        if self.replay.is_none() {
            self.outputs.push_back(SharedStreamOutput::Observed(result));
        }
    }

    fn ends(&mut self, error: Error) {
        self.ended = Some(error.clone());
        self.outputs.push_back(SharedStreamOutput::Update(FeedUpdate::Ended(error)));
        self.over = true;
    }

    /// What to do next. To be called until it says to wait, or that this is the end.
    pub fn poll(&mut self, now: Instant) -> SharedStreamOutput {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let (until, why) = match &mut self.replay {
            Some(replay) => replay.wait(now, &self.feed),
            None => match self.unviewed_since {
                Some(since) => (Some(since + LINGER), SharedStreamWait::Linger),
                None => (None, SharedStreamWait::Watch),
            },
        };
        if !self.over && until.is_some_and(|until| until <= now) {
            match why {
                SharedStreamWait::CatchUp => {
                    self.ends(Error::new(ErrorKind::CursorExpired));
                    return self.poll(now);
                }
                _ => self.over = true,
            }
        }
        self.over |= self.replay.as_ref().is_some_and(|replay| replay.running.is_over());
        if !self.over {
            return SharedStreamOutput::Wait { until, why };
        }
        // A driver may keep the stream for what its feed still has.
        self.replay.iter().for_each(|replay| replay.running.end());
        SharedStreamOutput::End
    }
}

impl Replay {
    fn wait(&mut self, now: Instant, feed: &Feed) -> (Option<Instant>, SharedStreamWait) {
        let look = now + REPLAY_LOOKS;
        if self.running.wanted() < feed.end() {
            // While its viewers do not read, it is not the runtime that is silent.
            self.silent_since = self.silent_since.map(|_| now);
        }
        let (frames, bytes) = feed.ahead_of(self.running.wanted(), REPLAY_AHEAD);
        if frames >= REPLAY_AHEAD || bytes >= REPLAY_AHEAD_BYTES {
            // It goes on when half of that has been taken.
            let half = feed.end() - frames.min(REPLAY_AHEAD) as u64 / 2;
            if self.running.waits_for(half) {
                return (Some(look), SharedStreamWait::Pace);
            }
        }
        match self.silent_since.map(|since| since + CATCH_UP_TIMEOUT) {
            Some(until) if until <= look => (Some(until), SharedStreamWait::CatchUp),
            _ => (Some(look), SharedStreamWait::Watch),
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
