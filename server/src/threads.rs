//! One thread for each event loop.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use sekisho_core::browser_api::Serves;
use sekisho_core::policy::Policy;
use sekisho_core::viewer::StreamContext;
use sekisho_listener::Listener;
use sekisho_telemetry::Spans;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;

use crate::budget::Budget;
use crate::drain::Drain;
use crate::event_loop;
use crate::fleet::FleetHub;
use crate::gateway::Gateway;
use crate::hub::{Hub, Subscribe};
use crate::metrics::{Metrics, Sources};
use crate::refusals::Refusals;
use crate::respond::Service;
use crate::setup::{ForTransports, Setup};
use crate::shared_reads::{SharedReads, Waiting};
use crate::upstreams::{Changes, Upstreams};

/// What all event loops are made with.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) setup: watch::Receiver<Arc<Setup>>,
    pub(crate) transports: ForTransports,
    pub(crate) metrics: Metrics,
    pub(crate) spans: Spans,
    pub(crate) sources: Arc<Sources>,
    pub(crate) budget: Budget,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) streams: Arc<StreamContext>,
    pub(crate) subscribe: Arc<[mpsc::Sender<Subscribe>]>,
    pub(crate) fleet: FleetHub,
    pub(crate) reads: Waiting,
    pub(crate) changes: Changes,
    pub(crate) drain: Drain,
    pub(crate) beats: Arc<[AtomicU64]>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) admin: Option<Arc<Listener>>,
}

impl Shared {
    /// Starts one event loop, and returns once it listens.
    pub(crate) fn start(
        self,
        number: usize,
        asked: mpsc::Receiver<Subscribe>,
    ) -> Result<JoinHandle<io::Result<()>>, io::ErrorKind> {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let run = move || {
            // The thread that starts the loops waits for it.
            let ready = || ready.send(()).unwrap_or_default();
            self.run(number, asked, ready)
        };
        let name = format!("sekisho-loop-{number}");
        let event_loop = thread::Builder::new().name(name).spawn(run).map_err(|error| error.kind())?;
        match is_ready.recv() {
            Ok(()) => Ok(event_loop),
            // It has ended before it listened.
            Err(_) => {
                let error = event_loop.join().ok().and_then(Result::err);
                Err(error.map_or(io::ErrorKind::Other, |error| error.kind()))
            }
        }
    }

    fn run(self, number: usize, asked: mpsc::Receiver<Subscribe>, ready: impl FnOnce()) -> io::Result<()> {
        // Not a `LocalSet`: each time one of its tasks is woken, it wakes itself through the kernel.
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let acceptor = self.listener.acceptor()?;
            // One loop is enough for what is asked there, and for what is one for all loops.
            let is_first = number == 0;
            let admin = self.admin.as_ref().filter(|_| is_first).map(|admin| admin.acceptor()).transpose()?;
            let gateway = self.gateway(number, asked, is_first);
            ready();
            let serves = if self.admin.is_some() { Serves::Api } else { Serves::Everything };
            if let Some(admin) = admin {
                let service = self.service(&gateway, Serves::Admin);
                spawn_local(event_loop::run(service, admin));
            }
            event_loop::run(self.service(&gateway, serves), acceptor).await;
            io::Result::Ok(())
        })?;
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
        Ok(())
    }

    /// One loop's share of the gateway, with the tasks that keep it going.
    fn gateway(&self, number: usize, asked: mpsc::Receiver<Subscribe>, is_first: bool) -> Rc<Gateway> {
        let mut setups = self.setup.clone();
        let setup = setups.borrow_and_update().clone();
        let metrics = Rc::new(self.metrics.of_loop());
        let changes = self.changes.clone();
        let learned = changes.subscribe();
        let transports = self.transports.clone();
        let upstreams = Rc::new(Upstreams::new(number, &setup, transports, changes, metrics));
        let hub = {
            let (streams, subscribe) = (self.streams.clone(), self.subscribe.clone());
            Rc::new(Hub::new(number, upstreams.clone(), streams, subscribe))
        };
        let learning = upstreams.clone();
        spawn_local(async move { learning.apply_changes(learned).await });
        let beats = self.beats.clone();
        spawn_local(upstreams.clone().look_after(move || {
            beats[number].fetch_add(1, Ordering::Relaxed);
        }));
        spawn_local(hub.clone().answer(asked));
        let (following, streams) = (upstreams.clone(), hub.clone());
        spawn_local(async move {
            while setups.changed().await.is_ok() {
                let setup = setups.borrow_and_update().clone();
                streams.end_streams(&following.adopt(&setup));
            }
        });
        // Whichever loop has it: viewers read the feed from wherever they are.
        if is_first {
            let fleet = self.fleet.clone();
            spawn_local(fleet.drive(upstreams.clone(), self.policy.clone()));
        }
        let (fleet, policy) = (self.fleet.clone(), self.policy.clone());
        let (drain, sources) = (self.drain.clone(), self.sources.clone());
        let (reads, due) = SharedReads::new(self.reads.clone());
        let gateway = Rc::new(Gateway::new(upstreams, hub, fleet, reads, policy, drain, sources));
        spawn_local(gateway.clone().carry_on(due));
        gateway
    }

    fn service(&self, gateway: &Rc<Gateway>, serves: Serves) -> Rc<Service> {
        let (setup, budget) = (self.setup.clone(), self.budget.clone());
        let (refusals, spans) = (self.refusals.clone(), self.spans.clone());
        Rc::new(Service::new(gateway.clone(), setup, budget, refusals, serves, spans))
    }
}
