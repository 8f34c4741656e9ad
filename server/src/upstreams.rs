//! The runtimes of one event loop: what its registry knows of them, and the transports that reach them.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use sekisho_core::call::{Call, Seen};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::registry::{Change, PROBE_EVERY, Registry};
use sekisho_core::runtime_api::Reply;
use sekisho_core::watch::Watch;
use sekisho_transport_tokio::{Transport, WatchDriver, drive};
use tokio::sync::broadcast;
use tokio::task::spawn_local;
use tokio::time::interval;
use tracing::warn;

/// What one loop's registry has learned, under the loop's number.
pub(crate) type Changes = broadcast::Sender<(usize, Change)>;

/// The runtimes as one loop knows them.
pub(crate) struct Upstreams {
    number: usize,
    registry: RefCell<Registry>,
    transports: BTreeMap<RuntimeId, Arc<Transport>>,
    changes: Changes,
}

impl Upstreams {
    pub(crate) fn new(
        number: usize,
        registry: Registry,
        transports: BTreeMap<RuntimeId, Arc<Transport>>,
        changes: Changes,
    ) -> Self {
        Self { number, registry: registry.into(), transports, changes }
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
            ticks.tick().await;
            begins();
            self.transports.values().for_each(|transport| transport.prune());
            let probes = self.registry_mut().probes(Instant::now());
            for probe in probes {
                let upstreams = self.clone();
                spawn_local(async move { upstreams.drive(probe).await });
            }
        }
    }

    /// Drives calls to their ends, all at once.
    pub(crate) async fn drive_all(self: &Rc<Self>, calls: Vec<Call>) -> Vec<Result<Reply, Error>> {
        // One call, as most requests are, needs no task of its own.
        let calls = match <[Call; 1]>::try_from(calls) {
            Ok([call]) => return vec![self.drive(call).await],
            Err(calls) => calls,
        };
        let spawn = |call| {
            let upstreams = self.clone();
            spawn_local(async move { upstreams.drive(call).await })
        };
        let driven: Vec<_> = calls.into_iter().map(spawn).collect();
        let mut ends = Vec::with_capacity(driven.len());
        for end in driven {
            ends.push(end.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal))));
        }
        ends
    }

    async fn drive(&self, call: Call) -> Result<Reply, Error> {
        self.drive_recognising(call).await.0
    }

    /// Drives a call to its end. Beside that, what the next one of its kind recognises.
    pub(crate) async fn drive_recognising(&self, mut call: Call) -> (Result<Reply, Error>, Option<Seen>) {
        let Some(transport) = self.transports.get(call.runtime_id()) else {
            return (Err(Error::new(ErrorKind::Internal)), None);
        };
        let end = drive(&mut call, transport).await;
        // That it does not answer was reported when its clients were told.
        if let (Err(error), false) = (&end, call.is_probe()) {
            report(error, call.attempts());
        }
        let seen = call.take_seen();
        let change = self.registry_mut().finish(Instant::now(), call);
        self.tell(change);
        (end, seen)
    }

    /// The loop around a watch, with the transport of its runtime.
    pub(crate) fn carry(&self, watch: Watch) -> Result<WatchDriver, Error> {
        let transport = self.transports.get(&watch.worker().runtime_id);
        let transport = transport.ok_or_else(|| Error::new(ErrorKind::Internal))?;
        Ok(WatchDriver::new(watch, transport.clone()))
    }

    /// Learns from a stream.
    pub(crate) fn observed(&self, worker: &WorkerRef, result: Result<(), &Error>) {
        if let Err(error) = result {
            report(error, 0);
        }
        let change = self.registry_mut().observed(Instant::now(), &worker.runtime_id, result);
        self.tell(change);
    }

    fn tell(&self, change: Option<Change>) {
        if let Some(change) = change {
            // A single loop has no other to tell.
            let _ = self.changes.send((self.number, change));
        }
    }
}

fn report(error: &Error, attempts: u32) {
    // An error of the client's is logged by the client.
    if !error.kind().status().is_server_error() {
        return;
    }
    let runtime_id = error.runtime_id().map(tracing::field::display);
    warn!(runtime_id, code = error.kind().code(), phase = error.kind().phase(), attempts, "a call failed");
}
