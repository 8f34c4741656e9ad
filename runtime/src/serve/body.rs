//! Bodies of requests, as they come.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, TryAcquireError};
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
    /// A permit for each KiB.
    room: Arc<Semaphore>,
}

impl Bodies {
    pub(super) fn new(max_total: usize) -> Self {
        let permits = (max_total / 1024).clamp(MAX_BODY / 1024, Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(permits)) }
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
        let most = hint.upper().unwrap_or(MAX_BODY as u64).min(MAX_BODY as u64);
        let kibibytes = u32::try_from(most.div_ceil(1024)).unwrap_or(u32::MAX);
        let _room = match Arc::clone(&self.room).try_acquire_many_owned(kibibytes) {
            Ok(room) => room,
            // It is never closed.
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(Unread::NoRoom),
        };
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
