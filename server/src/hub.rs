//! One stream per worker, however many viewers, on however many loops.
//!
//! The worker's name says which loop [watches](Hub::watch) it. The other loops [follow](FeedReplica): each gets the feed
//! as it is and then one message per frame, and keeps a ring of its own for its own viewers. The frames themselves are
//! shared.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sekisho_core::cursor::{CursorKey, UpstreamCursor};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::{Encoder, Feed, FeedLimits, Item};
use sekisho_core::id::WorkerRef;
use sekisho_core::watch::{OnExpiredCursor, WatchEvent};
use sekisho_transport_tokio::WatchDriver;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::gateway::Gateway;

/// How long a stream outlives its last viewer.
const LINGER: Duration = Duration::from_secs(30);

/// How many frames a loop may lag behind the one that watches, before it asks for the feed as a whole again.
const MAX_BEHIND: usize = 256;

/// How many loops may wait for an answer of one that watches.
pub(crate) const MAX_SUBSCRIBING: usize = 1024;

/// Asks the loop that watches a worker for its stream.
pub(crate) struct Subscribe {
    worker: WorkerRef,
    reply: oneshot::Sender<Subscription>,
}

struct Subscription {
    /// Which of the worker's streams it is: frames are numbered anew in each.
    stream: u64,
    /// What the feed has now.
    feed: Feed,
    /// What it gets from now on.
    told: broadcast::Receiver<FeedUpdate>,
}

#[derive(Clone)]
enum FeedUpdate {
    Item(Item),
    Ended(Error),
}

/// What all hubs are made with.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) key: CursorKey,
    pub(crate) limits: FeedLimits,
    /// How each loop is asked.
    pub(crate) loops: Arc<[mpsc::Sender<Subscribe>]>,
}

/// The streams of one loop: those that it watches, and those that its viewers see.
pub(crate) struct Hub {
    streams: Streams,
    watched: RefCell<BTreeMap<WorkerRef, Rc<Watched>>>,
    followed: RefCell<BTreeMap<WorkerRef, Weak<FeedReplica>>>,
    /// How many streams this loop has begun to watch.
    begun: Cell<u64>,
}

/// A worker that this loop watches.
struct Watched {
    stream: u64,
    feed: RefCell<Feed>,
    told: broadcast::Sender<FeedUpdate>,
    /// How often somebody has come.
    arrivals: Cell<u64>,
}

/// A worker's feed on a loop that has viewers of it.
pub(crate) struct FeedReplica {
    feed: RefCell<Feed>,
    changed: Notify,
    ended: RefCell<Option<Error>>,
    /// Tells the task that follows when the last viewer has gone.
    _viewed: oneshot::Sender<()>,
}

impl FeedReplica {
    /// The feed as it is.
    pub(crate) fn feed(&self) -> std::cell::Ref<'_, Feed> {
        self.feed.borrow()
    }

    /// Says when the feed has changed or ended.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Why it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.ended.borrow().clone()
    }

    fn end(&self, error: Error) {
        self.ended.borrow_mut().get_or_insert(error);
        self.changed.notify_waiters();
    }
}

impl Hub {
    pub(crate) fn new(streams: Streams) -> Self {
        Self { streams, watched: RefCell::default(), followed: RefCell::default(), begun: Cell::new(0) }
    }

    /// Makes the frames of a worker.
    pub(crate) fn encoder(&self, gateway: &Gateway, worker: &WorkerRef) -> Encoder {
        let Streams { key, limits, .. } = &self.streams;
        Encoder::new(key, worker.clone(), gateway.policy(), limits.max_event)
    }

    /// A stream of its own for one viewer, from `place` or, without one, from a snapshot.
    pub(crate) fn private(
        &self,
        gateway: &Gateway,
        worker: &WorkerRef,
        place: Option<UpstreamCursor>,
    ) -> Result<WatchDriver, Error> {
        let at_lost_place = match place {
            Some(_) => OnExpiredCursor::Stop,
            None => OnExpiredCursor::Resynchronize,
        };
        gateway.watch(worker, place, at_lost_place)
    }

    /// The feed of a worker for a viewer on this loop.
    pub(crate) fn follow(gateway: &Rc<Gateway>, worker: &WorkerRef) -> Rc<FeedReplica> {
        let hub = gateway.hub();
        let mut followed = hub.followed.borrow_mut();
        if let Some(local) =
            followed.get(worker).and_then(Weak::upgrade).filter(|local| local.ended().is_none())
        {
            return local;
        }
        let (viewed, unviewed) = oneshot::channel();
        let local = Rc::new(FeedReplica {
            feed: Feed::new(hub.streams.limits).into(),
            changed: Notify::new(),
            ended: RefCell::default(),
            _viewed: viewed,
        });
        followed.retain(|_, local| local.strong_count() > 0);
        followed.insert(worker.clone(), Rc::downgrade(&local));
        spawn_local(follow(gateway.clone(), worker.clone(), Rc::downgrade(&local), unviewed));
        local
    }

    fn watching_loop(&self, worker: &WorkerRef) -> &mpsc::Sender<Subscribe> {
        let mut hasher = DefaultHasher::new();
        worker.hash(&mut hasher);
        let loops = &self.streams.loops;
        &loops[hasher.finish() as usize % loops.len()]
    }

    /// Answers loops that ask for workers which this one watches, until there are none to ask.
    pub(crate) async fn answer(gateway: Rc<Gateway>, mut asked: mpsc::Receiver<Subscribe>) {
        while let Some(Subscribe { worker, reply }) = asked.recv().await {
            // Whoever asked may be gone by now.
            let _ = reply.send(Self::watch(&gateway, worker));
        }
    }

