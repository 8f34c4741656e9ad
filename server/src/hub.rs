//! One stream per worker, however many viewers there are, on however many loops, and one for each place that viewers want
//! a replay from.
//!
//! The worker's name says which loop has its [streams](SharedStream). Viewers on that loop read the stream's own feed. Each
//! other loop with viewers of it has a copy, and gets one message for each frame. The frames are shared.

use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use sekisho_core::error::Error;
use sekisho_core::feed::Feed;
use sekisho_core::id::WorkerRef;
use sekisho_core::registry::Adopted;
use sekisho_core::viewer::{
    FeedCopy, FeedReplica, FeedUpdate, MAX_UPDATES_BEHIND, ReplayOrder, SharedStream, SharedStreamInput,
    SharedStreamOutput, SharedStreamWait, StreamContext,
};
use sekisho_core::watch::WatchEvent;
use sekisho_transport_tokio::WatchDriver;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::sleep_until;

use crate::upstreams::Upstreams;

/// How many loops may wait for an answer of one that has streams.
pub(crate) const MAX_SUBSCRIBING: usize = 1024;

/// Asks the loop that has a stream for its feed.
pub(crate) struct Subscribe {
    source: Source,
    reply: oneshot::Sender<Subscription>,
}

/// Which stream.
#[derive(Clone)]
enum Source {
    /// A worker's.
    Worker(WorkerRef),
    /// A replay.
    Replay(ReplayOrder),
}

/// What tells streams apart: the worker, and the number of the replay where it is one.
type Key = (WorkerRef, Option<u64>);

impl Source {
    fn worker(&self) -> &WorkerRef {
        match self {
            Self::Worker(worker) => worker,
            Self::Replay(order) => order.worker(),
        }
    }

    fn key(&self) -> Key {
        let number = match self {
            Self::Worker(_) => None,
            Self::Replay(order) => Some(order.number()),
        };
        (self.worker().clone(), number)
    }
}

struct Subscription {
    copy: FeedCopy,
    /// What follows the copy.
    updates: broadcast::Receiver<FeedUpdate>,
    /// Has the stream looked at.
    wake: Arc<Notify>,
}

/// The streams and replicas of one loop.
pub(crate) struct Hub {
    /// Of the loop.
    number: usize,
    upstreams: Rc<Upstreams>,
    context: Arc<StreamContext>,
    /// How each loop is asked.
    loops: Arc<[mpsc::Sender<Subscribe>]>,
    streams: RefCell<BTreeMap<Key, Rc<Stream>>>,
    replicas: RefCell<BTreeMap<Key, Weak<Replica>>>,
    generations: Cell<u64>,
}

/// A stream that this loop has.
struct Stream {
    shared: RefCell<SharedStream>,
    updates: broadcast::Sender<FeedUpdate>,
    /// Says that a replica has come or gone, or that a replay is waited for.
    wake: Arc<Notify>,
}

/// A stream's feed on a loop that has viewers of it.
pub(crate) struct Replica {
    /// The copy of the feed, and whether it has ended.
    state: RefCell<FeedReplica>,
    /// The stream itself, where this loop has it.
    stream: OnceCell<Rc<Stream>>,
    changed: Notify,
    /// Has the stream looked at, once there is one.
    wake: OnceCell<Arc<Notify>>,
    /// Ends the task that copies the feed when the last viewer drops this.
    _viewed: oneshot::Sender<()>,
}

