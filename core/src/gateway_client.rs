//! The client's side of the browser API: for terminals and scripts that speak to a gateway.
//!
//! A [`Gateway`] makes an [`Attempt`] of each [`Action`]. [`answer`] makes of what comes of it the body of the reply, or
//! a [`Problem`], which has the same form whether the gateway said it or could not be reached. [`GatewayStream`] keeps a
//! worker's stream, over as many connections as it takes; frames are read with [`Frame::from_text`]. [`EndDetector`] tells
//! when the worker has ended. [`Gateway::open_fleet_stream`] is the stream of all workers, whose events make a [`FleetView`].
//!
//! A program that goes to the runtimes by itself needs neither [`Gateway`] nor [`GatewayStream`]. It reads the responses of
//! [`Exchange::response`](crate::browser_api::Exchange::response) and the frames of a
//! [`Feed`](crate::feed::Feed) with the same [`answer`] and [`Frame`].
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use http::Response;
//! use sekisho_core::browser_api::{Action, Items, WorkerView};
//! use sekisho_core::gateway_client::{
//!     Gateway, GatewayEvent, GatewayStreamInput, GatewayStreamOutput, answer,
//! };
//! use sekisho_core::id::WorkerRef;
//! use sekisho_core::runtime_api::Command;
//!
//! let gateway = Gateway::new("https://gate.example".parse()?, None);
//!
//! // A command: one attempt, which a transport sends. This one has the answer at hand.
//! let action = Action::Command { runtime_id: "box".parse()?, command: Command::workers() };
//! let attempt = gateway.attempt(Instant::now(), &action);
//! assert_eq!(attempt.request.uri(), "/api/runtimes/box/workers");
//! let response = Response::new(Bytes::from_static(br#"{"items":[],"diagnostics":[]}"#));
//! let body = answer(&action, Ok(response)).map_err(|problem| problem.code)?;
//! let workers: Items<WorkerView> = serde_json::from_slice(&body)?;
//! assert!(workers.items.is_empty());
//!
//! // A worker's stream. The connection of this example has one message, and is closed because the worker is gone.
//! let worker = WorkerRef { runtime_id: "box".parse()?, worker_id: "w".parse()? };
//! let mut stream = gateway.open_stream(Instant::now(), &worker, None, 1);
//! let message = r#"{"kind":"event","envelope":{"cursor":"AQ","event_id":"e1","payload":{}}}"#;
//! let mut messages = vec![Some(message), None].into_iter();
//! let (mut now, mut open, mut events) = (Instant::now(), None, 0);
//! loop {
//!     match stream.poll(now) {
//!         GatewayStreamOutput::Connect(connect) => {
//!             open = Some(connect.id);
//!             stream.handle(now, GatewayStreamInput::Opened(connect.id));
//!         }
//!         GatewayStreamOutput::Ping(_) => {}
//!         GatewayStreamOutput::Close(_) => open = None,
//!         GatewayStreamOutput::Event(GatewayEvent::Event(_)) => events += 1,
//!         GatewayStreamOutput::Event(_) => {}
//!         GatewayStreamOutput::Wait { until, .. } => match (open, messages.next()) {
//!             (Some(id), Some(Some(text))) => stream.handle(now, GatewayStreamInput::Frame(id, text.into())),
//!             (Some(id), _) => {
//!                 open = None;
//!                 stream.handle(now, GatewayStreamInput::Closed(id, Some(4504)));
//!             }
//!             (None, _) => now = until,
//!         },
//!         GatewayStreamOutput::Stopped(end) => break assert!(end.is_err()),
//!     }
//! }
//! assert_eq!(events, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod end_detector;
pub mod fleet;
mod problem;
pub mod stream;
mod subject;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};

pub use crate::diagnostic::{Diagnostic, Severity};
pub use crate::frame::{EndSign, Envelope, Frame};
pub use crate::problem::Problem;
pub use fleet::{
    Attention, FIRST_STATE_WITHIN, FleetEvent, FleetTooLarge, FleetView, LATELY, MAX_FLEET_ENTRIES, TheFleet,
};
pub use problem::{GATEWAY_TIMEOUT, GATEWAY_UNREACHABLE, NOT_A_GATEWAY};
pub use stream::{
    FIRST_BACKOFF, GIVE_UP_AFTER, GatewayEvent, GatewayStream, GatewayStreamInput, GatewayStreamOutput,
    GatewayStreamWait, LONGEST_BACKOFF,
};

pub use end_detector::{EndAnswer, EndDetector, EndOutput};
pub use subject::{Heard, Malformed, OneWorker, Subject};

use crate::browser_api::Action;
use crate::call::CallLimits;
use crate::id::WorkerRef;
use crate::secret::{Access, BaseUrl, Token};
use crate::transport::{Attempt, AttemptLimits, Failure, MAX_IDLE, MAX_IDLE_FOR_ONCE};

/// The bounds of a request to a gateway: more than the gateway's own bounds for all attempts at a runtime together.
pub const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(5),
    response: Duration::from_secs(30),
    max_response_body: 64 << 20,
};

/// A gateway: its URL, and the access token that it asks for.
#[derive(Debug)]
pub struct Gateway {
    access: Access,
}

impl Gateway {
    /// A gateway at this URL, with this access token.
    pub fn new(base_url: BaseUrl, access_token: Option<Token>) -> Self {
        Self { access: Access::remote(base_url, access_token) }
    }

