//! Viewers over server-sent events.

use std::pin::pin;

use bytes::Bytes;
use http::Response;
use sekisho_core::browser_api::event_stream;
use sekisho_core::error::Error;
use sekisho_core::viewer::{CLOSE_TIMEOUT, Closing, EVENTS_AHEAD, FIRST_FRAME_TIMEOUT, ViewerInput};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::{Step, Viewer};
use crate::reply_body::ReplyBody;
use crate::request_log::Viewing;

/// A comment, which clients ignore (HTML, 9.2.6). It keeps the connection, and finds out whether it is still there.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// The head of the stream, or why there is none.
pub(super) async fn begin(
    mut viewer: impl Viewer + 'static,
    viewing: impl FnOnce() -> Viewing,
) -> Result<Response<ReplyBody>, Error> {
    let first = match timeout(FIRST_FRAME_TIMEOUT, viewer.next()).await {
        Ok(Step::End(Some(closing))) => return Err(closing.into_error()),
        Ok(step) => Some(step),
        Err(_) => None,
    };
    let (events, body) = mpsc::channel(EVENTS_AHEAD);
    let carrying = viewer.drain().carrying();
    let mut viewing = viewing();
    spawn_local(async move {
        let closing = show(&mut viewer, first, &events, &viewing).await;
        if let Some(closing) = closing {
            viewing.ended_by(closing.error());
            // The client may be gone by now.
            let _ = timeout(CLOSE_TIMEOUT, events.send(closing.frame().event().clone())).await;
        }
        drop(carrying);
    });
    Ok(event_stream().map(|()| ReplyBody::events(body)))
}

/// Obeys the session until it ends; `None` where the client is gone.
async fn show(
    viewer: &mut impl Viewer,
    mut first: Option<Step>,
    events: &mpsc::Sender<Bytes>,
    viewing: &Viewing,
) -> Option<Closing> {
    let drain = viewer.drain();
    let mut draining = pin!(drain.begins());
    let mut drains = false;
    loop {
        let step = match first.take() {
            Some(step) => step,
            None => tokio::select! {
                step = viewer.next() => step,
                () = events.closed() => return None,
                () = &mut draining, if !drains => {
                    drains = true;
                    viewer.handle(ViewerInput::Drain);
                    continue;
                }
            },
        };
        match step {
            Step::Frame(item) => {
                events.send(item.event().clone()).await.ok()?;
                viewing.wrote(1);
            }
            Step::Ping => {
                events.send(COMMENT).await.ok()?;
                viewer.handle(ViewerInput::Pong);
            }
            Step::End(closing) => return closing,
        }
        first = viewer.written();
    }
}
