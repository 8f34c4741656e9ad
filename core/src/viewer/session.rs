//! The life of one viewer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::link::{Due, Link};
use super::message::{Closing, ViewerInput, ViewerOutput, ViewerWait};
use super::replays::{Seat, Turn};
use super::{REPLAY_PATIENCE, REPLAY_TURN, REPLAY_WAITS, StreamContext};
use crate::browser_api::{ClientAddress, StreamRequest};
use crate::cursor::UpstreamCursor;
use crate::error::{Error, ErrorKind};
use crate::feed::{Feed, FeedPosition, Join, Next, caught_up};
use crate::id::WorkerRef;
use crate::registry::Registry;

/// One viewer of one worker. See the [module](super).
pub struct ViewerSession {
    context: Arc<StreamContext>,
    worker: WorkerRef,
    client: Option<ClientAddress>,
    link: Link,
    stage: Stage,
    /// Why the shared stream has ended, if it has.
    stream_ended: Option<Error>,
    outputs: VecDeque<ViewerOutput>,
}

enum Stage {
    /// Not yet in the feed.
    Joining(Option<UpstreamCursor>),
    /// Waits for its turn to have a replay stream.
    Waiting(Box<Waiting>),
    /// On a replay stream, until it meets the feed.
    Replaying(Box<Replaying>),
    /// In the feed.
    Following(FeedPosition),
    Ended,
}

struct Waiting {
    seat: Seat,
    cursor: Option<UpstreamCursor>,
    since: Instant,
}

struct Replaying {
    seat: Seat,
    /// In the feed of the replay stream.
    position: FeedPosition,
    /// The cursor of the last frame shown; none before the first snapshot.
    cursor: Option<UpstreamCursor>,
    /// Whether a gap was told whose snapshot has not come.
    after_gap: bool,
    /// Why the replay stream has ended, if it has.
    ended: Option<Error>,
}

impl ViewerSession {
    /// Lets a viewer in.
    ///
    /// # Errors
    ///
    /// [`TooManyViewers`](ErrorKind::TooManyViewers), [`UnknownRuntime`](ErrorKind::UnknownRuntime),
    /// [`Denied`](ErrorKind::Denied), [`CursorMalformed`](ErrorKind::CursorMalformed) and
    /// [`CursorUnknown`](ErrorKind::CursorUnknown).
    pub fn open(
        now: Instant,
        context: &Arc<StreamContext>,
        registry: &Registry,
        request: StreamRequest,
    ) -> Result<Self, Error> {
        let StreamRequest { worker, cursor, client } = request;
        let link = context.admit(now)?;
        registry.permit_observation(&*context.policy, &worker)?;
        let open = |cursor: String| context.encoder(worker.clone()).open(&cursor);
        let cursor = cursor.map(open).transpose()?;
        Ok(Self {
            context: context.clone(),
            worker,
            client,
            link,
            stage: Stage::Joining(cursor),
            stream_ended: None,
            outputs: VecDeque::new(),
        })
    }

    /// The worker that is seen.
    pub fn worker(&self) -> &WorkerRef {
        &self.worker
    }

    /// Whether it is in the feed, and no longer on its way there.
    pub fn is_following(&self) -> bool {
        matches!(self.stage, Stage::Following(_))
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: ViewerInput) {
        match input {
            ViewerInput::Written => self.link.written(now),
            _ if matches!(self.stage, Stage::Ended) => {}
            ViewerInput::ReplayEnded(error) => {
                if let Stage::Replaying(replay) = &mut self.stage {
                    replay.ended.get_or_insert(error);
                }
            }
            ViewerInput::StreamEnded(error) => drop(self.stream_ended.get_or_insert(error)),
            ViewerInput::Pong => self.link.pong(),
            ViewerInput::Message => self.end(Some(Error::new(ErrorKind::ObservationOnly))),
            ViewerInput::Drain => self.link.drain(now),
            ViewerInput::Gone => {
                self.outputs.clear();
                self.end(None);
            }
        }
    }

    /// What to do next. To be called until it says to wait, or that this is the end. `feed` is the worker's, the same
    /// one each time, and `replay` that of the replay stream, while there is one.
    pub fn poll(&mut self, now: Instant, feed: &Feed, replay: Option<&Feed>) -> ViewerOutput {
        if let Some((until, why)) = self.link.writing(now) {
            return ViewerOutput::Wait { until, why };
        }
        if self.outputs.is_empty() && !matches!(self.stage, Stage::Ended) {
            self.advance(now, feed, replay);
        }
        let output = match self.outputs.pop_front() {
            Some(output) => output,
            None if matches!(self.stage, Stage::Ended) => ViewerOutput::End(None),
            None => self.wait(now),
        };
        match &output {
            ViewerOutput::Frame(item) => self.link.writes(now, item.text().len()),
            ViewerOutput::Ping => self.link.writes(now, 0),
            _ => {}
        }
        output
    }

    fn advance(&mut self, now: Instant, feed: &Feed, replay: Option<&Feed>) {
        match self.link.due(now) {
            Some(Due::Overdue) => return self.end(None),
            Some(Due::Ping) => return self.outputs.push_back(ViewerOutput::Ping),
            Some(Due::Leave) => return self.end(Some(Error::new(ErrorKind::GoingAway))),
            None => {}
        }
        self.join(now, feed);
        if self.outputs.is_empty() {
            self.go_on(now, feed, replay);
        }
        if self.outputs.is_empty()
            && let Some(error) = self.stream_ended.take()
        {
            self.end(Some(error));
        }
    }

