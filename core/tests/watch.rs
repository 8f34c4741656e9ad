//! Whatever a watch hears, and whatever it does not hear, what it says stays in its bounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use proptest::prelude::*;
use sekisho_core::call::CallLimits;
use sekisho_core::cursor::{CursorKey, UpstreamCursor};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::feed::{Encoder, Feed, FeedLimits};
use sekisho_core::id::WorkerRef;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::{Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::runtime_api::{Envelope, Frame, SNAPSHOT_PREFIX, StreamDiagnostic};
use sekisho_core::secret::Access;
use sekisho_core::transport::{ConnId, FailureCause, Loss};
use sekisho_core::watch::{GIVE_UP_AFTER, OnExpiredCursor, Watch, WatchInput, WatchOutput};
use serde_json::Value;
use serde_json::value::RawValue;

/// Small enough for a schedule to overrun it.
const RING: FeedLimits = FeedLimits { max_frames: 6, max_bytes: 1300, max_event: 160 };

/// The most that a watch may say before it waits: after one input, or at its time.
const MAX_OUTPUTS: usize = 8;

/// What the right runtime answers who is there.
const RIGHT_RUNTIME: &[u8] = br#"{"runtime":{"runtime_id":"rt","display_name":null,"backend":"memory","status":"running",
    "worker_count":0,"active_worker_count":0,"stopped_worker_count":0,"cancelled_worker_count":0,"diagnostic_count":0,
    "limits":{"max_transcript_projection_items":256,"max_event_batch_items":256}}}"#;

fn worker() -> WorkerRef {
    let parsed = ("rt".parse(), "w".parse());
    WorkerRef { runtime_id: parsed.0.expect("an id"), worker_id: parsed.1.expect("an id") }
}

fn registry() -> Registry {
    let spec = RuntimeSpec {
        runtime_id: worker().runtime_id,
        display_name: None,
        kind: RuntimeKind::Remote,
        access: Access::remote("http://10.1.2.3:7700".parse().expect("a URL"), "first-token".parse().ok()),
        limits: CallLimits::default(),
        max_in_flight: 64,
        give_up_after: GIVE_UP_AFTER,
    };
    Registry::new(vec![spec], 1).expect("one runtime")
}

fn encoder() -> Encoder {
    let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
    Encoder::new(&key, worker(), Arc::new(AllowAll), RING.max_event)
}

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn frame(event_id: &str, cursor: &str, payload: &str) -> Bytes {
    let payload: Box<RawValue> = serde_json::from_str(payload).expect("JSON");
    let envelope = Envelope {
        cursor: cursor.into(),
        event_id: event_id.into(),
        worker_id: "w".into(),
        payload: &payload,
    };
    Frame::Event(envelope).into_text()
}

fn diagnostic(code: &str) -> Bytes {
    let code = format!("runtime.{code}").into();
    Frame::Diagnostic(StreamDiagnostic { code, message: "m".into() }).into_text()
}

fn response(status: u16, body: &[u8], retry_after: Option<&[u8]>) -> Response<Bytes> {
    let mut response = Response::builder().status(status);
    if let Some(wait) = retry_after {
        response = response.header("retry-after", wait);
    }
    response.body(Bytes::copy_from_slice(body)).expect("a response")
}

