//! What a runtime sends on a stream.

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;

/// A frame in one piece (RFC 6455, 5.2).
pub(super) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | kind];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(length as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

pub(super) fn envelope(cursor: &str, event_id: &str, worker_id: &str, payload: &str) -> Vec<u8> {
    let text = format!(
        r#"{{"kind":"event","envelope":{{"cursor":"{cursor}","event_id":"{event_id}","worker_id":"{worker_id}","payload":{payload}}}}}"#
    );
    frame(TEXT, text.as_bytes())
}

pub(super) fn snapshot(place: &str) -> Vec<u8> {
    envelope(place, &format!("snapshot:{place}"), "w", r#"{"event":"snapshot","data":{}}"#)
}

pub(super) fn event(place: &str) -> Vec<u8> {
    envelope(place, place, "w", r#"{"event":"text_delta","data":{"text":"x"}}"#)
}

pub(super) fn diagnostic(code: &str) -> Vec<u8> {
    let text = format!(r#"{{"kind":"diagnostic","diagnostic":{{"code":"{code}","message":"m"}}}}"#);
    frame(TEXT, text.as_bytes())
}