impl Replica {
    /// The feed as it is.
    pub(crate) fn feed(&self) -> Ref<'_, Feed> {
        match self.stream.get() {
            Some(stream) => Ref::map(stream.shared.borrow(), SharedStream::feed),
            None => Ref::map(self.state.borrow(), FeedReplica::feed),
        }
    }

    /// Says when the feed has changed or ended.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Has the stream look whether it is to go on.
    pub(crate) fn wake(&self) {
        if let Some(stream) = self.wake.get() {
            stream.notify_one();
        }
    }

    /// Why it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.state.borrow().ended().cloned()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Hub {
    pub(crate) fn new(
        number: usize,
        upstreams: Rc<Upstreams>,
        context: Arc<StreamContext>,
        loops: Arc<[mpsc::Sender<Subscribe>]>,
    ) -> Self {
        let (streams, replicas) = Default::default();
        Self { number, upstreams, context, loops, streams, replicas, generations: Cell::new(0) }
    }

    pub(crate) fn context(&self) -> &Arc<StreamContext> {
        &self.context
    }

    /// The feed of a worker for viewers on this loop.
    pub(crate) fn replica(self: &Rc<Self>, worker: &WorkerRef) -> Rc<Replica> {
        let known = self.known(&(worker.clone(), None));
        // One that has ended is followed by another, of a stream that begins anew.
        let known = known.filter(|replica| replica.ended().is_none());
        known.unwrap_or_else(|| self.begin(Source::Worker(worker.clone())))
    }

    /// The feed of a replay for viewers on this loop.
    pub(crate) fn replay(self: &Rc<Self>, order: ReplayOrder) -> Rc<Replica> {
        let source = Source::Replay(order);
        self.known(&source.key()).unwrap_or_else(|| self.begin(source))
    }

    fn known(&self, key: &Key) -> Option<Rc<Replica>> {
        self.replicas.borrow().get(key).and_then(Weak::upgrade)
    }

    fn begin(self: &Rc<Self>, source: Source) -> Rc<Replica> {
        let (viewed, unviewed) = oneshot::channel();
        let state = FeedReplica::new(self.context.limits()).into();
        let (changed, stream, wake) = (Notify::new(), OnceCell::new(), OnceCell::new());
        let replica = Rc::new(Replica { state, stream, changed, wake, _viewed: viewed });
        let mut replicas = self.replicas.borrow_mut();
        replicas.retain(|_, replica| replica.strong_count() > 0);
        replicas.insert(source.key(), Rc::downgrade(&replica));
        let (hub, weak) = (self.clone(), Rc::downgrade(&replica));
        spawn_local(async move {
            let viewing = async {
                match hub.owner(source.worker()) {
                    owner if owner == hub.number => hub.share(source, &weak).await,
                    owner => hub.copy(owner, &source, &weak).await,
                }
            };
            tokio::select! {
                () = viewing => {}
                _ = unviewed => {}
            }
        });
        replica
    }

    /// Which loop has the streams of a worker.
    fn owner(&self, worker: &WorkerRef) -> usize {
        let mut hasher = DefaultHasher::new();
        worker.hash(&mut hasher);
        hasher.finish() as usize % self.loops.len()
    }

    /// Tells a replica what is new in a stream that this loop has, until that has ended.
    async fn share(self: &Rc<Self>, source: Source, replica: &Weak<Replica>) {
        let (stream, mut updates) = self.view(source);
        if let Some(replica) = replica.upgrade() {
            replica.wake.get_or_init(|| stream.wake.clone());
            replica.stream.get_or_init(|| stream.clone());
        }
        drop(stream);
        let mut update = None;
        while !has_ended(replica, |state| {
            if let Some(FeedUpdate::Ended(error)) = update.take() {
                state.apply(FeedUpdate::Ended(error));
            }
        }) {
            update = match updates.recv().await {
                Ok(update) => Some(update),
                // The feed has it all the same.
                Err(broadcast::error::RecvError::Lagged(_)) => None,
                Err(broadcast::error::RecvError::Closed) => {
                    has_ended(replica, FeedReplica::disconnect);
                    return;
                }
            };
        }
    }

    /// Keeps a replica as the feed of another loop's stream is, until the stream has ended.
    async fn copy(&self, owner: usize, source: &Source, replica: &Weak<Replica>) {
        while let Some(mut subscription) = self.subscribe(owner, source).await {
            if let Some(replica) = replica.upgrade() {
                replica.wake.get_or_init(|| subscription.wake);
            }
            if has_ended(replica, |state| state.begin(subscription.copy)) {
                return;
            }
            loop {
                let update = match subscription.updates.recv().await {
                    Ok(update) => update,
                    // Another copy has what was missed.
                    Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Err(broadcast::error::RecvError::Closed) => {
                        has_ended(replica, FeedReplica::disconnect);
                        return;
                    }
                };
                if has_ended(replica, |state| state.apply(update)) {
                    return;
                }
            }
        }
        has_ended(replica, FeedReplica::disconnect);
    }

    /// Asks the loop that has a stream; `None` where that loop is gone.
    async fn subscribe(&self, owner: usize, source: &Source) -> Option<Subscription> {
        let (reply, subscribed) = oneshot::channel();
        self.loops[owner].send(Subscribe { source: source.clone(), reply }).await.ok()?;
        subscribed.await.ok()
    }

    /// Answers loops that ask for the feeds of this one's streams.
    pub(crate) async fn answer(self: Rc<Self>, mut asked: mpsc::Receiver<Subscribe>) {
        while let Some(Subscribe { source, reply }) = asked.recv().await {
            // The viewers may have left by now.
            let _ = reply.send(self.subscription(source));
        }
    }

    fn subscription(self: &Rc<Self>, source: Source) -> Subscription {
        let (stream, updates) = self.view(source);
        let copy = stream.shared.borrow().copy();
        Subscription { copy, updates, wake: stream.wake.clone() }
    }

    /// A stream for a replica, and what comes in it.
    fn view(self: &Rc<Self>, source: Source) -> (Rc<Stream>, broadcast::Receiver<FeedUpdate>) {
        let known = self.streams.borrow().get(&source.key()).cloned();
        let stream = known.unwrap_or_else(|| self.open(source));
        let updates = stream.updates.subscribe();
        stream.shared.borrow_mut().handle(Instant::now(), SharedStreamInput::Viewed);
        stream.wake.notify_one();
        (stream, updates)
    }

    fn open(self: &Rc<Self>, source: Source) -> Rc<Stream> {
        let generation = self.generations.get() + 1;
        self.generations.set(generation);
        let (now, key) = (Instant::now(), source.key());
        let shared = match source {
            Source::Worker(worker) => SharedStream::new(now, &self.context, worker, generation),
            Source::Replay(order) => SharedStream::replay(now, &self.context, order, generation),
        };
        let stream = Rc::new(Stream {
            shared: shared.into(),
            updates: broadcast::Sender::new(MAX_UPDATES_BEHIND),
            wake: Arc::default(),
        });
        self.streams.borrow_mut().insert(key.clone(), stream.clone());
        let (hub, opened) = (self.clone(), stream.clone());
        let counted = self.upstreams.metrics().feed();
        spawn_local(async move {
            let _counted = counted;
            hub.drive(&key.0, &opened).await;
            hub.streams.borrow_mut().remove(&key);
        });
        stream
    }

    /// Ends the streams of this loop that a change of the configuration ends.
    pub(crate) fn end_streams(&self, adopted: &Adopted) {
        for ((worker, _), stream) in &*self.streams.borrow() {
            if let Some(error) = adopted.end_of_stream(worker) {
                stream.shared.borrow_mut().handle(Instant::now(), SharedStreamInput::End(error));
                stream.wake.notify_one();
            }
        }
    }

    /// Drives a stream to its end.
    async fn drive(&self, worker: &WorkerRef, stream: &Stream) {
        let watch = stream.shared.borrow().watch(Instant::now(), &mut self.upstreams.registry_mut());
        let mut watch = watch.and_then(|watch| self.upstreams.carry(watch));
        let mut timer = pin!(sleep_until(Instant::now().into()));
        loop {
            let (until, why) = loop {
                let output = stream.shared.borrow_mut().poll(Instant::now());
                match output {
                    SharedStreamOutput::Observed(result) => {
                        self.upstreams.observed(worker, result.as_ref().copied());
                    }
                    SharedStreamOutput::Update(update) => {
                        // While it lingers there is no replica.
                        let _ = stream.updates.send(update);
                    }
                    SharedStreamOutput::Wait { until, why } => break (until, why),
                    SharedStreamOutput::End => return,
                }
            };
            // To be woken too early does no harm; to set a timer for each frame would cost as much as the frame.
            if let Some(until) =
                until.filter(|until| timer.is_elapsed() || timer.deadline() > (*until).into())
            {
                timer.as_mut().reset(until.into());
            }
            let input = tokio::select! {
                event = next_event(&mut watch), if why != SharedStreamWait::Pace => match event {
                    Ok(event) => {
                        self.upstreams.metrics().watched(&worker.runtime_id, &event);
                        SharedStreamInput::Watch(event)
                    }
                    Err(end) => SharedStreamInput::WatchEnded(end),
                },
                () = stream.updates.closed(), if until.is_none() => SharedStreamInput::Unviewed,
                () = stream.wake.notified() => continue,
                () = timer.as_mut(), if until.is_some() => continue,
            };
            stream.shared.borrow_mut().handle(Instant::now(), input);
        }
    }
}

async fn next_event(watch: &mut Result<WatchDriver, Error>) -> Result<WatchEvent, Result<(), Error>> {
    match watch {
        Ok(watch) => watch.next().await,
        Err(error) => Err(Err(error.clone())),
    }
}

/// Changes a replica and tells its viewers. Whether it has ended, or has no viewer any more.
fn has_ended(replica: &Weak<Replica>, change: impl FnOnce(&mut FeedReplica)) -> bool {
    let Some(replica) = replica.upgrade() else { return true };
    change(&mut replica.state.borrow_mut());
    replica.changed.notify_waiters();
    replica.ended().is_some()
}
