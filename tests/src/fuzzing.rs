//! What must hold of any bytes at all: one function for each target of `fuzz/`, which panics where it does not.
//!
//! `cargo fuzz` searches for such bytes; what it has found worth keeping lies in `fuzz/corpus` and is replayed by the
//! tests of this crate.

mod agent_lines;
mod base_url;
mod browser_request;
mod configuration;
mod cursor;
mod frame;
mod message;
mod runtime_reply;
mod scrubber;
mod watch_and_feed;

pub use agent_lines::agent_lines;
pub use base_url::base_url;
pub use browser_request::browser_request;
pub use configuration::configuration;
pub use cursor::cursor;
pub use frame::frame;
pub use runtime_reply::runtime_reply;
pub use scrubber::scrubber;
pub use watch_and_feed::watch_and_feed;

use std::sync::OnceLock;
use std::time::Instant;

use sekisho_core::call::CallLimits;
use sekisho_core::id::WorkerRef;
use sekisho_core::registry::{Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::secret::Access;
use sekisho_core::transport::Connect;
use sekisho_core::watch::{GIVE_UP_AFTER, Watch, WatchInput, WatchOutput};

/// A target: what it asserts of any bytes.
pub type Target = fn(&[u8]);

/// Every target, under the name of its corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("agent_lines", agent_lines),
    ("base_url", base_url),
    ("browser_request", browser_request),
    ("configuration", configuration),
    ("cursor", cursor),
    ("frame", frame),
    ("runtime_reply", runtime_reply),
    ("scrubber", scrubber),
    ("watch_and_feed", watch_and_feed),
];

/// The worker of the recorded exchanges.
fn worker() -> WorkerRef {
    WorkerRef { runtime_id: "remote-a".parse().unwrap(), worker_id: "worker-00000001".parse().unwrap() }
}

/// What its runtime answers who is there.
fn right_runtime() -> http::Response<bytes::Bytes> {
    http::Response::new(crate::upstream::runtime_summary(worker().runtime_id.as_str()).into())
}

/// A watch's first connect, which it says once it knows who is there.
fn first_connect(now: Instant, watch: &mut Watch) -> Connect {
    let WatchOutput::Send(question) = watch.poll(now) else { panic!("the runtime is not asked") };
    watch.handle(now, WatchInput::Response(question.id, right_runtime()));
    match watch.poll(now) {
        WatchOutput::Connect(connect) => connect,
        other => panic!("{other:?}"),
    }
}

/// The way to a runtime with secrets that an input can hold.
fn access() -> Access {
    static ACCESS: OnceLock<Access> = OnceLock::new();
    let remote = || {
        let base_url = "http://vault.example:7700".parse().unwrap();
        Access::remote(base_url, "s3cr3t-t0k3n".parse().ok())
    };
    ACCESS.get_or_init(remote).clone()
}

/// Of one runtime, behind `access`.
fn registry(access: Access) -> Registry {
    let spec = RuntimeSpec {
        runtime_id: worker().runtime_id,
        display_name: None,
        kind: RuntimeKind::Remote,
        access,
        limits: CallLimits::default(),
        max_in_flight: 64,
        give_up_after: GIVE_UP_AFTER,
    };
    Registry::new(vec![spec], 1).unwrap()
}

/// Where virtual time begins. Nothing depends on when that is.
fn epoch() -> Instant {
    Instant::now()
}
