//! Straight to the runtimes: what a server does with a request, in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use sekisho_config::Runtimes;
use sekisho_core::browser_api::{Action, Exchange, Now};
use sekisho_core::call::Call;
use sekisho_core::cursor::CursorKey;
use sekisho_core::error::Error;
use sekisho_core::feed::Encoder;
use sekisho_core::gateway_client::{self, Frame, GatewayEvent, Problem};
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::Registry;
use sekisho_core::runtime_api::{Command, Reply};
use sekisho_core::watch::OnExpiredCursor;
use sekisho_runtime::{Runtime, RuntimeConfig};
use sekisho_transport_blocking::{Ended, HttpClient, Transport, WatchDriver, drive};

use super::{Backend, Stream, seed};
use crate::failure::Failure;

/// The runtimes, and the ways there.
pub(crate) struct Direct {
    registry: Mutex<Registry>,
    transports: BTreeMap<RuntimeId, Arc<Transport>>,
    cursor_key: CursorKey,
    max_event_bytes: usize,
}

/// The runtimes of a configuration file.
pub(crate) fn read_configuration(path: &Path) -> Result<Runtimes, Failure> {
    Ok(Runtimes::read(path)?)
}

impl Direct {
    pub(crate) fn new(runtimes: Runtimes) -> Result<Self, Failure> {
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
        let (cursor_key, max_event_bytes) = (runtimes.cursor_key, runtimes.max_event_bytes);
        Ok(Self { registry: registry.into(), transports, cursor_key, max_event_bytes })
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses tokens whose files have changed since they were last looked at.
    fn refresh_tokens(&self, concerned: impl Fn(&RuntimeId) -> bool) {
        let concerned = self.transports.iter().filter(|(runtime_id, _)| concerned(runtime_id));
        for (runtime_id, transport) in concerned {
            if let Some(token) = transport.changed_credential(Instant::now()) {
                self.registry().rotate(runtime_id, token);
            }
        }
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

    fn drive(&self, mut call: Call) -> Result<Reply, Error> {
        // Specs and transports come from the same configuration.
        let transport = self.transports.get(call.runtime_id()).expect("a transport for each runtime");
        let end = drive(&mut call, transport);
        self.registry().finish(Instant::now(), call);
        end
    }

    /// One command, driven to its end.
    pub(crate) fn call(&self, runtime_id: &RuntimeId, command: Command) -> Result<Reply, Error> {
        let call = self.registry().call(Instant::now(), runtime_id, command, None)?;
        self.drive(call)
    }

    pub(crate) fn watching(&self, worker: &WorkerRef, cursor: Option<&str>) -> Result<Watched, Error> {
        self.refresh_tokens(|runtime_id| *runtime_id == worker.runtime_id);
        let registry = &mut *self.registry();
        registry.permit_observation(&AllowAll, worker)?;
        let mut encoder =
            Encoder::new(&self.cursor_key, worker.clone(), Arc::new(AllowAll), self.max_event_bytes);
        let place = cursor.map(|cursor| encoder.open(cursor)).transpose()?;
        // Who asks for a place wants that place, who follows wants to go on.
        let at_lost_place =
            if cursor.is_some() { OnExpiredCursor::Stop } else { OnExpiredCursor::Resynchronize };
        let watch = registry.watch(Instant::now(), worker, place, at_lost_place)?;
        let transport = self.transports.get(&worker.runtime_id).expect("a transport for each runtime");
        Ok(Watched { watching: WatchDriver::new(watch, transport.clone()), encoder })
    }
}

impl Backend for Direct {
    fn ask(&self, action: &Action) -> Result<Bytes, Box<Problem>> {
        self.refresh_tokens(|runtime_id| action.concerns(runtime_id));
        let (exchange, calls) =
            Exchange::begin(&mut self.registry(), &AllowAll, Instant::now(), false, action.clone());
        let ends = self.drive_all(calls);
        let now = Now { instant: Instant::now(), wall: SystemTime::now() };
        gateway_client::answer(action, Ok(exchange.response(&self.registry(), &AllowAll, now, ends)))
    }

    fn embeds(&self, runtime_id: &RuntimeId) -> bool {
        matches!(self.transports.get(runtime_id).map(|transport| &**transport), Some(Transport::InProcess(_)))
    }

    fn open_stream(
        &self,
        worker: &WorkerRef,
        cursor: Option<String>,
    ) -> Result<Box<dyn Stream>, Box<Problem>> {
        let watched = self.watching(worker, cursor.as_deref()).map_err(|error| Problem::from(&error))?;
        Ok(Box::new(watched))
    }

    fn hint(&self, problem: &Problem) -> Option<String> {
        let runtime_id = problem.runtime_id.as_deref()?;
        let fails_on_the_way =
            ["network_error", "runtime_timeout", "runtime_auth_failed", "identity_mismatch"];
        fails_on_the_way
            .contains(&&*problem.code)
            .then(|| format!("`sekisho --config FILE doctor {runtime_id}` looks at it phase by phase"))
    }
}

/// A stream, in the form in which viewers get it.
pub(crate) struct Watched {
    watching: WatchDriver,
    encoder: Encoder,
}

impl Stream for Watched {
    fn next_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent, Ended>> {
        loop {
            let event = match self.watching.next_event_until(instant)? {
                Ok(event) => event,
                Err(end) => return Some(Err(end.map_err(|error| Problem::from(&error).into()))),
            };
            let Some(item) = self.encoder.encode(event) else { continue };
            return Some(match Frame::from_text(item.text()) {
                Some(Frame::Event(envelope)) => Ok(GatewayEvent::Event(envelope)),
                Some(Frame::Notice(notice)) => Ok(GatewayEvent::Notice(notice)),
                None => Err(Err(Problem::unexpected_body().into())),
            });
        }
    }
}
