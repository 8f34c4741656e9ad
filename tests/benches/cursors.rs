//! What a frame costs a gateway for a viewer that comes with an old cursor, against one whose cursor the ring has:
//! `cargo bench --bench cursors`.
//!
//! No network: a runtime's frames are given to core's watches, and their feeds to sessions. Both kinds of viewers read the same
//! frames, the ones from the ring, the others from a replay stream, which asks after each frame whether the ring has it.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail where it cannot measure")]

#[allow(dead_code, reason = "other benchmarks ask for more")]
mod figures;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sekisho_core::browser_api::StreamRequest;
use sekisho_core::cursor::{CursorKey, Sealer, UpstreamCursor};
use sekisho_core::feed::FeedLimits;
use sekisho_core::id::WorkerRef;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::{Registry, RuntimeSpec};
use sekisho_core::viewer::{
    SharedStream, SharedStreamInput, SharedStreamOutput, SharedStreamWait, StreamContext, ViewerInput,
    ViewerOutput, ViewerSession,
};
use sekisho_core::watch::{Observed, WatchEvent};

use figures::{Bars, median};

const ROUNDS: usize = 9;

/// How many frames a viewer is shown: as many as a ring has.
const FRAMES: usize = 8192;

/// How many viewers share a replay.
const SHARED: usize = 10;

/// Four times what a frame from the ring costs.
const BAR: f64 = 4.0;

struct Scene {
    now: Instant,
    registry: Registry,
    context: Arc<StreamContext>,
    shared: SharedStream,
}

fn worker() -> WorkerRef {
    WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() }
}

fn key() -> CursorKey {
    CursorKey::from_bytes([7; CursorKey::LENGTH])
}

fn place(number: usize) -> UpstreamCursor {
    UpstreamCursor::new(&format!("wo_{number:016}")).unwrap()
}

fn event(number: usize) -> WatchEvent {
    let payload =
        format!(r#"{{"event":"text_delta","data":{{"text":"line {number} of a build's output"}}}}"#);
    let event_id = number.to_string().into();
    WatchEvent::Event(Observed { upstream_cursor: place(number), event_id, payload: payload.into() })
}

impl Scene {
    /// A worker's stream whose ring has the newest frames of twice as many.
    fn new() -> Self {
        let now = Instant::now();
        let spec = RuntimeSpec::remote("rt".parse().unwrap(), "http://10.1.2.3:7700".parse().unwrap(), None);
        let registry = Registry::new(vec![spec], 1).unwrap();
        let context = StreamContext::new(key(), Arc::new(AllowAll), FeedLimits::default(), 4096);
        let context = Arc::new(context);
        let mut shared = SharedStream::new(now, &context, worker(), 1);
        let payload = Bytes::from_static(b"{}");
        let snapshot = Observed { upstream_cursor: place(0), event_id: "snapshot:0".into(), payload };
        shared.handle(now, SharedStreamInput::Watch(WatchEvent::Snapshot(snapshot)));
        for number in 1..=2 * FRAMES {
            shared.handle(now, SharedStreamInput::Watch(event(number)));
            while matches!(shared.poll(now), SharedStreamOutput::Update(_)) {}
        }
        Self { now, registry, context, shared }
    }

    fn viewer(&self, after: usize) -> ViewerSession {
        let cursor = Some(Sealer::new(&key(), worker()).seal(&place(after)));
        let request = StreamRequest { worker: worker(), cursor, client: None };
        ViewerSession::open(self.now, &self.context, &self.registry, request).unwrap()
    }

    /// What a frame costs from the ring.
    fn young(&self) -> Duration {
        let mut viewer = self.viewer(FRAMES + 1);
        let begun = Instant::now();
        assert_eq!(self.read(&mut viewer, None), FRAMES, "its end is told, too");
        begun.elapsed() / FRAMES as u32
    }

    /// What a frame costs each of so many viewers that share a replay, and how much of that is to encode it.
    fn old(&self, count: usize) -> (Duration, Duration) {
        let mut viewers: Vec<ViewerSession> = (0..count).map(|_| self.viewer(0)).collect();
        let mut replay = None;
        for viewer in &mut viewers {
            match viewer.poll(self.now, self.shared.feed(), None) {
                ViewerOutput::OpenReplay(order) => {
                    replay.get_or_insert_with(|| SharedStream::replay(self.now, &self.context, order, 1));
                }
                other => panic!("{other:?}"),
            }
        }
        let mut replay = replay.unwrap();
        let events: Vec<WatchEvent> = (1..=FRAMES).map(event).collect();
        let (begun, mut encoding) = (Instant::now(), Duration::ZERO);
        let mut shown = 0;
        let mut events = events.into_iter();
        while events.len() > 0 {
            let encodes = Instant::now();
            loop {
                match replay.poll(self.now) {
                    SharedStreamOutput::Wait { why: SharedStreamWait::Pace, .. } => break,
                    SharedStreamOutput::Wait { .. } => {
                        let Some(event) = events.next() else { break };
                        replay.handle(self.now, SharedStreamInput::Watch(event));
                    }
                    SharedStreamOutput::Update(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            encoding += encodes.elapsed();
            for viewer in &mut viewers {
                shown += self.read(viewer, Some(&replay));
            }
        }
        assert!(shown >= (FRAMES - 1) * count, "{shown}");
        let each = (FRAMES * count) as u32;
        (begun.elapsed() / each, encoding / each)
    }

    /// Reads what there is. How many frames that was.
    fn read(&self, viewer: &mut ViewerSession, replay: Option<&SharedStream>) -> usize {
        let mut shown = 0;
        loop {
            match viewer.poll(self.now, self.shared.feed(), replay.map(SharedStream::feed)) {
                ViewerOutput::Frame(_) => {
                    shown += 1;
                    viewer.handle(self.now, ViewerInput::Written);
                }
                ViewerOutput::WakeReplay => {}
                ViewerOutput::Wait { .. } => return shown,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn main() -> ExitCode {
    let Some(mut bars) = Bars::of_this_run() else { return ExitCode::SUCCESS };
    let scene = Scene::new();
    let (mut alone, mut asking, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        let (young, (old, encoding), (each, _)) = (scene.young(), scene.old(1), scene.old(SHARED));
        let nanos = |time: Duration| time.as_nanos() as f64;
        alone.push(nanos(old) / nanos(young));
        asking.push(nanos(old - encoding) / nanos(young));
        shared.push(nanos(each) / nanos(young));
        figures.push([young, old, encoding, each].map(nanos));
    }
    for (at, what) in
        ["from the ring", "a replay of its own", "of that to encode it", "a replay of ten"].iter().enumerate()
    {
        println!("{what:<44} {:>8.0} ns a frame", median(figures.iter().map(|figures| figures[at])));
    }
    // Each replay encodes what it reads, once for all of its viewers; the rest is what each of them costs.
    println!("{:<44} {:>8.2}", "an old cursor, alone / from the ring", median(alone));
    bars.hold("the same, but for encoding", &asking, BAR);
    bars.hold("an old cursor, one of ten / from the ring", &shared, BAR);
    bars.verdict()
}
