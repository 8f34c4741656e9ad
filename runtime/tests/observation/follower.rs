//! A subscriber without an async runtime: it parks its thread until it is woken.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use sekisho_core::id::WorkerId;
use sekisho_runtime::{Runtime, Subscription};
use serde_json::Value;

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) struct Follower(Subscription);

impl Follower {
    pub(crate) fn of(runtime: &Runtime, worker_id: &WorkerId, cursor: Option<&str>) -> Self {
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let request = Request::get(format!("/v1/workers/{worker_id}/events/ws{query}"));
        Self(runtime.observe(&request.body(Bytes::new()).unwrap()).unwrap())
    }

    /// Waits for the next frame; `None` after the last.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let begun = Instant::now();
        loop {
            if let Poll::Ready(frame) = self.0.poll_frame(&mut Context::from_waker(&waker)) {
                return frame.map(|frame| serde_json::from_slice(&frame).unwrap());
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for a frame");
            thread::park_timeout(PATIENCE);
        }
    }

    /// What there is without waiting.
    pub(crate) fn ready(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Poll::Ready(Some(frame)) = self.0.poll_frame(&mut Context::from_waker(Waker::noop())) {
            frames.push(serde_json::from_slice(&frame).unwrap());
        }
        frames
    }
}

/// The cursor of an event that the runtime gave this number.
pub(crate) fn cursor(runtime: &Runtime, event_id: u64) -> String {
    let request = Request::get("/v1/runtime").body(Bytes::new()).unwrap();
    let body: Value = serde_json::from_slice(runtime.handle(&request).body()).unwrap();
    format!("{}.{event_id}", &body["runtime"]["incarnation"].as_str().unwrap()[..16])
}
