//! Bodies of responses, as they come.

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use sekisho_core::error::TimeoutPhase;
use sekisho_core::memory::{Held, Memory};
use sekisho_core::transport::{FailureCause, UNCOUNTED_REPLY};
use tokio::time::{Instant, timeout_at};

/// Reads the body of a response to its end: at most `max_body` bytes, for which there has to be room in `memory`.
pub(crate) async fn read_body(
    head: Response<Incoming>,
    max_body: usize,
    memory: Option<&Memory>,
    read_by: Instant,
) -> Result<Response<Bytes>, FailureCause> {
    let (head, body) = head.into_parts();
    if body.size_hint().lower() > max_body as u64 {
        return Err(FailureCause::TooLarge);
    }
    match timeout_at(read_by, collect(body, max_body, memory)).await {
        Ok(collected) => Ok(Response::from_parts(head, collected?)),
        Err(_) => Err(FailureCause::Timeout(TimeoutPhase::Body)),
    }
}

async fn collect(
    mut body: Incoming,
    max_body: usize,
    memory: Option<&Memory>,
) -> Result<Bytes, FailureCause> {
    let mut collected = Collected::default();
    let mut room = memory.map(Room::new);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| FailureCause::CutShort)?.into_data() else { continue };
        let length = collected.length() + data.len();
        if length > max_body {
            return Err(FailureCause::TooLarge);
        }
        if !room.as_mut().is_none_or(|room| room.is_there_for(length)) {
            return Err(FailureCause::NoRoom);
        }
        collected.push(data);
    }
    Ok(collected.into_bytes())
}

/// What has come: most bodies come in one piece, which is not copied.
#[derive(Default)]
struct Collected {
    first: Bytes,
    all: BytesMut,
}

impl Collected {
    fn length(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.length() == 0 {
            self.first = data;
            return;
        }
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
        self.all.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// The memory that a body takes.
struct Room<'a> {
    memory: &'a Memory,
    held: Option<Held>,
    counted: usize,
}

impl<'a> Room<'a> {
    fn new(memory: &'a Memory) -> Self {
        Self { memory, held: None, counted: 0 }
    }

    /// Whether there is room for a body of this length.
    fn is_there_for(&mut self, length: usize) -> bool {
        let more = length.saturating_sub(UNCOUNTED_REPLY) - self.counted;
        if more == 0 {
            return true;
        }
        self.counted += more;
        self.held.get_or_insert_with(|| self.memory.hold(0)).try_grow(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_one_piece_is_not_copied() {
        let piece = Bytes::from(vec![b'x'; 10]);
        let mut collected = Collected::default();
        collected.push(Bytes::new());
        collected.push(piece.clone());
        assert_eq!((collected.length(), collected.first.as_ptr()), (10, piece.as_ptr()));
        collected.push(Bytes::from_static(b"yz"));
        assert_eq!(collected.length(), 12);
        assert_eq!(collected.into_bytes(), "xxxxxxxxxxyz");
    }

    #[test]
    fn the_beginning_of_a_body_needs_no_room() {
        let memory = Memory::new(10);
        let mut room = Room::new(&memory);
        assert!(room.is_there_for(1) && room.is_there_for(UNCOUNTED_REPLY));
        assert_eq!(memory.held(), 0);
        assert!(room.is_there_for(UNCOUNTED_REPLY + 4) && room.is_there_for(UNCOUNTED_REPLY + 10));
        assert_eq!(memory.held(), 10);
        assert!(!room.is_there_for(UNCOUNTED_REPLY + 11));
        drop(room);
        assert_eq!(memory.held(), 0);
    }
}
