//! A worker's feed on an event loop that has viewers of it, while another loop has its stream.

use super::SharedStream;
use crate::error::{Error, ErrorKind};
use crate::feed::{Feed, FeedLimits, Item};

/// What has happened to a shared stream, for each copy of its feed.
#[derive(Clone, Debug)]
pub enum FeedUpdate {
    /// A frame.
    Frame(Item),
    /// The frames before this number were let go of, as the feeds of the gateway take too much memory together.
    Shrunk(u64),
    /// The end.
    Ended(Error),
}

/// A shared stream's feed as it is: what a [`FeedReplica`] begins with.
#[derive(Clone, Debug)]
pub struct FeedCopy {
    generation: u64,
    feed: Feed,
}

/// A copy of a worker's feed, kept up to date by one [`FeedUpdate`] after the other.
///
/// Frames are shared, not copied. Where updates were missed, the replica takes [another copy](FeedReplica::begin) of
/// the feed: its viewers keep their positions, as the feed itself numbers its frames. Those of another
/// [generation](SharedStream::new) are numbered anew: the replica then ends, and its viewers come back with their
/// cursors.
#[derive(Clone, Debug)]
pub struct FeedReplica {
    feed: Feed,
    generation: Option<u64>,
    ended: Option<Error>,
}

impl FeedCopy {
    pub(super) fn of(stream: &SharedStream) -> Self {
        Self { generation: stream.generation(), feed: stream.feed().clone() }
    }
}

impl FeedReplica {
    /// A replica that has nothing yet.
    pub fn new(limits: FeedLimits) -> Self {
        Self { feed: Feed::new(limits), generation: None, ended: None }
    }

    /// The feed, for [`ViewerSession::poll`](super::ViewerSession::poll).
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Why it has ended, if it has. Its viewers are told with [`StreamEnded`](super::ViewerInput::StreamEnded).
    pub fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// Takes the feed as it is now: at first, and where updates were missed.
    pub fn begin(&mut self, FeedCopy { generation, feed }: FeedCopy) {
        if *self.generation.get_or_insert(generation) == generation {
            self.feed = feed;
        } else {
            self.end(Error::new(ErrorKind::ViewerLagged));
        }
    }

    /// Takes the next update.
    pub fn apply(&mut self, update: FeedUpdate) {
        match update {
            FeedUpdate::Frame(item) => self.feed.apply(item),
            FeedUpdate::Shrunk(first) => self.feed.forget_before(first),
            FeedUpdate::Ended(error) => self.end(error),
        }
    }

    /// Takes that the loop with the stream is gone, as all loops are when the gateway has shut down.
    pub fn disconnect(&mut self) {
        self.end(Error::new(ErrorKind::GoingAway));
    }

    fn end(&mut self, error: Error) {
        self.ended.get_or_insert(error);
    }
}
