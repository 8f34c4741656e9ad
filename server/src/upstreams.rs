//! The runtimes of one event loop: what its registry knows of them, and the transports that reach them.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use sekisho_core::call::{Call, Seen};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::registry::{Adopted, Change, PROBE_EVERY, Reachability, Registry};
use sekisho_core::runtime_api::Reply;
use sekisho_core::watch::Watch;
use sekisho_transport_tokio::{Transport, WatchDriver, drive};
use tokio::sync::broadcast;
use tokio::task::spawn_local;
use tokio::time::interval;
use tracing::{debug, info, warn};

use crate::metrics::LoopMetrics;
use crate::setup::{ForTransports, Setup};

/// What one loop's registry has learned, under the loop's number.
pub(crate) type Changes = broadcast::Sender<(usize, Change)>;

/// The runtimes as one loop knows them.
pub(crate) struct Upstreams {
    number: usize,
    registry: RefCell<Registry>,
    transports: RefCell<BTreeMap<RuntimeId, Arc<Transport>>>,
    /// What they are made with.
    for_transports: ForTransports,
    changes: Changes,
    metrics: Rc<LoopMetrics>,
}

impl Upstreams {
    pub(crate) fn new(
        number: usize,
        setup: &Setup,
        for_transports: ForTransports,
        changes: Changes,
        metrics: Rc<LoopMetrics>,
    ) -> Self {
        let transports = setup.transports(&for_transports).into();
        let registry = setup.registry.clone().into();
        Self { number, registry, transports, for_transports, changes, metrics }
    }

    /// Goes on with another configuration.
    pub(crate) fn adopt(&self, setup: &Setup) -> Adopted {
        // Connections that are idle are let go of, and what is under way keeps its own.
        self.transports.replace(setup.transports(&self.for_transports));
        self.registry_mut().adopt(&setup.registry)
    }

    fn transport(&self, runtime_id: &RuntimeId) -> Result<Arc<Transport>, Error> {
        let transport = self.transports.borrow().get(runtime_id).cloned();
        // It went while the call was being made.
        transport.ok_or_else(|| Error::new(ErrorKind::UnknownRuntime))
    }

    pub(crate) fn metrics(&self) -> &Rc<LoopMetrics> {
        &self.metrics
    }

    pub(crate) fn registry(&self) -> Ref<'_, Registry> {
        self.registry.borrow()
    }

    pub(crate) fn registry_mut(&self) -> RefMut<'_, Registry> {
        self.registry.borrow_mut()
    }

    /// Takes over what the other loops learn, for as long as they are there.
    pub(crate) async fn apply_changes(&self, mut changes: broadcast::Receiver<(usize, Change)>) {
        loop {
            match changes.recv().await {
                Ok((number, change)) if number != self.number => self.registry_mut().apply(change),
                // What was missed is learned again from the next calls.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Closes connections that have been idle for too long, and finds out whether runtimes are back that have failed too
    /// often, for as long as the loop runs.
    ///
    /// Each time it has begun with it, it says so.
    ///
    /// That a loop's next wake-up is always this near has another effect: a deadline of a request lies behind it, and
    /// setting one takes no system call.
    pub(crate) async fn look_after(self: Rc<Self>, begins: impl Fn()) {
        let mut ticks = interval(PROBE_EVERY);
        loop {
            let due = ticks.tick().await;
            self.metrics.lagged(due.elapsed());
            begins();
            self.transports.borrow().values().for_each(|transport| transport.prune());
            let probes = self.registry_mut().probes(Instant::now());
            for probe in probes {
                let upstreams = self.clone();
                spawn_local(async move { upstreams.drive(probe).await });
            }
        }
    }

    /// Drives calls to their ends, all at once. Beside how they ended, how many attempts there were.
    pub(crate) async fn drive_all(self: &Rc<Self>, calls: Vec<Call>) -> (Vec<Result<Reply, Error>>, u32) {
        // One call, as most requests are, needs no task of its own.
        let calls = match <[Call; 1]>::try_from(calls) {
            Ok([call]) => {
                let (end, attempts) = self.drive(call).await;
                return (vec![end], attempts);
            }
            Err(calls) => calls,
        };
        let spawn = |call| {
            let upstreams = self.clone();
            spawn_local(async move { upstreams.drive(call).await })
        };
        let driven: Vec<_> = calls.into_iter().map(spawn).collect();
        let (mut ends, mut attempts) = (Vec::with_capacity(driven.len()), 0);
        for end in driven {
            let (end, more) = end.await.unwrap_or_else(|_| (Err(Error::new(ErrorKind::Internal)), 0));
            ends.push(end);
            attempts += more;
        }
        (ends, attempts)
    }

    async fn drive(&self, mut call: Call) -> (Result<Reply, Error>, u32) {
        let end = self.drive_to_end(&mut call).await;
        let attempts = call.attempts();
        self.finish(call);
        (end, attempts)
    }

    /// Drives a call to its end. Beside that, what the next one of its kind recognises.
    pub(crate) async fn drive_recognising(&self, mut call: Call) -> (Result<Reply, Error>, Option<Seen>) {
        let end = self.drive_to_end(&mut call).await;
        let seen = call.take_seen();
        self.finish(call);
        (end, seen)
    }

    async fn drive_to_end(&self, call: &mut Call) -> Result<Reply, Error> {
        let transport = self.transport(call.runtime_id())?;
        let started = Instant::now();
        let end = drive(call, &transport).await;
        self.metrics.called(call, &end, started.elapsed());
        if let Err(error) = &end {
            let (runtime_id, kind) = (call.runtime_id().as_str(), error.kind());
            debug!(
                runtime_id,
                code = kind.code(),
                phase = kind.phase(),
                attempts = call.attempts(),
                "a call failed"
            );
        }
        end
    }

    fn finish(&self, call: Call) {
        let runtime_id = call.runtime_id().clone();
        self.learn(&runtime_id, |registry| registry.finish(Instant::now(), call));
    }

    /// The loop around a watch, with the transport of its runtime.
    pub(crate) fn carry(&self, watch: Watch) -> Result<WatchDriver, Error> {
        let transport = self.transport(&watch.worker().runtime_id)?;
        Ok(WatchDriver::new(watch, transport))
    }

    /// Learns from a stream.
    pub(crate) fn observed(&self, worker: &WorkerRef, result: Result<(), &Error>) {
        if let Err(error) = result {
            let (runtime_id, kind) = (worker.runtime_id.as_str(), error.kind());
            debug!(runtime_id, code = kind.code(), phase = kind.phase(), "a stream failed");
        }
        self.learn(&worker.runtime_id, |registry| {
            registry.observed(Instant::now(), &worker.runtime_id, result)
        });
    }

    /// Has the registry learn something of a runtime, tells the other loops what they need to know, and the log what
    /// its reader does.
    fn learn(&self, runtime_id: &RuntimeId, learn: impl FnOnce(&mut Registry) -> Option<Change>) {
        let mut registry = self.registry_mut();
        let before = registry.health(runtime_id).map(|health| health.reachability);
        let Some(change) = learn(&mut registry) else { return };
        let after = registry.health(runtime_id).map(|health| health.reachability);
        // A single loop has no other to tell.
        let _ = self.changes.send((self.number, change));
        let runtime_id = runtime_id.as_str();
        match (before, after) {
            (before, after) if before == after => {}
            (_, Some(Reachability::Reachable)) => info!(runtime_id, "a runtime is reached"),
            (_, after) => {
                warn!(runtime_id, reachability = after.map(Reachability::name), "a runtime is not reached");
            }
        }
    }
}
