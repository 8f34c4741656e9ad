use std::time::{Duration, Instant};

use super::quota::Permit;
use super::*;
use crate::browser_api::StreamRequest;
use crate::call::CallLimits;
use crate::cursor::UpstreamCursor;
use crate::error::{Error, ErrorKind};
use crate::feed::{Feed, Item};
use crate::heartbeat::PING_EVERY;
use crate::heartbeat::PONG_WITHIN;
use crate::policy::AllowAll;
use crate::registry::{Registry, RuntimeKind, RuntimeSpec};
use crate::runtime_api::Operation;
use crate::secret::Access;
use crate::watch::{GIVE_UP_AFTER, Observed, WatchEvent};

mod properties;
mod quota;
mod replays;
mod session;

const MOMENT: Duration = Duration::from_millis(1);

fn worker() -> WorkerRef {
    WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() }
}

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn registry() -> Registry {
    let spec = RuntimeSpec {
        runtime_id: worker().runtime_id,
        display_name: None,
        kind: RuntimeKind::Remote,
        access: Access::remote("http://10.1.2.3:7700".parse().unwrap(), None),
        limits: CallLimits::default(),
        max_in_flight: 64,
        give_up_after: GIVE_UP_AFTER,
    };
    Registry::new(vec![spec], 1).unwrap()
}

fn context(max_frames: usize, max_viewers: usize) -> Arc<StreamContext> {
    let limits = FeedLimits { max_frames, ..FeedLimits::default() };
    let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
    Arc::new(StreamContext::new(key, Arc::new(AllowAll), limits, max_viewers))
}

fn place(text: &str) -> UpstreamCursor {
    UpstreamCursor::new(text).unwrap()
}

/// The cursor of a viewer that has seen the event at `at`.
fn sealed(context: &StreamContext, worker: &WorkerRef, at: &str) -> String {
    context.encoder(worker.clone()).encode(event(at)).unwrap().cursor().unwrap().to_owned()
}

fn observed(at: &str) -> Observed {
    Observed { upstream_cursor: place(at), event_id: at.into(), payload: "{}".into() }
}

fn snapshot(at: &str) -> WatchEvent {
    WatchEvent::Snapshot(observed(at))
}

fn event(at: &str) -> WatchEvent {
    WatchEvent::Event(observed(at))
}

fn away() -> WatchEvent {
    WatchEvent::Disconnected { retry_after: Duration::from_millis(50) }
}

/// A frame in short: the cursor of an event, the code of a diagnostic.
fn short(item: &Item) -> String {
    match item.upstream_cursor() {
        Some(place) if item.is_snapshot() => format!("snapshot {}", place.as_str()),
        Some(place) => place.as_str().to_owned(),
        None => {
            let text: serde_json::Value = serde_json::from_slice(item.text()).unwrap();
            text["diagnostic"]["code"].as_str().unwrap().to_owned()
        }
    }
}
