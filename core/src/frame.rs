//! The frames of a stream as viewers get them, written and read (`docs/observation.md`).

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::diagnostic::Diagnostic;
use crate::runtime_api::WorkerEnd;

/// One frame of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Something that happened.
    Event(Envelope),
    /// Something about the stream.
    Diagnostic(Diagnostic),
}

/// An event, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Where to go on after it.
    pub cursor: String,
    /// What identifies it, for every viewer and at every gateway.
    pub event_id: String,
    /// The envelope as it was written: one line of JSON.
    pub text: Bytes,
    /// What happened: JSON, as the runtime wrote it, but for secrets.
    pub payload: Bytes,
}

#[derive(Deserialize)]
struct Wire<'a> {
    kind: Kind,
    #[serde(borrow)]
    envelope: Option<&'a RawValue>,
    diagnostic: Option<Diagnostic>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Event,
    Diagnostic,
}

#[derive(Deserialize)]
struct WireEnvelope<'a> {
    cursor: String,
    event_id: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl Frame {
    /// Reads a frame; `None` where it is not one. Unknown fields are passed over.
    pub fn from_text(text: &Bytes) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_slice(text).ok()?;
        match wire.kind {
            Kind::Diagnostic => wire.diagnostic.map(Self::Diagnostic),
            Kind::Event => {
                let envelope = wire.envelope?.get();
                let WireEnvelope { cursor, event_id, payload } = serde_json::from_str(envelope).ok()?;
                Some(Self::Event(Envelope {
                    cursor,
                    event_id,
                    text: text.slice_ref(envelope.as_bytes()),
                    payload: text.slice_ref(payload.get().as_bytes()),
                }))
            }
        }
    }
}

/// The text of the frame that tells of a diagnostic: JSON in a single line.
pub fn diagnostic_text(diagnostic: &Diagnostic) -> Bytes {
    #[derive(Serialize)]
    struct Told<'a> {
        kind: &'static str,
        diagnostic: &'a Diagnostic,
    }
    // A plain struct of texts and numbers can be JSON.
    serde_json::to_vec(&Told { kind: "diagnostic", diagnostic }).expect("plain data").into()
}

/// What happened, as a value to be shown: what is nested too deeply to be held, or a number out of range, stands as the text
/// that it is, and U+FFFD for half a surrogate pair. Null where the payload is not JSON.
pub fn payload_value(payload: &[u8]) -> serde_json::Value {
    crate::json::value(payload).unwrap_or_default()
}

impl Envelope {
    /// Whether this is the state of the worker at a place rather than something that happened since the last event.
    pub fn is_snapshot(&self) -> bool {
        self.event_id.starts_with(crate::runtime_api::SNAPSHOT_PREFIX)
    }

    /// What this event says about the end of the worker.
    pub fn end_sign(&self) -> EndSign {
        #[derive(Deserialize)]
        struct Payload<'a> {
            #[serde(borrow)]
            event: Cow<'a, str>,
            data: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Data<'a> {
            #[serde(borrow)]
            item: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow)]
            kind: Cow<'a, str>,
        }
        let payload: Result<Payload<'_>, _> = serde_json::from_slice(&self.payload);
        let Ok(Payload { event, data }) = payload else { return EndSign::None };
        match &*event {
            "snapshot" | "status" | "run_end" | "error" => EndSign::Possible,
            "system_item" => {
                let data = data.and_then(|data| serde_json::from_str::<Data<'_>>(data.get()).ok());
                let Some(item) = data.map(|data| data.item.get()) else { return EndSign::None };
                let is_end = serde_json::from_str::<Kind<'_>>(item).is_ok_and(|item| item.kind == "ended");
                // How it ended may be told in a way that this client does not know: that it has ended counts.
                match serde_json::from_str(item) {
                    Ok(end) if is_end => EndSign::Ended(Some(end)),
                    Err(_) if is_end => EndSign::Ended(None),
                    _ => EndSign::None,
                }
            }
            _ => EndSign::None,
        }
    }
}

/// What an event says about the end of its worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndSign {
    /// Nothing.
    None,
    /// It is one of the events that stand where a worker ends. None of them says so by itself: an agent says `run_end`
    /// after each of its turns.
    Possible,
    /// The worker has ended, and this is its last event.
    Ended(Option<WorkerEnd>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;
    use crate::runtime_api::EndReason;

    #[test]
    fn events_and_diagnostics() {
        let text = r#"{"kind":"event","envelope":{"cursor":"C","event_id":"9","runtime_id":"r","worker_id":"w","payload":{"event":"x","data":[1]}}}"#;
        let Some(Frame::Event(envelope)) = Frame::from_text(&Bytes::from_static(text.as_bytes())) else {
            panic!("{text}")
        };
        assert_eq!((&*envelope.cursor, &*envelope.event_id, envelope.is_snapshot()), ("C", "9", false));
        assert_eq!(envelope.payload, r#"{"event":"x","data":[1]}"#);
        assert!(envelope.text.starts_with(br#"{"cursor""#) && envelope.text.ends_with(b"}}"));

        let told = Diagnostic::new("of_tomorrow", Severity::Warning, "a \"b\"")
            .with_retry_after(std::time::Duration::from_millis(1500));
        let text = diagnostic_text(&told);
        let expected = r#"{"kind":"diagnostic","diagnostic":{"code":"of_tomorrow","severity":"warning","message":"a \"b\"","retry_after_ms":1500}}"#;
        assert_eq!(text, expected);
        assert_eq!(Frame::from_text(&text), Some(Frame::Diagnostic(told)));
    }

    #[test]
    fn what_says_that_the_worker_has_ended() {
        let sign = |payload: &'static str| {
            let payload = Bytes::from_static(payload.as_bytes());
            Envelope { cursor: "c".into(), event_id: "e".into(), text: Bytes::new(), payload }.end_sign()
        };
        for event in ["snapshot", "status", "run_end", "error"] {
            let payload = format!(r#"{{"event":"{event}","data":null}}"#);
            assert_eq!(sign(payload.leak()), EndSign::Possible, "{event}");
        }
        for payload in [
            "[]",
            r#"{"event":"text_delta","data":{"text":"x"}}"#,
            r#"{"event":"system_item","data":{"item":{"kind":"stderr","text":"x"}}}"#,
            r#"{"event":"system_item","data":{}}"#,
        ] {
            assert_eq!(sign(payload), EndSign::None, "{payload}");
        }
        assert_eq!(sign(r#"{"event":"system_item","data":{"item":{"kind":"ended"}}}"#), EndSign::Ended(None));
        let EndSign::Ended(Some(end)) = sign(
            r#"{"event":"system_item","data":{"item":{"kind":"ended","reason":"exited","exit_code":7,"new":1}}}"#,
        ) else {
            panic!()
        };
        assert_eq!((end.reason, end.exit_code, end.signal), (EndReason::Exited, Some(7), None));
    }

    #[test]
    fn what_is_no_frame() {
        for text in ["", "{}", "[1]", r#"{"kind":"other"}"#, r#"{"kind":"event","envelope":{"cursor":"c"}}"#]
        {
            assert_eq!(Frame::from_text(&Bytes::from_static(text.as_bytes())), None, "{text}");
        }
    }
}