    /// A gateway in the same process, for [`open_stream`](Gateway::open_stream) and
    /// [`open_fleet_stream`](Gateway::open_fleet_stream) alone. The driver has the gateway's side, too: it takes each
    /// [`Connect`](crate::transport::Connect) as a request for the stream, of a worker after [`GatewayStream::cursor`].
    pub fn in_process() -> Self {
        Self { access: Access::in_process() }
    }

    /// What to send, once, for this action. What has changed something is never sent twice by itself.
    pub fn attempt(&self, now: Instant, action: &Action) -> Attempt {
        let CallLimits { connect, response, max_response_body } = LIMITS;
        let once = action.changes_something();
        Attempt::only(
            self.access.target(),
            addressed(&self.access, action.request()),
            AttemptLimits {
                connect,
                response,
                body: response,
                max_body: max_response_body,
                deadline: now + connect + response + response,
                max_idle: if once { MAX_IDLE_FOR_ONCE } else { MAX_IDLE },
            },
        )
    }

    /// Opens the stream of a worker: after a cursor, or with a snapshot of the present. The seed spreads the pauses between
    /// connects.
    pub fn open_stream(
        &self,
        now: Instant,
        worker: &WorkerRef,
        cursor: Option<String>,
        seed: u64,
    ) -> GatewayStream {
        let subject = OneWorker::new(worker.clone(), cursor);
        GatewayStream::new(now, self.access.clone(), subject, seed)
    }

    /// Opens the stream of all workers of all runtimes, which begins with the state of everything, each time that it is
    /// connected. The seed is as above.
    pub fn open_fleet_stream(&self, now: Instant, seed: u64) -> GatewayStream<TheFleet> {
        GatewayStream::new(now, self.access.clone(), TheFleet::new(), seed)
    }
}

/// A request of the browser API, with the path prefix and the headers of this gateway.
fn addressed<T>(access: &Access, mut request: Request<T>) -> Request<T> {
    let prefix = access.path_prefix();
    if !prefix.is_empty() {
        // Both were URIs' paths before.
        let path = format!("{prefix}{}", request.uri()).try_into();
        *request.uri_mut() = path.expect("a path behind a path");
    }
    access.add_headers(request.headers_mut());
    request
}

/// What came of a request: the body of the gateway's reply, or a problem, also where the gateway could not be reached.
pub fn answer(action: &Action, end: Result<Response<Bytes>, Failure>) -> Result<Bytes, Box<Problem>> {
    match end {
        Ok(response) if response.status().is_success() => Ok(response.into_body()),
        Ok(response) => Err(Problem::from_response(&response, action.changes_something()).into()),
        Err(failure) => Err(Problem::from_transport_failure(failure, action.changes_something()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{NetworkPhase, Outcome};
    use crate::runtime_api::{Command, Input, InputKind};
    use crate::transport::FailureCause;

    fn input() -> Action {
        let input = Input::new(InputKind::User, "x");
        let command = Command::Input { worker_id: "w".parse().unwrap(), input, key: None };
        Action::Command { runtime_id: "r".parse().unwrap(), command }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn what_is_sent_and_for_how_long() {
        let gateway = Gateway::new("http://gate.example/sekisho".parse().unwrap(), "s3cret".parse().ok());
        let now = Instant::now();
        let attempt = gateway.attempt(now, &input());
        assert_eq!(attempt.request.uri(), "/sekisho/api/runtimes/r/workers/w/input");
        assert_eq!(attempt.request.headers()["host"], "gate.example");
        assert_eq!(attempt.request.headers()["authorization"], "Bearer s3cret");
        assert_eq!(attempt.limits.deadline, now + LIMITS.total());
        assert_eq!(attempt.limits.max_idle, MAX_IDLE_FOR_ONCE);
        assert_eq!(gateway.attempt(now, &Action::Runtimes).limits.max_idle, MAX_IDLE);
    }

    #[test]
    fn what_comes_of_it() {
        let response =
            |status: u16, body: &'static str| Response::builder().status(status).body(body.into()).unwrap();
        assert_eq!(answer(&Action::Runtimes, Ok(response(200, "{}"))).unwrap(), "{}");
        let page = answer(&input(), Ok(response(502, "<html>"))).unwrap_err();
        assert_eq!(
            (&*page.code, page.status, page.outcome),
            (NOT_A_GATEWAY, Some(502), Some(Outcome::Unknown))
        );
        assert_eq!(answer(&Action::Runtimes, Ok(response(502, "<html>"))).unwrap_err().outcome, None);
        let cut_short = answer(&Action::Runtimes, Err(Failure::sent(FailureCause::CutShort))).unwrap_err();
        assert_eq!((&*cut_short.code, cut_short.retryable), (NOT_A_GATEWAY, false));
        let broken = FailureCause::Network(NetworkPhase::Connect);
        for (failure, outcome) in
            [(Failure::unsent(broken), Outcome::NotApplied), (Failure::sent(broken), Outcome::Unknown)]
        {
            let problem = answer(&input(), Err(failure)).unwrap_err();
            assert_eq!((&*problem.code, problem.outcome), (GATEWAY_UNREACHABLE, Some(outcome)));
            assert_eq!((problem.phase.as_deref(), problem.retryable), (Some("connect"), true));
        }
    }
}
