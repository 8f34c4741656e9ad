//! What a viewer's session hears and says.

use std::time::Instant;

use super::ReplayOrder;
use crate::error::Error;
use crate::feed::{Item, closing_diagnostic};

#[cfg(doc)]
use super::MAX_VIEWER_MESSAGE;

/// What a viewer's session hears. What does not belong to its state is ignored.
#[derive(Clone, Debug)]
pub enum ViewerInput {
    /// What was last to be written is written: there is room for more.
    Written,
    /// The replay stream has ended. What its feed still has is shown first.
    ReplayEnded(Error),
    /// The shared stream has ended. What the feed still has is shown first.
    StreamEnded(Error),
    /// The viewer has answered a ping. Where there is no wire, the driver answers.
    Pong,
    /// The viewer has sent a text or binary message, or one over [`MAX_VIEWER_MESSAGE`].
    Message,
    /// The gateway shuts down.
    Drain,
    /// The viewer is gone.
    Gone,
}

/// What a viewer's session says.
#[derive(Clone, Debug)]
pub enum ViewerOutput {
    /// Write this frame.
    Frame(Item),
    /// Ping the viewer.
    Ping,
    /// Take the feed of this replay stream, which is to be opened where there is none with its number.
    OpenReplay(ReplayOrder),
    /// Poll the replay stream, which waits for this viewer.
    WakeReplay,
    /// Let go of the replay stream.
    CloseReplay,
    /// Nothing to do before this instant, but for what is heard and for what the feed has.
    Wait {
        /// When to poll again at the latest.
        until: Instant,
        /// What happens then.
        why: ViewerWait,
    },
    /// The end: how to close, or `None` where the viewer is gone. A session that is polled past its end says `None`.
    End(Option<Closing>),
}

/// What a viewer's session waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ViewerWait {
    /// For [`ViewerInput::Written`]. The instant is no deadline.
    Write,
    /// For the next ping to be due.
    Ping,
    /// For a pong.
    Pong,
    /// For its turn to have a replay stream.
    Turn,
    /// For the viewer's turn to go while the gateway shuts down.
    Drain,
}

/// How a viewer's stream is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closing(pub(super) Error);

impl Closing {
    /// Why the stream ends.
    pub fn error(&self) -> &Error {
        &self.0
    }

    /// Why the stream ends, to be answered in its place where no frame has been written yet.
    pub fn into_error(self) -> Error {
        self.0
    }

    /// The last frame.
    pub fn frame(&self) -> Item {
        closing_diagnostic(&self.0)
    }

    /// The code to close with. Its range tells the viewer whether to come back (`docs/observation.md`).
    pub fn close_code(&self) -> u16 {
        self.0.kind().close_code()
    }

    /// The reason to close with.
    pub fn reason(&self) -> &'static str {
        self.0.kind().code()
    }
}

impl From<Error> for Closing {
    fn from(error: Error) -> Self {
        Self(error)
    }
}
