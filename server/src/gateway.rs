//! What one event loop knows, and how it answers a request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use sekisho_core::browser_api::{Action, Door, Exchange, Now, Route, Verdict, problem};
use sekisho_core::call::Call;
use sekisho_core::error::{Error, ErrorKind, Origin};
use sekisho_core::id::RuntimeId;
use sekisho_core::policy::Policy;
use sekisho_core::registry::{Change, Registry};
use sekisho_core::runtime_api::Reply;
use sekisho_transport_tokio::{Transport, drive};
use tokio::sync::broadcast;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::{debug, warn};

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What all loops are made with.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) door: Arc<Door>,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) max_request_bytes: usize,
    /// What one loop's registry has learned, under the loop's number.
    pub(crate) changes: broadcast::Sender<(usize, Change)>,
}

/// One loop's view of all runtimes.
pub(crate) struct Gateway {
    number: usize,
    shared: Shared,
    registry: RefCell<Registry>,
    transports: BTreeMap<RuntimeId, Rc<Transport>>,
    draining: Cell<bool>,
}

impl Gateway {
    pub(crate) fn new(
        number: usize,
        shared: Shared,
        registry: Registry,
        transports: BTreeMap<RuntimeId, Rc<Transport>>,
    ) -> Self {
        Self { number, shared, registry: registry.into(), transports, draining: Cell::new(false) }
    }

    /// Says from now on that it is about to go.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
    }

    /// Takes over what the other loops learn, until there are none.
    pub(crate) async fn follow(&self, mut changes: broadcast::Receiver<(usize, Change)>) {
        loop {
            match changes.recv().await {
                Ok((number, change)) if number != self.number => self.registry.borrow_mut().apply(change),
                // What was missed is learned again from the next calls.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Answers one request.
    pub(crate) async fn respond(self: Rc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let passage = self.shared.door.examine(&head);
        let mut template = "";
        let mut response = match &passage.verdict {
            Verdict::Preflight(answer) => answer.clone(),
            Verdict::Refused(error) => problem(error),
            Verdict::Admitted => match self.answer(&head, body, &mut template).await {
                Ok(response) => response,
                Err(error) => problem(&error),
            },
        };
        passage.dress(&mut response);
        let (status, elapsed) = (response.status().as_u16(), started.elapsed());
        debug!(method = %head.method, route = template, status, ?elapsed, "answered");
        response.map(Full::new)
    }

    async fn answer(
        self: &Rc<Self>,
        head: &Parts,
        body: Incoming,
        template: &mut &'static str,
    ) -> Result<Response<Bytes>, Error> {
        let route = Route::parse(head)?;
        *template = route.template();
        let body = match route.takes_body() {
            true => read_body(body, self.shared.max_request_bytes).await?,
            false => Bytes::new(),
        };
        let action = route.action(&body)?;
        Ok(self.perform(action).await)
    }

    async fn perform(self: &Rc<Self>, action: Action) -> Response<Bytes> {
        self.refresh_tokens(&action);
        let policy = &*self.shared.policy;
        let (exchange, calls) = {
            let mut registry = self.registry.borrow_mut();
            Exchange::begin(&mut registry, policy, Instant::now(), self.draining.get(), action)
        };
        let ends = self.drive_all(calls).await;
        let now = Now { instant: Instant::now(), wall: SystemTime::now() };
        exchange.response(&self.registry.borrow(), policy, now, ends)
    }

    /// Uses tokens whose files have changed since they were last looked at.
    fn refresh_tokens(&self, action: &Action) {
        let now = Instant::now();
        let concerned = self.transports.iter().filter(|(runtime_id, _)| action.concerns(runtime_id));
        for (runtime_id, transport) in concerned {
            if let Some(token) = transport.changed_credential(now) {
                let change = self.registry.borrow_mut().rotate(runtime_id, token);
                self.tell(change);
            }
        }
    }

    async fn drive_all(self: &Rc<Self>, calls: Vec<Call>) -> Vec<Result<Reply, Error>> {
        // One call, as most requests are, needs no task of its own.
        let calls = match <[Call; 1]>::try_from(calls) {
            Ok([call]) => return vec![self.drive(call).await],
            Err(calls) => calls,
        };
        let driven: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let gateway = self.clone();
                spawn_local(async move { gateway.drive(call).await })
            })
            .collect();
        let mut ends = Vec::with_capacity(driven.len());
        for end in driven {
            ends.push(end.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal))));
        }
        ends
    }

    async fn drive(&self, mut call: Call) -> Result<Reply, Error> {
        let Some(transport) = self.transports.get(call.runtime_id()) else {
            return Err(Error::new(ErrorKind::Internal));
        };
        let end = drive(&mut call, transport).await;
        if let Err(error) = &end {
            report(error, call.attempts());
        }
        let change = self.registry.borrow_mut().finish(Instant::now(), call);
        self.tell(change);
        end
    }

    fn tell(&self, change: Option<Change>) {
        if let Some(change) = change {
            // With a single loop there is nobody to tell.
            let _ = self.shared.changes.send((self.number, change));
        }
    }
}

fn report(error: &Error, attempts: u32) {
    if error.kind().origin() == Origin::Client {
        return;
    }
    let runtime_id = error.runtime_id().map(tracing::field::display);
    warn!(runtime_id, code = error.kind().code(), phase = error.kind().phase(), attempts, "a call failed");
}

async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, Error> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Route::body_too_large(limit));
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Route::body_too_large(limit)),
        Ok(Err(_)) | Err(_) => Err(Route::body_incomplete()),
    }
}