/// What a watch may hear, of a connection so many before the newest.
#[derive(Clone, Debug)]
enum Noise {
    Opened,
    Refused(u16, Vec<u8>, Option<Vec<u8>>),
    Frame(Vec<u8>),
    Pong,
    Lost(Loss),
    Credential(Option<String>),
    Stop,
    Pass(Duration),
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let codes = vec!["cursor_expired", "cursor_unknown_or_expired", "cursor_malformed", "unavailable", "new"];
    let payload = prop::sample::select(vec!["{}", "1", r#""first-token""#, "[\n]"]);
    let event = (any::<bool>(), 0..5u8, payload).prop_map(|(is_snapshot, number, payload)| {
        let cursor = format!("c{number}");
        let prefix = if is_snapshot { SNAPSHOT_PREFIX } else { "" };
        frame(&format!("{prefix}{cursor}"), &cursor, payload).to_vec()
    });
    let event = event.boxed();
    prop_oneof![
        12 => event.clone(),
        4 => prop::sample::select(codes).prop_map(|code| diagnostic(code).to_vec()),
        1 => (event, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut text, index, byte)| {
            *index.get_mut(&mut text) = byte;
            text
        }),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn any_loss() -> impl Strategy<Value = Loss> {
    prop::sample::select(vec![
        Loss::Ended,
        Loss::Malformed,
        Loss::TooLarge,
        Loss::Failed(FailureCause::Network(NetworkPhase::Connect)),
        Loss::Failed(FailureCause::Timeout(TimeoutPhase::Connect)),
    ])
}

fn noise() -> impl Strategy<Value = Noise> {
    let status = prop::sample::select(vec![101, 200, 302, 401, 404, 429, 500, 503, 999]);
    let body = prop::collection::vec(any::<u8>(), 0..32);
    let wait = prop::option::of("[ -~]{0,20}".prop_map(String::into_bytes));
    prop_oneof![
        6 => Just(Noise::Opened),
        1 => (status, body, wait).prop_map(|(status, body, wait)| Noise::Refused(status, body, wait)),
        12 => any_frame().prop_map(Noise::Frame),
        2 => Just(Noise::Pong),
        3 => any_loss().prop_map(Noise::Lost),
        1 => prop::option::of("[a-z]{1,8}").prop_map(Noise::Credential),
        1 => Just(Noise::Stop),
        8 => (0..20_000u64).prop_map(|millis| Noise::Pass(Duration::from_millis(millis))),
    ]
}

/// A driver that hears anything at all, true or not.
struct Listener {
    now: Instant,
    watch: Watch,
    ids: Vec<ConnId>,
    open: Option<ConnId>,
    stopped: bool,
    encoder: Encoder,
    feed: Feed,
}

impl Listener {
    fn new(place: Option<&str>, on_expired_cursor: OnExpiredCursor) -> Self {
        let now = epoch();
        let watch = registry().watch(now, &worker(), place.and_then(UpstreamCursor::new), on_expired_cursor);
        Self {
            now,
            watch: watch.expect("a known runtime"),
            ids: Vec::new(),
            open: None,
            stopped: false,
            encoder: encoder(),
            feed: Feed::new(RING),
        }
    }

    fn hear(&mut self, noise: Noise, back: usize) {
        let id = self.ids.iter().rev().nth(back).copied();
        let input = match (noise, id) {
            (Noise::Pass(time), _) => {
                self.now += time;
                return;
            }
            (Noise::Stop, _) => WatchInput::Stop,
            (Noise::Credential(token), _) => WatchInput::Credential(token.and_then(|it| it.parse().ok())),
            (_, None) => return,
            (Noise::Opened, Some(id)) => WatchInput::Opened(id),
            (Noise::Frame(text), Some(id)) => WatchInput::Frame(id, text.into()),
            (Noise::Pong, Some(id)) => WatchInput::Pong(id),
            (Noise::Refused(status, body, wait), Some(id)) => {
                self.open = self.open.filter(|open| *open != id);
                WatchInput::Refused(id, response(status, &body, wait.as_deref()))
            }
            (Noise::Lost(loss), Some(id)) => {
                self.open = self.open.filter(|open| *open != id);
                WatchInput::Lost(id, loss)
            }
        };
        self.watch.handle(self.now, input);
    }

    fn drain(&mut self) {
        for _ in 0..=MAX_OUTPUTS {
            if self.stopped {
                return;
            }
            match self.watch.poll(self.now) {
                WatchOutput::Send(question) => {
                    let answer = Response::new(Bytes::from_static(RIGHT_RUNTIME));
                    self.watch.handle(self.now, WatchInput::Response(question.id, answer));
                }
                WatchOutput::Connect(connect) => {
                    assert!(self.open.replace(connect.id).is_none(), "one connection at a time");
                    self.ids.push(connect.id);
                }
                WatchOutput::Ping(id) => assert_eq!(self.open, Some(id)),
                WatchOutput::Close(id) => assert_eq!(self.open.take(), Some(id)),
                WatchOutput::RefreshCredential => assert_eq!(self.open, None),
                WatchOutput::Event(event) => {
                    let Some(item) = self.encoder.encode(event) else { continue };
                    assert!(serde_json::from_slice::<Value>(item.text()).is_ok());
                    let text = String::from_utf8_lossy(item.text());
                    assert!(!text.contains(['\n', '\r']) && !text.contains("first-token"), "{text}");
                    self.feed.apply(item);
                    assert!(self.feed.retained().0 <= RING.max_frames);
                }
                WatchOutput::Wait { until, why } => {
                    assert!(until > self.now, "it is waiting for what is past: {why:?}");
                    return;
                }
                WatchOutput::Stopped(_) => {
                    assert_eq!(self.open, None);
                    self.stopped = true;
                }
            }
        }
        panic!("it goes on and on");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_watch_hears_upsets_it(
        place in prop::option::of(Just("c0")),
        on_expired_cursor in prop::sample::select(vec![OnExpiredCursor::Resynchronize, OnExpiredCursor::Stop]),
        noises in prop::collection::vec((noise(), prop_oneof![9 => Just(0), 1 => 1..3usize]), 0..60),
    ) {
        let mut listener = Listener::new(place, on_expired_cursor);
        listener.drain();
        for (noise, back) in noises {
            listener.hear(noise, back);
            listener.drain();
        }
    }
}
