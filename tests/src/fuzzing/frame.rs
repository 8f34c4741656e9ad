use std::sync::Arc;

use bytes::Bytes;
use sekisho_core::cursor::{CursorKey, UpstreamCursor};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::Encoder;
use sekisho_core::policy::AllowAll;
use sekisho_core::runtime_api::{Envelope, Frame};
use sekisho_core::watch::{Observed, OnExpiredCursor, WatchEvent, WatchInput, WatchOutput};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{access, epoch, first_connect, registry, worker};

/// The longest id of an event that a watch takes, in bytes.
const MAX_EVENT_ID: usize = 1024;

/// The largest payload that viewers are sent here, in bytes.
const MAX_EVENT: usize = 512;

/// The input is a frame of a stream. One that is read is written as the same, and its payload reaches viewers as it
/// stands but for secrets.
pub fn frame(data: &[u8]) {
    let (events, ended) = watch(data);
    match Frame::from_text(data) {
        Err(_) => assert_eq!((events.len(), ended), (0, Some(ErrorKind::MalformedFrame))),
        Ok(Frame::Diagnostic(diagnostic)) => {
            assert!(events.iter().all(|event| matches!(event, WatchEvent::Disconnected { .. })));
            assert!(events.len() <= 1);
            assert_written(&Frame::Diagnostic(diagnostic));
        }
        Ok(Frame::Event(envelope)) => {
            assert!(data.as_ptr_range().contains(&envelope.payload.get().as_ptr()), "the payload is a copy");
            assert_read(data, &envelope);
            assert_observed(&envelope, &events, ended);
            assert_written(&Frame::Event(envelope));
        }
    }
}

/// What a watch in the midst of a stream makes of the frame.
fn watch(data: &[u8]) -> (Vec<WatchEvent>, Option<ErrorKind>) {
    let now = epoch();
    let mut watch = registry(access()).watch(now, &worker(), None, OnExpiredCursor::Resynchronize).unwrap();
    let connect = first_connect(now, &mut watch);
    let snapshot = br#"{"kind":"event","envelope":{"cursor":"c","event_id":"snapshot:c","worker_id":"worker-00000001","payload":{}}}"#;
    watch.handle(now, WatchInput::Opened(connect.id));
    watch.handle(now, WatchInput::Frame(connect.id, Bytes::from_static(snapshot)));
    let WatchOutput::Event(WatchEvent::Live) = watch.poll(now) else { panic!("not live") };
    let WatchOutput::Event(WatchEvent::Snapshot(_)) = watch.poll(now) else { panic!("no snapshot") };
    watch.handle(now, WatchInput::Frame(connect.id, Bytes::copy_from_slice(data)));
    let mut events = Vec::new();
    loop {
        match watch.poll(now) {
            WatchOutput::Event(event) => events.push(event),
            WatchOutput::Close(id) => assert_eq!(id, connect.id),
            WatchOutput::Stopped(result) => return (events, result.as_ref().err().map(Error::kind)),
            WatchOutput::Wait { .. } => return (events, None),
            other => panic!("{other:?}"),
        }
    }
}

fn assert_written(frame: &Frame<'_>) {
    let text = frame.clone().into_text();
    assert_eq!(Frame::from_text(&text).as_ref(), Ok(frame));
}

/// Another reader finds the same in it. One that looks into payloads is stricter about them.
fn assert_read(data: &[u8], envelope: &Envelope<'_>) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let value = &value["envelope"];
    assert_eq!(value["cursor"], *envelope.cursor);
    assert_eq!(value["event_id"], *envelope.event_id);
    assert_eq!(value["worker_id"], *envelope.worker_id);
}

fn assert_observed(envelope: &Envelope<'_>, events: &[WatchEvent], ended: Option<ErrorKind>) {
    let access = access();
    let scrubber = access.scrubber();
    if envelope.worker_id != worker().worker_id.as_str() {
        assert_eq!((events.len(), ended), (0, Some(ErrorKind::IdentityMismatch)));
        return;
    }
    let texts = [&envelope.cursor, &envelope.event_id];
    let place =
        UpstreamCursor::new(&envelope.cursor).filter(|_| !texts.iter().any(|text| scrubber.finds(text)));
    let Some(place) = place.filter(|_| envelope.event_id.len() <= MAX_EVENT_ID) else {
        assert_eq!((events.len(), ended), (0, Some(ErrorKind::MalformedFrame)));
        return;
    };
    assert_eq!(ended, None);
    if place.as_str() == "c" {
        return assert!(events.is_empty(), "the place has been seen");
    }
    let [WatchEvent::Event(observed)] = events else { panic!("{events:?}") };
    assert_eq!((&observed.upstream_cursor, &*observed.event_id), (&place, &*envelope.event_id));
    let payload = std::str::from_utf8(&observed.payload).unwrap();
    assert_eq!(payload, scrubber.json(envelope.payload.get()));
    assert_eq!(payload, scrubber.json(payload), "a secret is left");
    if !scrubber.finds(envelope.payload.get()) {
        assert_eq!(payload, envelope.payload.get());
    }
    assert_encoded(observed);
}

/// What viewers get is one line of JSON that holds the payload as it was.
fn assert_encoded(observed: &Observed) {
    let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
    let mut encoder = Encoder::new(&key, worker(), Arc::new(AllowAll), MAX_EVENT);
    let item = encoder.encode(WatchEvent::Event(observed.clone())).unwrap();
    assert_eq!(encoder.open(item.cursor().unwrap()).as_ref(), Ok(&observed.upstream_cursor));
    let text = std::str::from_utf8(item.text()).unwrap();
    assert!(!text.contains(['\n', '\r']), "{text}");
    serde_json::from_str::<&RawValue>(text).unwrap();
    let payload = String::from_utf8(observed.payload.to_vec()).unwrap().replace(['\n', '\r'], " ");
    let shown = match payload.len() > MAX_EVENT {
        true => format!(r#"{{"event":"sekisho.event_too_large","data":{{"bytes":{}}}}}"#, payload.len()),
        false => payload,
    };
    assert!(text.ends_with(&format!(r#","payload":{shown}}}}}"#)), "{text}");
}
