//! From a request to its response.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use sekisho_core::browser_api::{
    Admission, BODY_TIMEOUT, ClientAddress, Decision, Observation, Route, Serves, Wanted, problem_of,
};
use sekisho_core::error::Error;
use sekisho_core::trace::{HttpRequestId, RequestTrace};
use sekisho_telemetry::{Names, Spans};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::budget::Budget;
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::metrics::LoopMetrics;
use crate::refusals::Refusals;
use crate::reply_body::ReplyBody;
use crate::request_log::{Asked, Outcome};
use crate::setup::Setup;
use crate::viewer;

/// What answers the requests of one event loop.
pub(crate) struct Service {
    gateway: Rc<Gateway>,
    setup: watch::Receiver<Arc<Setup>>,
    budget: Budget,
    refusals: Arc<Refusals>,
    serves: Serves,
    spans: Spans,
    names: Names,
}

/// A response, and whether it is a stream, which tells of itself when it is over.
struct Answer {
    response: Response<ReplyBody>,
    is_stream: bool,
}

impl From<Response<ReplyBody>> for Answer {
    fn from(response: Response<ReplyBody>) -> Self {
        Self { response, is_stream: false }
    }
}

impl Service {
    pub(crate) fn new(
        gateway: Rc<Gateway>,
        setup: watch::Receiver<Arc<Setup>>,
        budget: Budget,
        refusals: Arc<Refusals>,
        serves: Serves,
        spans: Spans,
    ) -> Self {
        let names = Names::default();
        Self { gateway, setup, budget, refusals, serves, spans, names }
    }

    pub(crate) fn drain(&self) -> &Drain {
        self.gateway.drain()
    }

    pub(crate) fn metrics(&self) -> &Rc<LoopMetrics> {
        self.gateway.metrics()
    }

    /// Answers one request.
    pub(crate) async fn respond(
        &self,
        mut request: Request<Incoming>,
        client: Option<ClientAddress>,
    ) -> Response<ReplyBody> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        let trace = RequestTrace::of(&head.headers, self.spans.sampler(), || self.names.next());
        let mut asked = Asked::new(trace, head.method.clone(), Instant::now(), self.spans.clone());
        let admission = self.examine(&head);
        let answer = match &admission.decision {
            Decision::Preflight(answer) => Ok(answer.clone().map(ReplyBody::whole).into()),
            Decision::Refused(error) => {
                self.refusals.note(asked.started, error);
                Err(error.clone())
            }
            Decision::Admitted => match Observation::parse(&head) {
                Some(observation) => self.observe(&head, observation, client, upgrade, &mut asked).await,
                None => self.answer(&head, body, &mut asked).await.map(Answer::from),
            },
        };
        let (Answer { mut response, is_stream }, error) = match answer {
            Ok(answer) => (answer, None),
            Err(error) => {
                let problem = problem_of(&error, &asked.trace.request_id).map(ReplyBody::whole);
                (problem.into(), Some(error))
            }
        };
        admission.add_cors_headers(response.headers_mut());
        let request_id = asked.trace.request_id.header_value();
        response.headers_mut().insert(HttpRequestId::HEADER, request_id);
        let (status, error) = (response.status(), error.as_ref());
        let took = (!is_stream).then(|| asked.started.elapsed());
        self.metrics().answered(asked.route, &asked.method, status, took, error);
        if !is_stream {
            asked.tell(&Outcome { status, error, frames: None });
        }
        response
    }

    fn examine(&self, head: &Parts) -> Admission {
        let setup = self.setup.borrow();
        match self.serves {
            Serves::Admin => setup.admin_guard.examine(head),
            Serves::Everything | Serves::Api => setup.guard.examine(head),
        }
    }

    /// How long what is in flight may take once the server drains.
    pub(crate) fn drain_time(&self) -> Duration {
        self.setup.borrow().drain_time
    }

    async fn observe(
        &self,
        head: &Parts,
        observation: Result<Observation, Error>,
        client: Option<ClientAddress>,
        upgrade: OnUpgrade,
        asked: &mut Asked,
    ) -> Result<Answer, Error> {
        let observation = observation?;
        self.serves.streams()?;
        asked.route = observation.template();
        if asked.is_told()
            && let Ok(Wanted::Worker(request)) = &observation.of
        {
            asked.about(Some(&request.worker.runtime_id), Some(&request.worker.worker_id));
        }
        let response = viewer::respond(&self.gateway, head, observation.by(client), upgrade, asked).await?;
        Ok(Answer { response, is_stream: true })
    }

    async fn answer(
        &self,
        head: &Parts,
        body: Incoming,
        asked: &mut Asked,
    ) -> Result<Response<ReplyBody>, Error> {
        let route = Route::parse(head)?;
        asked.route = route.template();
        let (body, _room) = match route.takes_body() {
            true => {
                let limit = self.setup.borrow().max_request_bytes;
                let room = self.budget.admit(&head.method, longest(&body, limit)?)?;
                (read_body(body, limit).await?, Some(room))
            }
            false => (Bytes::new(), None),
        };
        let action = route.action(&body)?;
        self.serves.action(&action)?;
        if asked.is_told() {
            let (runtime_id, worker_id) = action.subject();
            asked.about(runtime_id, worker_id);
        }
        let response = self.gateway.perform(action, asked).await?;
        self.budget.count(&head.method, response)
    }
}

/// How long a body may turn out to be.
fn longest(body: &Incoming, limit: usize) -> Result<usize, Error> {
    let announced = body.size_hint();
    if announced.lower() > limit as u64 {
        return Err(Route::body_too_large(limit));
    }
    let upper = announced.upper().and_then(|upper| usize::try_from(upper).ok());
    Ok(upper.map_or(limit, |upper| upper.min(limit)))
}

async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, Error> {
    match timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Route::body_too_large(limit)),
        Ok(Err(_)) | Err(_) => Err(Route::body_incomplete()),
    }
}
