//! One stream per worker, however many viewers there are, on however many loops.
//!
//! The worker's name says which loop has its [stream](SharedStream). Each loop with viewers of the worker has a
//! [replica](Replica) of the feed: it begins with a copy, and gets one message for each frame. The frames are shared.

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use sekisho_core::error::Error;
use sekisho_core::feed::Feed;
use sekisho_core::id::WorkerRef;
use sekisho_core::viewer::{
    FeedCopy, FeedReplica, FeedUpdate, MAX_UPDATES_BEHIND, SharedStream, SharedStreamInput,
    SharedStreamOutput, StreamContext,
};
use sekisho_core::watch::WatchEvent;
use sekisho_transport_tokio::WatchDriver;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::sleep_until;

use crate::upstreams::Upstreams;

/// How many loops may wait for an answer of one that has streams.
pub(crate) const MAX_SUBSCRIBING: usize = 1024;

/// Asks the loop that has a worker's stream for its feed.
pub(crate) struct Subscribe {
    worker: WorkerRef,
    reply: oneshot::Sender<Subscription>,
}

struct Subscription {
    copy: FeedCopy,
    /// What follows the copy.
    updates: broadcast::Receiver<FeedUpdate>,
}

/// The streams and replicas of one loop.
pub(crate) struct Hub {
    upstreams: Rc<Upstreams>,
    context: Arc<StreamContext>,
    /// How each loop is asked.
    loops: Arc<[mpsc::Sender<Subscribe>]>,
    streams: RefCell<BTreeMap<WorkerRef, Rc<Stream>>>,
    replicas: RefCell<BTreeMap<WorkerRef, Weak<Replica>>>,
    generations: Cell<u64>,
}

/// A worker's stream that this loop has.
struct Stream {
    shared: RefCell<SharedStream>,
    updates: broadcast::Sender<FeedUpdate>,
    /// Says that a replica has come.
    viewed: Notify,
}

/// A worker's feed on a loop that has viewers of it.
pub(crate) struct Replica {
    state: RefCell<FeedReplica>,
    changed: Notify,
    /// Ends the task that copies the feed when the last viewer drops this.
    _viewed: oneshot::Sender<()>,
}

impl Replica {
    /// The feed as it is.
    pub(crate) fn feed(&self) -> Ref<'_, Feed> {
        Ref::map(self.state.borrow(), FeedReplica::feed)
    }

    /// Says when the feed has changed or ended.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Why it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.state.borrow().ended().cloned()
    }
}

impl Hub {
    pub(crate) fn new(
        upstreams: Rc<Upstreams>,
        context: Arc<StreamContext>,
        loops: Arc<[mpsc::Sender<Subscribe>]>,
    ) -> Self {
        let (streams, replicas) = Default::default();
        Self { upstreams, context, loops, streams, replicas, generations: Cell::new(0) }
    }

    pub(crate) fn context(&self) -> &Arc<StreamContext> {
        &self.context
    }

    /// The feed of a worker for viewers on this loop.
    pub(crate) fn replica(self: &Rc<Self>, worker: &WorkerRef) -> Rc<Replica> {
        let mut replicas = self.replicas.borrow_mut();
        let known = replicas.get(worker).and_then(Weak::upgrade);
        if let Some(replica) = known.filter(|replica| replica.ended().is_none()) {
            return replica;
        }
        let (viewed, unviewed) = oneshot::channel();
        let state = FeedReplica::new(self.context.limits()).into();
        let replica = Rc::new(Replica { state, changed: Notify::new(), _viewed: viewed });
        replicas.retain(|_, replica| replica.strong_count() > 0);
        replicas.insert(worker.clone(), Rc::downgrade(&replica));
        let (hub, worker, weak) = (self.clone(), worker.clone(), Rc::downgrade(&replica));
        spawn_local(async move {
            tokio::select! {
                () = hub.copy(&worker, &weak) => {}
                _ = unviewed => {}
            }
        });
        replica
    }

    /// Keeps a replica as the stream's feed is, until the stream has ended.
    async fn copy(&self, worker: &WorkerRef, replica: &Weak<Replica>) {
        while let Some(mut subscription) = self.subscribe(worker).await {
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

    /// Asks the loop that has a worker's stream; `None` where that loop is gone.
    async fn subscribe(&self, worker: &WorkerRef) -> Option<Subscription> {
        let mut hasher = DefaultHasher::new();
        worker.hash(&mut hasher);
        let owner = &self.loops[hasher.finish() as usize % self.loops.len()];
        let (reply, subscribed) = oneshot::channel();
        owner.send(Subscribe { worker: worker.clone(), reply }).await.ok()?;
        subscribed.await.ok()
    }

    /// Answers loops that ask for the feeds of this one's streams.
    pub(crate) async fn answer(self: Rc<Self>, mut asked: mpsc::Receiver<Subscribe>) {
        while let Some(Subscribe { worker, reply }) = asked.recv().await {
            // The viewers may have left by now.
            let _ = reply.send(self.subscription(worker));
        }
    }

    fn subscription(self: &Rc<Self>, worker: WorkerRef) -> Subscription {
        let known = self.streams.borrow().get(&worker).cloned();
        let stream = known.unwrap_or_else(|| self.open(worker));
        let updates = stream.updates.subscribe();
        let mut shared = stream.shared.borrow_mut();
        shared.handle(Instant::now(), SharedStreamInput::Viewed);
        stream.viewed.notify_one();
        Subscription { copy: shared.copy(), updates }
    }

    fn open(self: &Rc<Self>, worker: WorkerRef) -> Rc<Stream> {
        let generation = self.generations.get() + 1;
        self.generations.set(generation);
        let shared = SharedStream::new(Instant::now(), &self.context, worker.clone(), generation);
        let stream = Rc::new(Stream {
            shared: shared.into(),
            updates: broadcast::Sender::new(MAX_UPDATES_BEHIND),
            viewed: Notify::new(),
        });
        self.streams.borrow_mut().insert(worker.clone(), stream.clone());
        let (hub, opened) = (self.clone(), stream.clone());
        spawn_local(async move {
            hub.drive(&worker, &opened).await;
            hub.streams.borrow_mut().remove(&worker);
        });
        stream
    }

    /// Drives a stream to its end.
    async fn drive(&self, worker: &WorkerRef, stream: &Stream) {
        let watch = stream.shared.borrow().watch(Instant::now(), &mut self.upstreams.registry_mut());
        let mut watch = watch.and_then(|watch| self.upstreams.carry(watch));
        loop {
            let until = loop {
                let output = stream.shared.borrow_mut().poll(Instant::now());
                match output {
                    SharedStreamOutput::Observed(result) => {
                        self.upstreams.observed(worker, result.as_ref().copied());
                    }
                    SharedStreamOutput::Update(update) => {
                        // While it lingers there is no replica.
                        let _ = stream.updates.send(update);
                    }
                    SharedStreamOutput::Wait { until, .. } => break until,
                    SharedStreamOutput::End => return,
                }
            };
            let lingering = async {
                match until {
                    Some(until) => sleep_until(until.into()).await,
                    None => pending().await,
                }
            };
            let input = tokio::select! {
                event = next_event(&mut watch) => match event {
                    Ok(event) => SharedStreamInput::Watch(event),
                    Err(end) => SharedStreamInput::WatchEnded(end),
                },
                () = stream.updates.closed(), if until.is_none() => SharedStreamInput::Unviewed,
                () = stream.viewed.notified() => continue,
                () = lingering => continue,
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
