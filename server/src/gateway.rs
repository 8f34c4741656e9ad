//! What one event loop knows, and how it answers a request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use sekisho_core::browser_api::{AccessGuard, Action, Decision, Exchange, Now, Observation, Route, problem};
use sekisho_core::call::Call;
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::policy::Policy;
use sekisho_core::registry::{Change, Registry};
use sekisho_core::runtime_api::Reply;
use sekisho_core::secret::Token;
use sekisho_transport_tokio::{Transport, drive};
use tokio::sync::{broadcast, watch};
use tokio::task::spawn_local;
use tokio::time::{interval, sleep, timeout};
use tracing::{debug, warn};

use crate::event_loop::Busy;
use crate::hub::{Hub, Streams};
use crate::viewer_io::{self, Events};

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How often connections are looked at that nobody uses.
///
/// That a loop's next wake-up is always this near has another effect: a deadline of a request lies behind it, and setting
/// one takes no system call.
const PRUNE_EVERY: Duration = Duration::from_millis(500);

/// Over how long viewers are told to go while the server drains, so that they do not all come back at once.
const GOING_AWAY_OVER: Duration = Duration::from_secs(5);

/// How much of that each viewer adds, so that a few do not wait for as long as thousands.
const GOING_AWAY_EACH: Duration = Duration::from_millis(2);

/// What all loops are made with.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) access_guard: Arc<AccessGuard>,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) max_request_bytes: usize,
    pub(crate) streams: Streams,
    pub(crate) busy: Arc<Busy>,
    pub(crate) drain: watch::Receiver<bool>,
    pub(crate) viewers: Arc<Viewers>,
    /// What one loop's registry has learned, under the loop's number.
    pub(crate) changes: broadcast::Sender<(usize, Change)>,
}

/// One loop's view of all runtimes.
pub(crate) struct Gateway {
    number: usize,
    shared: Shared,
    registry: RefCell<Registry>,
    transports: BTreeMap<RuntimeId, Arc<Transport>>,
    hub: Hub,
}

/// How many viewers there are, over all loops, and how many there may be.
pub(crate) struct Viewers {
    count: AtomicUsize,
    most: usize,
}

/// One viewer's place among them; given back when dropped.
pub(crate) struct Permit(Arc<Viewers>);

impl Viewers {
    pub(crate) fn new(most: usize) -> Self {
        Self { count: AtomicUsize::new(0), most }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a response.
pub(crate) enum ReplyBody {
    Whole(Full<Bytes>),
    Events(Events),
}

impl ReplyBody {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(events) => events.poll_event(context).map(|event| event.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

impl Gateway {
    pub(crate) fn new(
        number: usize,
        shared: Shared,
        registry: Registry,
        transports: BTreeMap<RuntimeId, Arc<Transport>>,
    ) -> Self {
        let hub = Hub::new(shared.streams.clone());
        Self { number, shared, registry: registry.into(), transports, hub }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn registry(&self) -> &RefCell<Registry> {
        &self.registry
    }

    pub(crate) fn transport(&self, runtime_id: &RuntimeId) -> Option<Arc<Transport>> {
        self.transports.get(runtime_id).cloned()
    }

    pub(crate) fn policy(&self) -> Arc<dyn Policy> {
        self.shared.policy.clone()
    }

    pub(crate) fn busy(&self) -> &Arc<Busy> {
        &self.shared.busy
    }

    /// Whether a worker may be seen.
    pub(crate) fn permit_observation(&self, worker: &WorkerRef) -> Result<(), Error> {
        self.refresh_tokens(|runtime_id| *runtime_id == worker.runtime_id);
        self.registry.borrow().permit_observation(&*self.shared.policy, worker)
    }

    /// A place for one more viewer.
    pub(crate) fn viewer_permit(&self) -> Result<Permit, Error> {
        let viewers = &self.shared.viewers;
        let one_more = |count| (count < viewers.most).then_some(count + 1);
        match viewers.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Permit(viewers.clone())),
            Err(_) => Err(Error::new(ErrorKind::TooManyViewers)),
        }
    }

    /// Whether the server is about to go.
    pub(crate) fn drains(&self) -> bool {
        *self.shared.drain.borrow()
    }

    /// Resolves once the server is to go.
    pub(crate) async fn is_draining(&self) {
        // A server that is gone without a word has drained, too.
        let _ = self.shared.drain.clone().wait_for(|draining| *draining).await;
    }

    /// Resolves when one viewer is to be told that the gateway is about to go.
    pub(crate) async fn viewer_goes_away(&self) {
        self.is_draining().await;
        let viewers = u32::try_from(self.shared.viewers.count.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let over = GOING_AWAY_EACH.saturating_mul(viewers).min(GOING_AWAY_OVER);
        // Each `RandomState` is another one: the viewers are spread by chance.
        let share = RandomState::new().hash_one(self.number) % 1024;
        sleep(over * share as u32 / 1024).await;
    }

    /// Learns from a stream.
    pub(crate) fn observed(&self, worker: &WorkerRef, result: Result<(), &Error>, token: Option<Token>) {
        if let Err(error) = result {
            report(error, 0);
        }
        let change = self.registry.borrow_mut().observed(Instant::now(), &worker.runtime_id, result, token);
        self.tell(change);
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

    /// Lets go of connections to runtimes that nobody uses, for as long as the loop runs.
    pub(crate) async fn prune(&self) {
        let mut ticks = interval(PRUNE_EVERY);
        loop {
            ticks.tick().await;
            self.transports.values().for_each(|transport| transport.prune());
        }
    }

    /// Answers one request.
    pub(crate) async fn respond(self: Rc<Self>, mut request: Request<Incoming>) -> Response<ReplyBody> {
        let started = Instant::now();
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        let admission = self.shared.access_guard.examine(&head);
        let mut template = "";
        let mut response = match &admission.decision {
            Decision::Preflight(answer) => answer.clone().map(ReplyBody::whole),
            Decision::Refused(error) => problem(error).map(ReplyBody::whole),
            Decision::Admitted => match Observation::parse(&head) {
                Some(Ok(observation)) => {
                    template = observation.template();
                    viewer_io::respond(self, &head, observation, upgrade).await
                }
                Some(Err(error)) => problem(&error).map(ReplyBody::whole),
                None => match self.answer(&head, body, &mut template).await {
                    Ok(response) => response.map(ReplyBody::whole),
                    Err(error) => problem(&error).map(ReplyBody::whole),
                },
            },
        };
        admission.add_cors_headers(response.headers_mut());
        let (status, elapsed) = (response.status().as_u16(), started.elapsed());
        debug!(method = %head.method, route = template, status, ?elapsed, "answered");
        response
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
        self.refresh_tokens(|runtime_id| action.concerns(runtime_id));
        let policy = &*self.shared.policy;
        let (exchange, calls) = {
            let mut registry = self.registry.borrow_mut();
            Exchange::begin(&mut registry, policy, Instant::now(), self.drains(), action)
        };
        let ends = self.drive_all(calls).await;
        let now = Now { instant: Instant::now(), wall: SystemTime::now() };
        exchange.response(&self.registry.borrow(), policy, now, ends)
    }

    /// Uses tokens whose files have changed since they were last looked at.
    fn refresh_tokens(&self, concerned: impl Fn(&RuntimeId) -> bool) {
        let now = Instant::now();
        let concerned = self.transports.iter().filter(|(runtime_id, _)| concerned(runtime_id));
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
    // What the client asked for in vain is the client's business.
    if !error.kind().status().is_server_error() {
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