    /// Takes what is next, wherever that comes from.
    fn go_on(&mut self, now: Instant, feed: &Feed, replay: Option<&Feed>) {
        match &mut self.stage {
            Stage::Waiting(waiting) if waiting.seat.turn(now) == Turn::Runs => self.open_replay(),
            Stage::Waiting(waiting) if now >= waiting.since + REPLAY_PATIENCE => {
                self.end(Some(Error::new(ErrorKind::TooManyViewers).with_retry_after(Some(REPLAY_TURN))));
            }
            Stage::Replaying(_) => self.replay_next(replay),
            Stage::Following(position) => match feed.next(position) {
                Next::Frame(item) => self.outputs.push_back(ViewerOutput::Frame(item)),
                Next::CaughtUp => self.outputs.push_back(ViewerOutput::Frame(caught_up())),
                Next::Lagged => self.end(Some(Error::new(ErrorKind::ViewerLagged))),
                Next::Nothing => {}
            },
            Stage::Waiting(_) | Stage::Joining(_) | Stage::Ended => {}
        }
    }

    /// Goes on in the feed, where that has what this viewer needs next.
    fn join(&mut self, now: Instant, feed: &Feed) {
        let cursor = match &self.stage {
            Stage::Joining(cursor) => cursor.as_ref(),
            Stage::Waiting(waiting) => waiting.cursor.as_ref(),
            Stage::Replaying(replay) if !replay.after_gap => replay.cursor.as_ref(),
            Stage::Replaying(_) | Stage::Following(_) | Stage::Ended => return,
        };
        match feed.join(cursor) {
            Join::Ready(position, snapshot) => {
                let before = std::mem::replace(&mut self.stage, Stage::Following(position));
                if let Stage::Replaying(_) = before {
                    self.outputs.push_back(ViewerOutput::CloseReplay);
                }
                self.outputs.extend(snapshot.map(ViewerOutput::Frame));
            }
            Join::NotYet => {}
            Join::NeedsSnapshot | Join::NeedsReplay => {
                let Stage::Joining(cursor) = &mut self.stage else { return };
                let cursor = cursor.take();
                let seat = self.context.replays.ask(&self.worker, cursor.as_ref(), self.client);
                self.stage = Stage::Waiting(Box::new(Waiting { seat, cursor, since: now }));
            }
        }
    }

    fn open_replay(&mut self) {
        let Stage::Waiting(waiting) = std::mem::replace(&mut self.stage, Stage::Ended) else { return };
        let Waiting { seat, cursor, .. } = *waiting;
        self.outputs.push_back(ViewerOutput::OpenReplay(seat.order()));
        let position = FeedPosition::of_first();
        let replay = Replaying { seat, position, cursor, after_gap: false, ended: None };
        self.stage = Stage::Replaying(Box::new(replay));
    }

    /// Takes what is next in the replay stream, or leaves it where it has to make room or has gone on without this
    /// viewer, to ask for another from here.
    fn replay_next(&mut self, feed: Option<&Feed>) {
        let Stage::Replaying(replay) = &mut self.stage else { return };
        let next = loop {
            if replay.seat.wants(replay.position.number()) {
                self.outputs.push_back(ViewerOutput::WakeReplay);
            }
            let next = match feed {
                _ if replay.seat.is_over() => break Next::Lagged,
                Some(feed) => feed.next(&mut replay.position),
                None => break Next::Nothing,
            };
            // An outage of the replay stream is none of the feed's, which would never say that it is over.
            if !matches!(&next, Next::Frame(item) if item.is_notice()) {
                break next;
            }
        };
        match next {
            Next::Frame(item) => {
                replay.after_gap = item.upstream_cursor().is_none();
                if let Some(cursor) = item.upstream_cursor() {
                    replay.cursor = Some(cursor.clone());
                }
                self.outputs.push_back(ViewerOutput::Frame(item));
            }
            Next::Lagged => {
                let cursor = replay.cursor.take().filter(|_| !replay.after_gap);
                self.stage = Stage::Joining(cursor);
                self.outputs.push_back(ViewerOutput::CloseReplay);
            }
            Next::Nothing | Next::CaughtUp => {
                if let Some(error) = replay.ended.take() {
                    self.end(Some(error));
                }
            }
        }
    }

    fn wait(&mut self, now: Instant) -> ViewerOutput {
        let (until, why) = self.link.wait(now);
        let turn = matches!(self.stage, Stage::Waiting(_)).then(|| now + REPLAY_WAITS);
        match turn.filter(|at| *at < until) {
            Some(until) => ViewerOutput::Wait { until, why: ViewerWait::Turn },
            None => ViewerOutput::Wait { until, why },
        }
    }

    fn end(&mut self, error: Option<Error>) {
        self.stage = Stage::Ended;
        self.outputs.push_back(ViewerOutput::End(error.map(Closing)));
    }
}

impl fmt::Debug for ViewerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Joining(_) => "joining",
            Stage::Waiting(_) => "waiting",
            Stage::Replaying(_) => "replaying",
            Stage::Following(_) => "following",
            Stage::Ended => "ended",
        };
        f.debug_struct("ViewerSession")
            .field("worker", &self.worker)
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
