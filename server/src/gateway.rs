//! What one event loop does for its clients: performs actions, and lets viewers in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use sekisho_core::browser_api::{Action, Exchange, StreamRequest};
use sekisho_core::error::Error;
use sekisho_core::fleet::{FleetFeed, FleetSession};
use sekisho_core::policy::Policy;
use sekisho_core::viewer::{ReplayOrder, ViewerSession, shutting_down};
use tokio::sync::watch;

use crate::drain::Drain;
use crate::fleet::{FleetHub, now};
use crate::hub::{Hub, Replica};
use crate::metrics::{LoopMetrics, Sources};
use crate::request_log::Asked;
use crate::upstreams::Upstreams;

/// One loop's share of the gateway.
pub(crate) struct Gateway {
    upstreams: Rc<Upstreams>,
    hub: Rc<Hub>,
    fleet: FleetHub,
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
        policy: Arc<dyn Policy>,
        drain: Drain,
        sources: Arc<Sources>,
    ) -> Self {
        Self { upstreams, hub, fleet, policy, drain, sources }
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
        let policy = &*self.policy;
        let (exchange, calls) = {
            let mut registry = self.upstreams.registry_mut();
            Exchange::begin(&mut registry, policy, Instant::now(), !self.drain.is_ready(), action)
        };
        let mut ends = Vec::new();
        if !calls.is_empty() {
            let calls = calls.into_iter().map(|call| call.traced(asked.trace.sent_on)).collect();
            let started = Instant::now();
            (ends, asked.attempts) = self.upstreams.drive_all(calls).await;
            asked.upstream = Some(started.elapsed());
        }
        exchange.response(&self.upstreams.registry(), policy, now(), ends)
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
