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
//! A request that [`Observation::parse`] makes something of wants a stream instead: [`viewer`](super::viewer) says how.
//!
//! Every step may end in an [`Error`](crate::error::Error), of which [`problem`] makes the response.

mod access_guard;
mod exchange;
mod limits;
mod observation;
mod problem;
mod request;
mod view;

pub use access_guard::{AccessGuard, Admission, AllowedHost, AllowedOrigin, Decision, InvalidAllowance};
pub use exchange::{Exchange, KEY_NOT_HONOURED, Now};
pub use limits::{BODY_TIMEOUT, HEAD_TIMEOUT, MAX_REQUEST_HEAD, WRITE_TIMEOUT};
pub use observation::{
    Form, Observation, SUBPROTOCOL, StreamRequest, event_stream, server_sent_event, switching_protocols,
};
pub use problem::problem;
pub use request::{Action, AllWorkers, Route};
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
