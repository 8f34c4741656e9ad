//! What a gateway shows of a worker, read.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One frame of a stream (BROWSER-API.md, "Observation").
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Something that happened.
    Event(Envelope),
    /// Something about the stream.
    Notice(Notice),
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

/// A diagnostic of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Notice {
    /// Which one; the codes of errors among them.
    pub code: String,
    /// The same for people.
    #[serde(default)]
    pub message: String,
    /// When the gateway will try again.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

impl Notice {
    /// When the gateway will try again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    kind: Kind,
    #[serde(borrow)]
    envelope: Option<&'a RawValue>,
    diagnostic: Option<Notice>,
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
            Kind::Diagnostic => wire.diagnostic.map(Self::Notice),
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

impl Envelope {
    /// Whether this is the state of the worker at a place rather than something that happened since the last event.
    pub fn is_snapshot(&self) -> bool {
        self.event_id.starts_with(crate::runtime_api::SNAPSHOT_PREFIX)
    }

    /// Whether this is one of the events that stand where a worker ends. None of them says so by itself: an agent says
    /// `run_end` after each of its turns.
    pub fn may_be_the_end(&self) -> bool {
        #[derive(Deserialize)]
        struct Payload<'a> {
            #[serde(borrow)]
            event: Cow<'a, str>,
        }
        let payload: Result<Payload<'_>, _> = serde_json::from_slice(&self.payload);
        payload.is_ok_and(|payload| matches!(&*payload.event, "snapshot" | "status" | "run_end" | "error"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_notices() {
        let text = r#"{"kind":"event","envelope":{"cursor":"C","event_id":"9","runtime_id":"r","worker_id":"w","payload":{"event":"x","data":[1]}}}"#;
        let Some(Frame::Event(envelope)) = Frame::from_text(&Bytes::from_static(text.as_bytes())) else {
            panic!("{text}")
        };
        assert_eq!((&*envelope.cursor, &*envelope.event_id, envelope.is_snapshot()), ("C", "9", false));
        assert_eq!(envelope.payload, r#"{"event":"x","data":[1]}"#);
        assert!(envelope.text.starts_with(br#"{"cursor""#) && envelope.text.ends_with(b"}}"));

        let text = crate::feed::caught_up().text().clone();
        let Some(Frame::Notice(notice)) = Frame::from_text(&text) else { panic!("{text:?}") };
        assert_eq!(notice.code, "caught_up");
    }

    #[test]
    fn what_may_be_the_end() {
        let envelope = |payload: String| Envelope {
            cursor: "c".into(),
            event_id: "e".into(),
            text: Bytes::new(),
            payload: payload.into(),
        };
        for (event, may) in [("snapshot", true), ("status", true), ("run_end", true), ("text_delta", false)] {
            let payload = format!(r#"{{"event":"{event}","data":null}}"#);
            assert_eq!(envelope(payload).may_be_the_end(), may, "{event}");
        }
        assert!(!envelope("[]".into()).may_be_the_end());
    }

    #[test]
    fn what_is_no_frame() {
        for text in ["", "{}", "[1]", r#"{"kind":"other"}"#, r#"{"kind":"event","envelope":{"cursor":"c"}}"#]
        {
            assert_eq!(Frame::from_text(&Bytes::from_static(text.as_bytes())), None, "{text}");
        }
    }
}
