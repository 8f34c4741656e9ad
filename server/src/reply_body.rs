//! The body of a response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use sekisho_core::memory::Held;
use tokio::sync::mpsc;

/// The body of a response: all of it at once, or server-sent events as they come.
pub(crate) struct ReplyBody(Kind);

enum Kind {
    Whole {
        body: Full<Bytes>,
        /// What is counted of it until it is written, or given up.
        _held: Option<Held>,
    },
    Events(mpsc::Receiver<Bytes>),
}

impl ReplyBody {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole { body: Full::new(bytes), _held: None })
    }

    /// The same, counted until it is written.
    pub(crate) fn counted(bytes: Bytes, held: Held) -> Self {
        Self(Kind::Whole { body: Full::new(bytes), _held: Some(held) })
    }

    pub(crate) fn events(events: mpsc::Receiver<Bytes>) -> Self {
        Self(Kind::Events(events))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole { body, .. } => Pin::new(body).poll_frame(context),
            Kind::Events(events) => {
                events.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole { body, .. } => body.is_end_stream(),
            Kind::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole { body, .. } => body.size_hint(),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}
