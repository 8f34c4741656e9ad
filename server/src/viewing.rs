//! One viewer's way through a worker's stream, whatever carries it to the viewer.

use std::rc::Rc;
use std::time::Duration;

use sekisho_core::browser_api::StreamRequest;
use sekisho_core::cursor::UpstreamCursor;
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::{Encoder, Feed, FeedPosition, Item, Join, Next, caught_up};
use sekisho_core::id::WorkerRef;
use sekisho_transport_tokio::WatchDriver;
use tokio::time::timeout;

use crate::gateway::Gateway;
use crate::hub::{FeedReplica, Hub};

/// How long a stream of a viewer's own may be open and silent without having met the feed: longer than it takes to
/// notice that the feed's connection is gone, and to make another. A runtime whose places never meet is not one that
/// could be followed without a gap.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// A viewer's position. Dropping what [`Viewing::next`] returns loses nothing.
pub(crate) struct Viewing {
    gateway: Rc<Gateway>,
    worker: WorkerRef,
    local: Rc<FeedReplica>,
    encoder: Encoder,
    position: Position,
}

enum Position {
    /// Not yet in the feed.
    Joining(Option<UpstreamCursor>),
    /// On a stream of its own, until it meets the feed.
    Private(Box<WatchDriver>, Option<UpstreamCursor>),
    /// In the feed.
    Live(FeedPosition),
}

impl Viewing {
    /// A viewer of what was asked for, or why there can be none.
    pub(crate) fn new(gateway: &Rc<Gateway>, viewed: StreamRequest) -> Result<Self, Error> {
        let StreamRequest { worker, cursor } = viewed;
        gateway.permit_observation(&worker)?;
        let mut encoder = gateway.hub().encoder(gateway, &worker);
        let place = cursor.map(|cursor| encoder.open(&cursor)).transpose()?;
        let local = Hub::follow(gateway, &worker);
        let position = Position::Joining(place);
        Ok(Self { gateway: gateway.clone(), worker, local, encoder, position })
    }

    /// The next frame, or why there are no more.
    pub(crate) async fn next(&mut self) -> Result<Item, Error> {
        let local = self.local.clone();
        loop {
            let mut changed = std::pin::pin!(local.changed().notified());
            changed.as_mut().enable();
            if let Some(item) = self.ready()? {
                return Ok(item);
            }
            if let Some(error) = local.ended() {
                return Err(error);
            }
            let Position::Private(watching, place) = &mut self.position else {
                changed.await;
                continue;
            };
            let event = tokio::select! {
                event = timeout(CATCH_UP_TIMEOUT, watching.next()) => event,
                () = changed => continue,
            };
            match event {
                Ok(Ok(event)) => {
                    let Some(item) = self.encoder.encode(event) else { continue };
                    // It may be over when this viewer is in the feed, which then would not say so.
                    if item.is_notice() {
                        continue;
                    }
                    *place = item.place().cloned().or(place.take());
                    return Ok(item);
                }
                Ok(Err(end)) => return Err(end.err().unwrap_or_else(|| Error::new(ErrorKind::Internal))),
                Err(_) if watching.is_live() => return Err(Error::new(ErrorKind::CursorExpired)),
                // While the runtime is away nobody meets anybody; how long that may last is the watch's to say.
                Err(_) => {}
            }
        }
    }

    /// The next frame, where one is there already.
    pub(crate) fn ready(&mut self) -> Result<Option<Item>, Error> {
        let local = self.local.clone();
        let feed = local.feed();
        match &mut self.position {
            Position::Live(viewer) => next(&feed, viewer),
            Position::Private(_, None) => Ok(None),
            Position::Private(_, Some(place)) => match feed.join(Some(place)) {
                Join::Ready(mut viewer, _) => {
                    let item = next(&feed, &mut viewer);
                    self.position = Position::Live(viewer);
                    item
                }
                _ => Ok(None),
            },
            Position::Joining(place) => match feed.join(place.as_ref()) {
                Join::NotYet => Ok(None),
                Join::Ready(mut viewer, opening) => {
                    let item = match opening {
                        Some(snapshot) => Ok(Some(snapshot)),
                        None => next(&feed, &mut viewer),
                    };
                    self.position = Position::Live(viewer);
                    item
                }
                Join::NeedsReplay | Join::NeedsSnapshot => {
                    let place = place.take();
                    let watching = self.gateway.hub().private(&self.gateway, &self.worker, place.clone())?;
                    // Where nothing has come after the place, the feed itself may come to it before anything else does.
                    self.position = Position::Private(Box::new(watching), place);
                    Ok(None)
                }
            },
        }
    }
}

fn next(feed: &Feed, viewer: &mut FeedPosition) -> Result<Option<Item>, Error> {
    match feed.next(viewer) {
        Next::Frame(item) => Ok(Some(item)),
        Next::CaughtUp => Ok(Some(caught_up())),
        Next::Nothing => Ok(None),
        Next::Lagged => Err(Error::new(ErrorKind::ViewerLagged)),
    }
}
