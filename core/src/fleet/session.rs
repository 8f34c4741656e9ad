//! The life of one viewer of all workers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::encoded;
use super::feed::{FleetFeed, Next, Shown};
use crate::browser_api::FleetFrame;
use crate::error::{Error, ErrorKind};
use crate::feed::Item;
use crate::viewer::{Closing, Due, Link, StreamContext, ViewerInput, ViewerWait};

/// One viewer of all workers. It counts among the viewers of the gateway, and is driven as a
/// [`ViewerSession`](crate::viewer::ViewerSession) is.
pub struct FleetSession {
    link: Link,
    stage: Stage,
    ended: Option<Option<Error>>,
}

enum Stage {
    /// Waits for a state of everything.
    Joining,
    /// Is shown these runtimes, and then the changes after this one.
    Beginning(VecDeque<Arc<Shown>>, u64),
    /// Has been shown everything up to this change.
    Following(u64),
}

/// What the session says.
#[derive(Clone, Debug)]
pub enum FleetSessionOutput {
    /// Write this frame.
    Frame(Item),
    /// Ping the viewer.
    Ping,
    /// Nothing to do before this instant, but for what is heard and for what the feed has.
    Wait {
        /// When to poll again at the latest.
        until: Instant,
        /// What happens then.
        why: ViewerWait,
    },
    /// The end: how to close, or `None` where the viewer is gone.
    End(Option<Closing>),
}

impl FleetSession {
    /// Lets a viewer in.
    ///
    /// # Errors
    ///
    /// [`TooManyViewers`](ErrorKind::TooManyViewers).
    pub fn open(now: Instant, context: &StreamContext) -> Result<Self, Error> {
        Ok(Self { link: context.admit(now)?, stage: Stage::Joining, ended: None })
    }

    /// Takes what happened. There are no replays here.
    pub fn handle(&mut self, now: Instant, input: ViewerInput) {
        match input {
            ViewerInput::Written => self.link.written(now),
            ViewerInput::Pong => self.link.pong(),
            ViewerInput::Message => self.end(Some(Error::new(ErrorKind::ObservationOnly))),
            ViewerInput::StreamEnded(error) => self.end(Some(error)),
            ViewerInput::ReplayEnded(_) => {}
            ViewerInput::Drain => self.link.drain(now),
            ViewerInput::Gone => self.end(None),
        }
    }

    fn end(&mut self, error: Option<Error>) {
        self.ended.get_or_insert(error);
    }

    /// What to do next. To be called until it says to wait, or that this is the end.
    pub fn poll(&mut self, now: Instant, feed: &FleetFeed) -> FleetSessionOutput {
        if let Some((until, why)) = self.link.writing(now) {
            return FleetSessionOutput::Wait { until, why };
        }
        if self.ended.is_none() {
            match self.link.due(now) {
                Some(Due::Ping) => {
                    self.link.writes(now, 0);
                    return FleetSessionOutput::Ping;
                }
                Some(Due::Overdue) => self.end(None),
                Some(Due::Leave) => self.end(Some(Error::new(ErrorKind::GoingAway))),
                None => {}
            }
        }
        if let Some(ended) = &mut self.ended {
            return FleetSessionOutput::End(ended.take().map(Closing::from));
        }
        match self.next(feed) {
            Some(frame) => {
                self.link.writes(now, frame.text().len());
                FleetSessionOutput::Frame(frame)
            }
            None => {
                let (until, why) = self.link.wait(now);
                FleetSessionOutput::Wait { until, why }
            }
        }
    }

    fn next(&mut self, feed: &FleetFeed) -> Option<Item> {
        if let Stage::Beginning(runtimes, position) = &mut self.stage {
            match runtimes.pop_front() {
                Some(shown) => return Some(shown.frame()),
                None => self.stage = Stage::Following(*position),
            }
        }
        if let Stage::Following(position) = &mut self.stage {
            match feed.after(*position) {
                Next::Change(change) => {
                    *position += 1;
                    return Some(change);
                }
                Next::Nothing => return None,
                Next::Lagged => self.stage = Stage::Joining,
            }
        }
        let (position, runtimes) = feed.snapshot()?;
        let count = runtimes.len() as u64;
        self.stage = Stage::Beginning(runtimes, position);
        Some(encoded(&FleetFrame::Snapshot { position, runtimes: count }))
    }
}

impl std::fmt::Debug for FleetSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stage = match self.stage {
            Stage::Joining => "joining",
            Stage::Beginning(..) => "beginning",
            Stage::Following(_) => "following",
        };
        f.debug_struct("FleetSession").field("stage", &stage).finish_non_exhaustive()
    }
}
