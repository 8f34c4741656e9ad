//! The registry, the commands that are under way, and the connections that are kept: all that is between a tick and core.

use std::collections::BTreeMap;
use std::mem;
use std::net::TcpStream;
use std::time::Instant;

use sekisho_core::call::{Call, CallInput, CallOutput};
use sekisho_core::error::Error;
use sekisho_core::id::RuntimeId;
use sekisho_core::registry::{DuplicateRuntime, PROBE_EVERY, Registry, RuntimeSpec};
use sekisho_core::runtime_api::{Command, Reply};
use sekisho_core::transport::IdlePool;

use super::exchange::{Exchange, is_open};

/// A gateway that does nothing between two ticks.
pub(crate) struct Gateway {
    registry: Registry,
    pools: BTreeMap<RuntimeId, IdlePool<TcpStream>>,
    tasks: Vec<Task>,
    probe_at: Option<Instant>,
}

/// A call and its attempt that is under way.
struct Task {
    call: Call,
    exchange: Option<Exchange>,
    is_probe: bool,
}

impl Gateway {
    pub(crate) fn new(specs: Vec<RuntimeSpec>) -> Result<Self, DuplicateRuntime> {
        // A constant seed would have all such programs repeat at the same times.
        let seed = u64::from(std::process::id());
        Ok(Self {
            registry: Registry::new(specs, seed)?,
            pools: BTreeMap::new(),
            tasks: Vec::new(),
            probe_at: None,
        })
    }

    /// Begins a command. How it ends is told by a [`tick`](Self::tick).
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        runtime_id: &RuntimeId,
        command: Command,
    ) -> Result<(), Error> {
        let call = self.registry.call(now, runtime_id, command, None)?;
        self.tasks.push(Task { call, exchange: None, is_probe: false });
        Ok(())
    }

    /// Whether a command is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.tasks.iter().any(|task| !task.is_probe)
    }

    /// Does all that can be done without waiting. The commands that have ended come back.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<(RuntimeId, Result<Reply, Error>)> {
        self.look_after_runtimes(now);
        let mut ended = Vec::new();
        for mut task in mem::take(&mut self.tasks) {
            let runtime_id = task.call.runtime_id().clone();
            let pool = self.pools.entry(runtime_id.clone()).or_default();
            match task.advance(now, pool) {
                None => self.tasks.push(task),
                Some(result) => {
                    // There are no clones of the registry that would have to be told what it learns.
                    let _ = self.registry.finish(now, task.call);
                    if !task.is_probe {
                        ended.push((runtime_id, result));
                    }
                }
            }
        }
        ended
    }

    /// Asks the runtimes that had failed too often whether they are back, and drops connections that are of no more use.
    fn look_after_runtimes(&mut self, now: Instant) {
        if self.probe_at.is_some_and(|probe_at| now < probe_at) {
            return;
        }
        self.probe_at = Some(now + PROBE_EVERY);
        let probes = self.registry.probes(now).into_iter();
        self.tasks.extend(probes.map(|call| Task { call, exchange: None, is_probe: true }));
        for pool in self.pools.values_mut() {
            pool.prune(now, is_open);
        }
    }
}

impl Task {
    /// The result, once it is there.
    fn advance(&mut self, now: Instant, pool: &mut IdlePool<TcpStream>) -> Option<Result<Reply, Error>> {
        loop {
            if let Some(report) = self.exchange.as_mut().and_then(|exchange| exchange.advance(now))
                && let Some(exchange) = self.exchange.take()
            {
                self.call.handle(now, CallInput::report(exchange.id(), report));
                exchange.keep_connection(now, pool);
            }
            match self.call.poll(now) {
                CallOutput::Send(attempt) => self.exchange = Some(Exchange::begin(now, attempt, pool)),
                // This program's tokens do not change while it runs.
                CallOutput::RefreshCredential => self.call.handle(now, CallInput::Credential(None)),
                CallOutput::Wait { .. } => return None,
                CallOutput::Done(result) => return Some(result),
            }
        }
    }
}
