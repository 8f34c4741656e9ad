//! Straight to the runtimes: what a server does with a request, in this process.

mod fleet;
mod stream;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use sekisho_config as config;
use sekisho_core::browser_api::{Action, Exchange, Now, problem};
use sekisho_core::call::{Call, Seen};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::FeedLimits;
use sekisho_core::gateway_client::{self, FleetEvent, Problem};
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::Registry;
use sekisho_core::runtime_api::{Command, Reply};
use sekisho_core::viewer::StreamContext;
use sekisho_runtime::{Runtime, RuntimeConfig};
use sekisho_store::source::LocalSource;
use sekisho_transport_blocking::{HttpClient, Transport, drive};

use super::{Backend, Stream, seed};
use crate::failure::Failure;
use fleet::DirectFleetStream;
use stream::DirectStream;

/// How many streams there may be at once.
const MAX_STREAMS: usize = 4096;

/// The gateway in this process.
pub(crate) struct Direct {
    runtimes: Arc<Runtimes>,
}

/// The runtimes, and what carries requests to them.
struct Runtimes {
    registry: Mutex<Registry>,
    transports: BTreeMap<RuntimeId, Arc<Transport>>,
    streams: Arc<StreamContext>,
}

/// The runtimes of a configuration file.
pub(crate) fn read_configuration(path: &Path) -> Result<config::Runtimes, Failure> {
    Ok(config::Runtimes::read(path)?)
}

impl Direct {
    pub(crate) fn new(runtimes: config::Runtimes) -> Result<Self, Failure> {
        let usage = |error: &dyn std::error::Error| Failure::Usage(error.to_string());
        let registry = Registry::new(runtimes.specs(), seed()).map_err(|error| usage(&error))?;
        let mut transports = BTreeMap::new();
        if let Some(embedded) = &runtimes.embedded {
            let mut config = RuntimeConfig::with_workers(embedded.runtime_id.clone(), &embedded.workers);
            config.display_name = Some(embedded.display_name.clone());
            let runtime = Runtime::start(config).map_err(|error| usage(&error))?;
            transports.insert(embedded.runtime_id.clone(), Arc::new(Transport::InProcess(Box::new(runtime))));
        }
        for remote in runtimes.remotes {
            let client = HttpClient::new(remote.tls);
            let client = match remote.token_file {
                Some(token_file) => client.with_token_source(token_file),
                None => client,
            };
            transports.insert(remote.runtime_id, Arc::new(Transport::Network(client)));
        }
        for local in runtimes.locals {
            let source = LocalSource::new(local.runtime_id.clone(), local.store);
            transports.insert(local.runtime_id, Arc::new(Transport::InProcess(Box::new(source))));
        }
        let limits = FeedLimits { max_event: runtimes.max_event_bytes, ..FeedLimits::default() };
        let streams = StreamContext::new(runtimes.cursor_key, Arc::new(AllowAll), limits, MAX_STREAMS);
        let streams = Arc::new(streams);
        Ok(Self { runtimes: Arc::new(Runtimes { registry: registry.into(), transports, streams }) })
    }

    /// One command, driven to its end.
    pub(crate) fn call(&self, runtime_id: &RuntimeId, command: Command) -> Result<Reply, Error> {
        let call = self.runtimes.registry().call(Instant::now(), runtime_id, command, None)?;
        self.runtimes.drive(call)
    }
}

impl Runtimes {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transport(&self, runtime_id: &RuntimeId) -> Result<Arc<Transport>, Error> {
        // Transports and the registry's entries come from the same configuration.
        self.transports.get(runtime_id).cloned().ok_or_else(|| Error::new(ErrorKind::UnknownRuntime))
    }

    /// Drives calls to their ends, all at once.
    fn drive_all(&self, calls: Vec<Call>) -> Vec<Result<Reply, Error>> {
        thread::scope(|scope| {
            let driven: Vec<_> = calls.into_iter().map(|call| scope.spawn(|| self.drive(call))).collect();
            // A thread that panicked has said so already, and the panic goes on here.
            driven
                .into_iter()
                .map(|end| end.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    /// Finds out whether runtimes are back that have failed too often, beside what was asked.
    fn probe(self: &Arc<Self>) {
        for probe in self.registry().probes(Instant::now()) {
            let runtimes = self.clone();
            thread::spawn(move || runtimes.drive(probe));
        }
    }

    fn drive(&self, call: Call) -> Result<Reply, Error> {
        self.drive_recognising(call).0
    }

    /// Drives a call to its end. Beside that, what the next one of its kind recognises.
    fn drive_recognising(&self, mut call: Call) -> (Result<Reply, Error>, Option<Seen>) {
        let end = match self.transport(call.runtime_id()) {
            Ok(transport) => drive(&mut call, &transport),
            Err(error) => Err(error),
        };
        let seen = call.take_seen();
        self.registry().finish(Instant::now(), call);
        (end, seen)
    }
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::now() }
}

impl Backend for Direct {
    fn ask(&self, action: &Action) -> Result<Bytes, Box<Problem>> {
        let runtimes = &*self.runtimes;
        self.runtimes.probe();
        let (exchange, calls) =
            Exchange::begin(&mut runtimes.registry(), &AllowAll, Instant::now(), false, action.clone());
        let ends = runtimes.drive_all(calls);
        let response = exchange.response(&runtimes.registry(), &AllowAll, now(), ends);
        let response = response.unwrap_or_else(|error| problem(&error));
        gateway_client::answer(action, Ok(response))
    }

    fn embeds(&self, runtime_id: &RuntimeId) -> bool {
        let transport = self.runtimes.transports.get(runtime_id);
        matches!(transport.map(|transport| &**transport), Some(Transport::InProcess(_)))
    }

    fn open_stream(
        &self,
        worker: &WorkerRef,
        cursor: Option<String>,
    ) -> Result<Box<dyn Stream>, Box<Problem>> {
        Ok(Box::new(DirectStream::new(&self.runtimes, worker, cursor)))
    }

    fn open_fleet_stream(&self) -> Box<dyn Stream<FleetEvent>> {
        Box::new(DirectFleetStream::new(&self.runtimes))
    }

    fn hint(&self, problem: &Problem) -> Option<String> {
        let runtime_id = problem.runtime_id.as_deref()?;
        let kinds = ["network_error", "runtime_timeout", "runtime_auth_failed", "identity_mismatch"];
        kinds
            .contains(&&*problem.code)
            .then(|| format!("`sekisho --config FILE doctor {runtime_id}` looks at it phase by phase"))
    }
}
