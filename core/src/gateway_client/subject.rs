//! What a stream is about: what is asked for, and what a frame means.

use std::fmt;

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::stream::GatewayEvent;
use crate::feed::{CAUGHT_UP, RESYNCHRONIZED};
use crate::frame::{Envelope, Frame};
use crate::id::WorkerRef;

/// What a [`GatewayStream`](super::GatewayStream) is about: [`OneWorker`], or [`TheFleet`](super::TheFleet).
pub trait Subject: fmt::Debug {
    /// What happens to it.
    type Event: fmt::Debug;

    /// The path and query that the next connection asks for: of the browser API, without the prefix of a gateway.
    fn path(&self) -> String;

    /// Takes that another connection is being opened.
    fn connecting(&mut self);

    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// It is none that a gateway sends here: the stream ends.
    fn read(&mut self, frame: &Bytes) -> Result<Heard<Self::Event>, Malformed>;

    /// Takes that the place to go on from is lost: the next connection begins anew.
    fn start_over(&mut self);
}

/// What a frame says.
#[derive(Debug)]
pub struct Heard<E> {
    /// What there is to be passed on, if anything.
    pub event: Option<GatewayEvent<E>>,
    /// Whether it is known that nothing was missed, where this is the first frame of a connection.
    pub nothing_missed: bool,
}

/// What is wrong with a frame, in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(super) &'static str);

/// A frame that is none at all.
pub(super) const NO_FRAME: Malformed = Malformed("a frame of the stream is malformed");

/// One worker, after a cursor or from its present state on.
#[derive(Debug)]
pub struct OneWorker {
    worker: WorkerRef,
    /// The cursor to go on after.
    cursor: Option<String>,
    /// Whether all events after the last one that was shown are still to come on this connection.
    gapless: bool,
}

impl OneWorker {
    pub(super) fn new(worker: WorkerRef, cursor: Option<String>) -> Self {
        Self { worker, cursor, gapless: false }
    }

    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }
}

impl Subject for OneWorker {
    type Event = Envelope;

    fn path(&self) -> String {
        let WorkerRef { runtime_id, worker_id } = &self.worker;
        let mut path = format!("/api/runtimes/{runtime_id}/workers/{worker_id}/events/ws");
        if let Some(cursor) = &self.cursor {
            path.push_str(&format!("?cursor={}", utf8_percent_encode(cursor, NON_ALPHANUMERIC)));
        }
        path
    }

    fn connecting(&mut self) {
        // A cursor is replayed in full or refused, never in part.
        self.gapless = self.cursor.is_some();
    }

    fn read(&mut self, frame: &Bytes) -> Result<Heard<Envelope>, Malformed> {
        match Frame::from_text(frame).ok_or(NO_FRAME)? {
            Frame::Event(envelope) => {
                self.gapless &= !envelope.is_snapshot();
                self.cursor = Some(envelope.cursor.clone());
                Ok(Heard { event: Some(GatewayEvent::Event(envelope)), nothing_missed: self.gapless })
            }
            Frame::Diagnostic(diagnostic) => {
                self.gapless &= diagnostic.code != RESYNCHRONIZED;
                // A worker that is quiet has no event to come back with, but the diagnostic that all have been replayed.
                let nothing_missed = self.gapless && diagnostic.code == CAUGHT_UP;
                Ok(Heard { event: Some(GatewayEvent::Diagnostic(diagnostic)), nothing_missed })
            }
        }
    }

    fn start_over(&mut self) {
        self.cursor = None;
    }
}
