use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use sekisho_core::cursor::{CursorKey, UpstreamCursor};
use sekisho_core::error::ErrorKind;
use sekisho_core::feed::Encoder;
use sekisho_core::id::WorkerRef;
use sekisho_core::policy::AllowAll;
use sekisho_core::runtime_api::{
    Envelope, Frame, MalformedFrame, Observe, SNAPSHOT_PREFIX, StreamDiagnostic,
};
use sekisho_core::secret::{Access, REDACTED};
use sekisho_core::watch::{OnExpiredCursor, WatchEvent, WatchInput, WatchOutput};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::any::{damaged, id, text};
use crate::{cases, epoch, first_connect, registry};

const TOKEN: &str = "s3cr3t-t0k3n";

fn worker() -> WorkerRef {
    WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() }
}

/// JSON of any shape, as someone else may have written it: white space, escapes and numbers of their own.
fn payload() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        text().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        r#""(\\u[0-9a-fA-F]{4}|\\[bfnrt/"\\]|%[0-9a-f]{2}){0,4}""#,
        select(vec!["true", "null", "[ ]", "{\n}"]).prop_map_into(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = text().prop_map(|key| serde_json::to_string(&key).unwrap());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,\t"))),
            prop::collection::vec((key, inner), 0..4).prop_map(|fields| {
                let fields: Vec<String> =
                    fields.iter().map(|(key, value)| format!("{key} :\n{value}")).collect();
                format!("{{ {} }}", fields.join(","))
            }),
        ]
    })
}

fn frame(cursor: &str, event_id: &str, payload: &str) -> Bytes {
    let payload: Box<RawValue> = serde_json::from_str(payload).unwrap();
    let (cursor, event_id) = (cursor.into(), event_id.into());
    Frame::Event(Envelope { cursor, event_id, worker_id: "w".into(), payload: &payload }).into_text()
}

