//! Bodies of requests, as they come.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use sekisho_core::memory::Memory;
use tokio::time::timeout;

/// The longest body of a request, in bytes.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// How much of a body that is refused is read all the same, in bytes, so that the client hears why it is refused
/// rather than find its connection reset. None of it is kept.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// The same for a client that may ask nothing.
const MAX_DISCARDED_OF_STRANGERS: usize = 256 * 1024;

/// How long a client may take for a request's body.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take for a body that is thrown away.
const DISCARD_DEADLINE: Duration = Duration::from_secs(5);

/// Why a body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unread {
    /// It is over [`MAX_BODY`].
    TooLong,
    /// It ended before its end.
    Broken,
    /// It took over [`BODY_DEADLINE`].
    TooSlow,
    /// The bodies under way take all the memory that they may.
    NoRoom,
}

/// Reads bodies, which all together take so much memory at most.
pub(super) struct Bodies {
    room: Memory,
}

impl Bodies {
    pub(super) fn new(max_total: usize) -> Self {
        Self { room: Memory::new(max_total.max(MAX_BODY)) }
    }

    /// Reads a body to its end.
    pub(super) async fn read(&self, body: Incoming) -> Result<Bytes, Unread> {
        timeout(BODY_DEADLINE, self.read_all(body)).await.unwrap_or(Err(Unread::TooSlow))
    }

    async fn read_all(&self, mut body: Incoming) -> Result<Bytes, Unread> {
        let hint = body.size_hint();
        if hint.lower() > MAX_BODY as u64 {
            return match discard(body, MAX_DISCARDED).await {
                Ok(()) => Err(Unread::TooLong),
                Err(broken) => Err(broken),
            };
        }
        // A body of unknown length gets the room that it may need.
        let most = hint.upper().and_then(|upper| usize::try_from(upper).ok());
        let room = self.room.try_hold(most.unwrap_or(MAX_BODY).min(MAX_BODY));
        let _room = room.ok_or(Unread::NoRoom)?;
        let mut content = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            if content.len() + data.len() > MAX_BODY {
                drop(content);
                return discard(body, MAX_DISCARDED).await.and(Err(Unread::TooLong));
            }
            content.extend_from_slice(&data);
        }
        Ok(content.freeze())
    }

    /// Reads what a client sends that may ask nothing, for a while, and keeps none of it.
    pub(super) async fn refuse(&self, body: Incoming) {
        let _ = timeout(DISCARD_DEADLINE, discard(body, MAX_DISCARDED_OF_STRANGERS)).await;
    }
}

async fn discard(mut body: Incoming, max: usize) -> Result<(), Unread> {
    if body.size_hint().lower() > max as u64 {
        return Ok(());
    }
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        length += data.len();
        if length > max {
            break;
        }
    }
    Ok(())
}
