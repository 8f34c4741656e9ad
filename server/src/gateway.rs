//! What one event loop does for its clients: performs actions, and lets viewers in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use sekisho_core::browser_api::{Action, Exchange, Read, StreamRequest};
use sekisho_core::error::Error;
use sekisho_core::fleet::{FleetFeed, FleetSession};
use sekisho_core::policy::Policy;
use sekisho_core::trace::TraceParent;
use sekisho_core::viewer::{ReplayOrder, ViewerSession, shutting_down};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;

use crate::drain::Drain;
use crate::fleet::{FleetHub, now};
use crate::hub::{Hub, Replica};
use crate::metrics::{LoopMetrics, Sources};
use crate::request_log::Asked;
use crate::shared_reads::{Due, Exchanged, SharedReads};
use crate::upstreams::Upstreams;

/// One loop's share of the gateway.
pub(crate) struct Gateway {
    upstreams: Rc<Upstreams>,
    hub: Rc<Hub>,
    fleet: FleetHub,
    reads: SharedReads,
    policy: Arc<dyn Policy>,
    drain: Drain,
    /// What metrics are taken from beside.
    sources: Arc<Sources>,
}

impl Gateway {
    pub(crate) fn new(
        upstreams: Rc<Upstreams>,
        hub: Rc<Hub>,
        fleet: FleetHub,
        reads: SharedReads,
        policy: Arc<dyn Policy>,
        drain: Drain,
        sources: Arc<Sources>,
    ) -> Self {
        Self { upstreams, hub, fleet, reads, policy, drain, sources }
    }

    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(crate) fn metrics(&self) -> &Rc<LoopMetrics> {
        self.upstreams.metrics()
    }

    /// Performs an action.
    pub(crate) async fn perform(&self, action: Action, asked: &mut Asked) -> Result<Response<Bytes>, Error> {
        if action == Action::Metrics {
            let registry = self.upstreams.registry();
            return Ok(self.metrics().shared().response(&registry, self.hub.context(), &self.sources));
        }
        let trace = asked.trace.sent_on;
        let exchanged = match Read::of(action) {
            Err(action) => self.exchange(action, trace).await,
            Ok(read) => match self.reads.ask(read, trace) {
                Ok(under_way) => self.exchange(under_way.read().action().clone(), trace).await,
                Err(shared) => {
                    self.metrics().shared_read();
                    shared.end().await
                }
            },
        };
        (asked.attempts, asked.upstream) = (exchanged.attempts, exchanged.upstream);
        exchanged.result
    }

    /// Asks the runtimes that an action is about.
    pub(crate) async fn exchange(&self, action: Action, trace: TraceParent) -> Exchanged {
        let policy = &*self.policy;
        let (exchange, calls) = {
            let mut registry = self.upstreams.registry_mut();
            Exchange::begin(&mut registry, policy, Instant::now(), !self.drain.is_ready(), action)
        };
        let (mut ends, mut attempts, mut upstream) = (Vec::new(), 0, None);
        if !calls.is_empty() {
            let calls = calls.into_iter().map(|call| call.traced(trace)).collect();
            let started = Instant::now();
            (ends, attempts) = self.upstreams.drive_all(calls).await;
            upstream = Some(started.elapsed());
        }
        let result = exchange.response(&self.upstreams.registry(), policy, now(), ends);
        Exchanged { result, attempts, upstream }
    }

    /// Carries on the exchanges of reads that waited, for as long as the loop runs: whoever of those leaves, the others are told.
    pub(crate) async fn carry_on(self: Rc<Self>, mut is_due: mpsc::UnboundedReceiver<Due>) {
        while let Some(due) = is_due.recv().await {
            let gateway = self.clone();
            spawn_local(async move {
                let exchanged = gateway.exchange(due.read().action().clone(), due.trace()).await;
                due.end(&exchanged);
            });
        }
    }

    /// The feed of a replay stream that a viewer wants.
    pub(crate) fn open_replay(&self, order: ReplayOrder) -> Rc<Replica> {
        self.hub.replay(order)
    }

    /// Lets a viewer in.
    pub(crate) fn open_viewer(&self, request: StreamRequest) -> Result<(ViewerSession, Rc<Replica>), Error> {
        if self.drain.has_begun() {
            return Err(shutting_down());
        }
        let (now, context) = (Instant::now(), self.hub.context());
        let session = ViewerSession::open(now, context, &self.upstreams.registry(), request)?;
        let replica = self.hub.replica(session.worker());
        Ok((session, replica))
    }

    /// Lets a viewer of all workers in.
    pub(crate) fn open_fleet_viewer(&self) -> Result<(FleetSession, watch::Receiver<FleetFeed>), Error> {
        if self.drain.has_begun() {
            return Err(shutting_down());
        }
        let session = FleetSession::open(Instant::now(), self.hub.context())?;
        Ok((session, self.fleet.view()))
    }
}