/// What a watch makes of a frame that comes after a snapshot.
fn watch(text: Bytes) -> (Vec<WatchEvent>, Option<ErrorKind>) {
    let access = Access::remote("http://vault.example:7700".parse().unwrap(), TOKEN.parse().ok());
    let now = epoch();
    let mut watch = registry(access).watch(now, &worker(), None, OnExpiredCursor::Resynchronize).unwrap();
    let connect = first_connect(&mut watch, now);
    let snapshot = frame("first", &format!("{SNAPSHOT_PREFIX}first"), "{}");
    watch.handle(now, WatchInput::Opened(connect.id));
    watch.handle(now, WatchInput::Frame(connect.id, snapshot));
    watch.handle(now, WatchInput::Frame(connect.id, text));
    let mut events = Vec::new();
    loop {
        match watch.poll(now) {
            WatchOutput::Event(WatchEvent::Live) => {}
            WatchOutput::Event(event) => events.push(event),
            WatchOutput::Close(id) => assert_eq!(id, connect.id),
            WatchOutput::Stopped(result) => return (events, result.err().map(|error| error.kind())),
            WatchOutput::Wait { .. } => return (events, None),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_frame_comes_back(
        texts in (text(), text(), text()),
        payload in payload(),
        is_event in any::<bool>(),
    ) {
        let payload: Box<RawValue> = serde_json::from_str(&payload).unwrap();
        let frame = match is_event {
            true => Frame::Event(Envelope {
                cursor: texts.0.into(),
                event_id: texts.1.into(),
                worker_id: texts.2.into(),
                payload: &payload,
            }),
            false => Frame::Diagnostic(StreamDiagnostic { code: texts.0.into(), message: texts.1.into() }),
        };
        let text = frame.clone().into_text();
        prop_assert_eq!(Frame::from_text(&text), Ok(frame));
    }

    #[test]
    fn what_nobody_knows_passes_as_it_is(
        cursor in text(),
        event_id in text(),
        payload in payload(),
        more in payload(),
    ) {
        let (place, string) = (UpstreamCursor::new(&cursor), |text: &str| serde_json::to_string(text).unwrap());
        let text = format!(
            r#"{{"more":{more},"kind":"event","envelope":{{"of":{more},"worker_id":"\u0077","payload":{payload},"cursor":{},"event_id":{}}}}}"#,
            string(&cursor),
            string(&event_id),
        );
        let (events, ended) = watch(text.into());
        let Some(place) = place.filter(|_| event_id.len() <= 1024) else {
            prop_assert_eq!(ended, Some(ErrorKind::MalformedFrame));
            return Ok(());
        };
        let [_, WatchEvent::Event(observed)] = &events[..] else { panic!("{events:?} {ended:?}") };
        prop_assert_eq!((&observed.upstream_cursor, &*observed.event_id), (&place, &*event_id));
        prop_assert_eq!(std::str::from_utf8(&observed.payload).unwrap(), &payload);

        let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
        let mut encoder = Encoder::new(&key, worker(), Arc::new(AllowAll), 1 << 20);
        let item = encoder.encode(events[1].clone()).unwrap();
        let text = std::str::from_utf8(item.text()).unwrap();
        prop_assert!(!text.contains(['\n', '\r']) && serde_json::from_str::<&RawValue>(text).is_ok(), "{}", text);
        let line = payload.replace(['\n', '\r'], " ");
        let end = format!(r#","payload":{line}}}}}"#);
        prop_assert!(text.ends_with(&end), "{}", text);
        prop_assert_eq!(encoder.open(item.cursor().unwrap()), Ok(place));
    }

    #[test]
    fn but_for_secrets(before in "[^\\\\\"\\p{Cc}]{0,12}", after in "[^\\\\\"\\p{Cc}]{0,12}", is_key in any::<bool>()) {
        let written = |secret: &str| match is_key {
            true => format!(r#"{{"{before}{secret}{after}" : [1.50, "{before}"]}}"#),
            false => format!(r#"[ "{before}{secret}{after}",1e2 ]"#),
        };
        for secret in [TOKEN, "s3cr3t\\u002dt0k3n", "S3CR3T%2DT0K3N", "http:\\/\\/vault.example:7700"] {
            let (events, _) = watch(frame("next", "next", &written(secret)));
            let [_, WatchEvent::Event(observed)] = &events[..] else { panic!("{events:?}") };
            prop_assert_eq!(std::str::from_utf8(&observed.payload).unwrap(), written(REDACTED));
        }
    }

    #[test]
    fn no_text_upsets_anybody(
        text in prop_oneof![
            3 => damaged(payload().prop_map(|payload| frame("next", "next", &payload).to_vec())),
            1 => damaged(Just(br#"{"kind":"diagnostic","diagnostic":{"code":"c","message":"m"}}"#.to_vec())),
            1 => prop::collection::vec(any::<u8>(), 0..40),
        ],
    ) {
        let (events, ended) = watch(text.clone().into());
        let read = Frame::from_text(&text);
        prop_assert_eq!(read == Err(MalformedFrame), events.len() == 1 && ended == Some(ErrorKind::MalformedFrame));
        if let [_, WatchEvent::Event(observed)] = &events[..] {
            prop_assert!(serde_json::from_slice::<&RawValue>(&observed.payload).is_ok());
            let found: Result<Value, _> = serde_json::from_slice(&text);
            prop_assert!(found.is_err() || found.unwrap()["envelope"]["worker_id"] == "w");
        }
    }

    #[test]
    fn a_request_to_watch_comes_back(worker_id in id(), cursor in text()) {
        let (worker_id, place) = (worker_id.parse().unwrap(), UpstreamCursor::new(&cursor));
        let request = Observe::request(&Access::in_process(), &worker_id, place.as_ref());
        let cursor = place.map(|place| place.as_str().to_owned());
        prop_assert_eq!(Observe::from_request(&request), Some(Ok(Observe { worker_id, cursor })));
    }
}
