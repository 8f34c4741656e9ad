//! What is so right now, and is looked at when the metrics are asked for.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus::IntGaugeVec;
use sekisho_core::id::RuntimeId;
use sekisho_core::registry::{Reachability, Registry, RuntimeKind};
use sekisho_core::viewer::StreamContext;
use sekisho_listener::Listener;

use super::families::Families;
use crate::budget::Budget;
use crate::setup::Connections;

/// What is looked at beside the registry and the streams of the loop that answers.
pub(crate) struct Sources {
    /// Those to each runtime that is reached over the network.
    pub(crate) connections: Connections,
    pub(crate) budget: Budget,
    pub(crate) listener: Arc<Listener>,
}

impl Families {
    /// Takes over what is so.
    pub(super) fn set(&self, registry: &Registry, streams: &StreamContext, sources: &Sources) {
        let Sources { connections, budget, listener } = sources;
        self.viewers.set(number(streams.viewers()));
        self.replays.set(number(streams.replays()));
        let memory = budget.held().into_iter().chain([("frames", streams.frame_memory())]);
        memory.for_each(|(of, bytes)| self.memory.with_label_values(&[of]).set(number(bytes)));
        // A runtime that is gone has no state any more.
        for gauges in self.of_runtimes() {
            gauges.reset();
        }
        for runtime_id in registry.runtime_ids() {
            self.set_runtime(registry, runtime_id);
            if registry.spec(runtime_id).is_some_and(|spec| spec.kind == RuntimeKind::Remote) {
                let open = connections.of(runtime_id).count();
                self.upstream_connections.with_label_values(&[runtime_id.as_str()]).set(number(open));
            }
        }
        let expiry = listener.certificate_expiry();
        let expiry = expiry.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        if let Some(expiry) = expiry {
            let gauge = self.certificate_expiry.with_label_values(&["main"]);
            gauge.set(i64::try_from(expiry.as_secs()).unwrap_or(i64::MAX));
        }
    }

    fn of_runtimes(&self) -> [&IntGaugeVec; 4] {
        let Self { reachability, circuit_open, in_flight, upstream_connections, .. } = self;
        [reachability, circuit_open, in_flight, upstream_connections]
    }

    fn set_runtime(&self, registry: &Registry, runtime_id: &RuntimeId) {
        let (Some(health), Some(load)) = (registry.health(runtime_id), registry.load(runtime_id)) else {
            return;
        };
        let runtime = runtime_id.as_str();
        for reachability in Reachability::ALL {
            let gauge = self.reachability.with_label_values(&[runtime, reachability.name()]);
            gauge.set((health.reachability == reachability).into());
        }
        self.circuit_open.with_label_values(&[runtime]).set(load.circuit_is_open.into());
        self.in_flight.with_label_values(&[runtime]).set(number(load.in_flight));
        for (limit, refused) in
            [("max_in_flight", load.refused_for_share), ("circuit", load.refused_for_circuit)]
        {
            let counter = self.refusals.with_label_values(&[runtime, limit]);
            counter.inc_by(refused.saturating_sub(counter.get()));
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
