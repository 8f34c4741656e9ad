//! The API that browsers, terminals and scripts speak (`docs/http-api.md`): requests in, replies out.
//!
//! A server obeys, for each request:
//!
//! 1. [`AccessGuard::examine`] the head. Whatever comes of the request, its response leaves through [`Admission::add_cors_headers`].
//! 2. [`Route::parse`] the head.
//! 3. Where the route [takes a body](Route::takes_body), read it, up to the server's limit.
//! 4. [`Route::action`] makes an [`Action`] of both.
//! 5. [`Exchange::begin`] says which calls to drive; drive them all at once.
//! 6. [`Exchange::response`] says what to answer.
//!
//! Between 4 and 5, a server with many clients asks a [`Coalescer`] whether a [`Read`] is to share its exchange with equal ones.
//!
//! A request that [`Observation::parse`] makes something of wants a stream instead: [`viewer`](super::viewer) says how.
//!
//! With the feature `pages`, a route may be an `Asset`: the OpenAPI document of this API, or a page. It
//! needs `schemars`, which a client has no use for.
//!
//! Every step may end in an [`Error`](crate::error::Error), of which [`problem`] makes the response.
//!
//! ```
//! use std::time::{Instant, SystemTime};
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use sekisho_core::browser_api::{AccessGuard, Decision, Exchange, Now, Route, problem};
//! use sekisho_core::call::{Call, CallInput, CallOutput};
//! use sekisho_core::error::Error;
//! use sekisho_core::policy::AllowAll;
//! use sekisho_core::registry::{Registry, RuntimeSpec};
//! use sekisho_core::runtime_api::Reply;
//!
//! /// Drives a call with a transport that has one answer for everything.
//! fn drive(call: &mut Call) -> Result<Reply, Error> {
//!     loop {
//!         match call.poll(Instant::now()) {
//!             CallOutput::Send(attempt) => {
//!                 let response = Response::new(r#"{"workers":[]}"#.into());
//!                 call.handle(Instant::now(), CallInput::Response(attempt.id, response));
//!             }
//!             CallOutput::RefreshCredential => call.handle(Instant::now(), CallInput::Credential(None)),
//!             CallOutput::Wait { until, .. } => std::thread::sleep(until - Instant::now()),
//!             CallOutput::Done(result) => return result,
//!         }
//!     }
//! }
//!
//! /// Steps 2 to 6.
//! fn perform(registry: &mut Registry, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
//!     let (head, body) = request.into_parts();
//!     let action = Route::parse(&head)?.action(&body)?;
//!     let (exchange, mut calls) = Exchange::begin(registry, &AllowAll, Instant::now(), false, action);
//!     let results = calls.iter_mut().map(drive).collect();
//!     for call in calls {
//!         registry.finish(Instant::now(), call);
//!     }
//!     let now = Now { instant: Instant::now(), wall: SystemTime::now() };
//!     exchange.response(registry, &AllowAll, now, results)
//! }
//!
//! let spec = RuntimeSpec::remote("box".parse()?, "https://10.0.0.5:7700".parse()?, None);
//! let mut registry = Registry::new(vec![spec], 1)?;
//! let guard = AccessGuard::new(Vec::new(), Vec::new(), None);
//! let mut serve = |uri: &str| {
//!     let request = Request::get(uri).header("host", "localhost").body(Bytes::new()).unwrap();
//!     let (head, body) = request.into_parts();
//!     let mut admission = guard.examine(&head);
//!     let mut response = match std::mem::replace(&mut admission.decision, Decision::Admitted) {
//!         Decision::Admitted => perform(&mut registry, Request::from_parts(head, body))
//!             .unwrap_or_else(|error| problem(&error)),
//!         Decision::Preflight(response) => response,
//!         Decision::Refused(error) => problem(&error),
//!     };
//!     admission.add_cors_headers(response.headers_mut());
//!     response
//! };
//! let list = serve("/api/runtimes/box/workers");
//! assert_eq!((list.status().as_u16(), &list.body()[..]), (200, &br#"{"items":[],"diagnostics":[]}"#[..]));
//! assert_eq!(serve("/api/runtimes/other/workers").status(), 404);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access_guard;
#[cfg(feature = "pages")]
mod asset;
mod coalescer;
mod exchange;
mod fleet;
mod limits;
mod observation;
#[cfg(feature = "pages")]
pub mod openapi;
mod problem;
mod request;
mod serves;
mod view;

pub use access_guard::{AccessGuard, Admission, AllowedHost, AllowedOrigin, Decision, InvalidAllowance};
#[cfg(feature = "pages")]
pub use asset::Asset;
pub use coalescer::{Coalescer, MAX_EQUAL_READS, Read, Turn};
pub use exchange::{Exchange, KEY_NOT_HONOURED, Now};
pub use fleet::{FleetChange, FleetFrame, FleetRuntime};
pub(crate) use fleet::{Lens, lens, shown_requests, shown_workers};
pub use limits::{
    BODY_TIMEOUT, HEAD_TIMEOUT, MAX_REPLIES, MAX_REQUEST_BODIES, MAX_REQUEST_HEAD, ROOM_AFTER, WRITE_TIMEOUT,
};
pub use observation::{
    ClientAddress, Form, Observation, SUBPROTOCOL, StreamRequest, Wanted, event_stream, switching_protocols,
};
pub use problem::{problem, problem_of};
pub use request::{Action, AllWorkers, Route};
pub use serves::Serves;
pub use view::{
    AckReply, AckView, Capabilities, HealthReply, ItemView, Items, Limits, MAX_LISTED_TEXT, ProfileView,
    RequestView, RequestsReply, RuntimeReply, RuntimeView, TranscriptReply, TranscriptView,
    WorkerCapabilities, WorkerCounts, WorkerReply, WorkerView,
};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

/// What most bodies fit into, in bytes, so that they are written without being moved.
const USUAL_BODY: usize = 1 << 10;

/// How many headers most responses have.
const USUAL_HEADERS: usize = 4;

fn json(status: StatusCode, media_type: &'static str, body: &impl Serialize) -> Response<Bytes> {
    let mut bytes = Vec::with_capacity(USUAL_BODY);
    // Plain structs of texts and numbers: there is no map with keys that JSON could not have.
    serde_json::to_writer(&mut bytes, body).expect("plain data");
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(USUAL_HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
