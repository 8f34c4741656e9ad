//! From a request to its response.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use sekisho_core::browser_api::{
    AccessGuard, BODY_TIMEOUT, ClientAddress, Decision, Observation, Route, problem,
};
use sekisho_core::error::Error;
use tokio::time::timeout;
use tracing::debug;

use crate::budget::Budget;
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::refusals::Refusals;
use crate::reply_body::ReplyBody;
use crate::viewer;

/// What answers the requests of one event loop.
pub(crate) struct Service {
    gateway: Rc<Gateway>,
    access_guard: Arc<AccessGuard>,
    max_request_bytes: usize,
    budget: Budget,
    refusals: Arc<Refusals>,
}

impl Service {
    pub(crate) fn new(
        gateway: Rc<Gateway>,
        access_guard: Arc<AccessGuard>,
        max_request_bytes: usize,
        budget: Budget,
        refusals: Arc<Refusals>,
    ) -> Self {
        Self { gateway, access_guard, max_request_bytes, budget, refusals }
    }

    pub(crate) fn drain(&self) -> &Drain {
        self.gateway.drain()
    }

    /// Answers one request.
    pub(crate) async fn respond(
        &self,
        mut request: Request<Incoming>,
        client: Option<ClientAddress>,
    ) -> Response<ReplyBody> {
        let started = Instant::now();
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        let admission = self.access_guard.examine(&head);
        let mut template = "";
        let mut response = match &admission.decision {
            Decision::Preflight(answer) => answer.clone().map(ReplyBody::whole),
            Decision::Refused(error) => {
                self.refusals.note(started, error);
                problem(error).map(ReplyBody::whole)
            }
            Decision::Admitted => match Observation::parse(&head) {
                Some(Ok(observation)) => {
                    template = observation.template();
                    viewer::respond(self.gateway.clone(), &head, observation.by(client), upgrade).await
                }
                Some(Err(error)) => problem(&error).map(ReplyBody::whole),
                None => match self.answer(&head, body, &mut template).await {
                    Ok(response) => response,
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
        &self,
        head: &Parts,
        body: Incoming,
        template: &mut &'static str,
    ) -> Result<Response<ReplyBody>, Error> {
        let route = Route::parse(head)?;
        *template = route.template();
        let (body, _room) = match route.takes_body() {
            true => {
                let limit = self.max_request_bytes;
                let room = self.budget.admit(&head.method, longest(&body, limit)?)?;
                (read_body(body, limit).await?, Some(room))
            }
            false => (Bytes::new(), None),
        };
        let action = route.action(&body)?;
        let response = self.gateway.perform(action).await;
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
