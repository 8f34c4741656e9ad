//! What holds of every input: ids, base URLs, requests, replies, frames, cursors, texts with secrets in them, and
//! errors. What holds over time is in `watch.rs`.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[path = "properties/any.rs"]
mod any;
#[path = "properties/cursors.rs"]
mod cursors;
#[path = "properties/errors.rs"]
mod errors;
#[path = "properties/frames.rs"]
mod frames;
#[path = "properties/names.rs"]
mod names;
#[path = "properties/replies.rs"]
mod replies;
#[path = "properties/requests.rs"]
mod requests;
#[path = "properties/scrubbing.rs"]
mod scrubbing;

use std::time::Instant;

use bytes::Bytes;
use http::Response;
use proptest::prelude::ProptestConfig;
use sekisho_core::call::CallLimits;
use sekisho_core::registry::{Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::secret::Access;
use sekisho_core::transport::Connect;
use sekisho_core::watch::{GIVE_UP_AFTER, Watch, WatchInput, WatchOutput};

/// So many cases of each property that all of them take seconds.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What the runtime `rt` answers who is there.
fn right_runtime() -> Response<Bytes> {
    Response::new(Bytes::from_static(br#"{"runtime":{"runtime_id":"rt","display_name":null,"backend":"memory","status":"running","worker_count":0,"active_worker_count":0,"stopped_worker_count":0,"cancelled_worker_count":0,"diagnostic_count":0,"limits":{"max_transcript_projection_items":256,"max_event_batch_items":256},"features":["idempotency"]}}"#))
}

/// A watch's first connect, which it says once it knows who is there.
fn first_connect(watch: &mut Watch, now: Instant) -> Connect {
    let WatchOutput::Send(question) = watch.poll(now) else { panic!("the runtime is not asked") };
    watch.handle(now, WatchInput::Response(question.id, right_runtime()));
    match watch.poll(now) {
        WatchOutput::Connect(connect) => connect,
        other => panic!("{other:?}"),
    }
}

/// Of a single runtime, `rt`.
fn registry(access: Access) -> Registry {
    let spec = RuntimeSpec {
        runtime_id: "rt".parse().unwrap(),
        display_name: None,
        kind: RuntimeKind::Remote,
        access,
        limits: CallLimits::default(),
        max_in_flight: 64,
        give_up_after: GIVE_UP_AFTER,
    };
    Registry::new(vec![spec], 1).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn epoch() -> Instant {
    Instant::now()
}
