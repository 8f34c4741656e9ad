use sekisho_core::cursor::{CursorError, CursorKey, MAX_CURSOR, MAX_UPSTREAM_CURSOR, Sealer, UpstreamCursor};
use sekisho_core::id::WorkerRef;

use super::worker;

/// The input is a byte for a key, one for where to tamper, one for how, and a text: a cursor, a place or a key in turn.
/// What is sealed opens under its own key and names alone, and nothing else opens.
pub fn cursor(data: &[u8]) {
    let [key, at, how, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mine = sealer(*key, worker());
    open_any(mine, text);
    if let Some(place) = UpstreamCursor::new(text) {
        seal_and_open(*key, &place, usize::from(*at), *how);
    } else {
        assert!(text.is_empty() || text.len() > MAX_UPSTREAM_CURSOR);
    }
    if let Ok(key) = text.parse::<CursorKey>() {
        assert_eq!(key.to_hex(), text.trim_ascii().to_ascii_lowercase());
        assert_eq!(format!("{key:?}"), "CursorKey");
    }
}

fn sealer(key: u8, worker: WorkerRef) -> Sealer {
    Sealer::new(&CursorKey::from_bytes([key; CursorKey::LENGTH]), worker)
}

/// Whatever opens is what was sealed: there is one cursor for one place.
fn open_any(mut sealer: Sealer, text: &str) {
    if let Ok(place) = sealer.open(text) {
        assert_eq!(sealer.seal(&place), text);
    }
}

fn seal_and_open(key: u8, place: &UpstreamCursor, at: usize, how: u8) {
    let cursor = sealer(key, worker()).seal(place);
    assert!(cursor.len() <= MAX_CURSOR, "{}", cursor.len());
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{cursor}");
    assert_eq!(sealer(key, worker()).open(&cursor).as_ref(), Ok(place));

    assert_eq!(sealer(key.wrapping_add(1), worker()).open(&cursor), Err(CursorError::Unknown));
    let foreign_runtime = WorkerRef { runtime_id: "remote-b".parse().unwrap(), ..worker() };
    let foreign_worker = WorkerRef { worker_id: "worker-00000002".parse().unwrap(), ..worker() };
    // The names are bound one by one: what leaves one for the other is another name.
    let shifted =
        WorkerRef { runtime_id: "remote-aw".parse().unwrap(), worker_id: "orker-00000001".parse().unwrap() };
    for foreign in [foreign_runtime, foreign_worker, shifted] {
        assert_eq!(sealer(key, foreign).open(&cursor), Err(CursorError::Malformed));
    }

    let mut tampered = cursor.clone().into_bytes();
    let at = at % tampered.len();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=";
    tampered[at] = alphabet[usize::from(how) % alphabet.len()];
    let tampered = String::from_utf8(tampered).unwrap();
    if tampered != cursor {
        assert_eq!(sealer(key, worker()).open(&tampered), Err(CursorError::Malformed), "{tampered}");
    }
    assert_eq!(sealer(key, worker()).open(&cursor[..at]), Err(CursorError::Malformed));
}