    fn watch(gateway: &Rc<Gateway>, worker: WorkerRef) -> Subscription {
        let hub = gateway.hub();
        let mut watched = hub.watched.borrow_mut();
        let known = watched.get(&worker).cloned();
        let watched = known.unwrap_or_else(|| {
            hub.begun.set(hub.begun.get() + 1);
            let entry = Rc::new(Watched {
                stream: hub.begun.get(),
                feed: Feed::new(hub.streams.limits).into(),
                told: broadcast::Sender::new(MAX_BEHIND),
                arrivals: Cell::new(0),
            });
            watched.insert(worker.clone(), entry.clone());
            spawn_local(watch(gateway.clone(), worker, entry.clone()));
            entry
        });
        watched.arrivals.set(watched.arrivals.get() + 1);
        Subscription {
            stream: watched.stream,
            feed: watched.feed.borrow().clone(),
            told: watched.told.subscribe(),
        }
    }
}

/// Watches a worker until its stream ends, or nobody has wanted to see it for [`LINGER`].
async fn watch(gateway: Rc<Gateway>, worker: WorkerRef, watched: Rc<Watched>) {
    let end = match gateway.watch(&worker, None, OnExpiredCursor::Resynchronize) {
        Ok(watching) => pump(&gateway, &worker, &watched, watching).await,
        Err(error) => Err(error),
    };
    gateway.hub().watched.borrow_mut().remove(&worker);
    if let Err(error) = end {
        // Nobody may be there to hear it.
        let _ = watched.told.send(FeedUpdate::Ended(error));
    }
}

async fn pump(
    gateway: &Gateway,
    worker: &WorkerRef,
    watched: &Watched,
    mut watching: WatchDriver,
) -> Result<(), Error> {
    let mut encoder = gateway.hub().encoder(gateway, worker);
    let mut abandoned = std::pin::pin!(abandoned(watched));
    loop {
        let event = tokio::select! {
            event = watching.next() => event,
            () = &mut abandoned => return Ok(()),
        };
        match event {
            Ok(event) => {
                if event == WatchEvent::Live {
                    gateway.observed(worker, Ok(()), watching.take_refreshed());
                }
                let Some(item) = encoder.encode(event) else { continue };
                watched.feed.borrow_mut().apply(item.clone());
                // Between the last viewer's going and the stream's end nobody is told.
                let _ = watched.told.send(FeedUpdate::Item(item));
            }
            Err(end) => {
                gateway.observed(worker, end.as_ref().copied(), watching.take_refreshed());
                return end;
            }
        }
    }
}

async fn abandoned(watched: &Watched) {
    loop {
        watched.told.closed().await;
        let arrivals = watched.arrivals.get();
        sleep(LINGER).await;
        if watched.told.receiver_count() == 0 && watched.arrivals.get() == arrivals {
            return;
        }
    }
}

/// Keeps a loop's feed of a worker as the loop that watches has it, until nobody views it or the stream has ended.
async fn follow(
    gateway: Rc<Gateway>,
    worker: WorkerRef,
    local: Weak<FeedReplica>,
    unviewed: oneshot::Receiver<()>,
) {
    let error = tokio::select! {
        error = copy(&gateway, &worker, &local) => error,
        _ = unviewed => return,
    };
    with(&local, |local| local.end(error));
}

async fn copy(gateway: &Gateway, worker: &WorkerRef, local: &Weak<FeedReplica>) -> Error {
    let mut stream = None;
    loop {
        let (reply, subscribed) = oneshot::channel();
        let subscribe = Subscribe { worker: worker.clone(), reply };
        // The loop that watches ends when all of them do.
        let gone = || Error::new(ErrorKind::GoingAway);
        if gateway.hub().watching_loop(worker).send(subscribe).await.is_err() {
            return gone();
        }
        let Ok(mut subscription) = subscribed.await else { return gone() };
        if *stream.get_or_insert(subscription.stream) != subscription.stream {
            return Error::new(ErrorKind::ViewerLagged);
        }
        with(local, |local| {
            *local.feed.borrow_mut() = subscription.feed;
            local.changed.notify_waiters();
        });
        loop {
            match subscription.told.recv().await {
                Ok(FeedUpdate::Item(item)) => with(local, |local| {
                    local.feed.borrow_mut().apply(item);
                    local.changed.notify_waiters();
                }),
                Ok(FeedUpdate::Ended(error)) => return error,
                // The feed as a whole has what was missed, or its viewers have lagged.
                Err(broadcast::error::RecvError::Lagged(_)) => break,
                Err(broadcast::error::RecvError::Closed) => return gone(),
            }
        }
    }
}

fn with(local: &Weak<FeedReplica>, act: impl FnOnce(&FeedReplica)) {
    if let Some(local) = local.upgrade() {
        act(&local);
    }
}

impl Gateway {
    pub(crate) fn watch(
        &self,
        worker: &WorkerRef,
        place: Option<UpstreamCursor>,
        at_lost_place: OnExpiredCursor,
    ) -> Result<WatchDriver, Error> {
        let watch = self.registry().borrow_mut().watch(Instant::now(), worker, place, at_lost_place)?;
        let transport = self.transport(&worker.runtime_id).ok_or_else(|| Error::new(ErrorKind::Internal))?;
        Ok(WatchDriver::new(watch, transport))
    }
}
