//! Viewers over WebSocket.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::request;
use http::{HeaderValue, Response, header};
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use sekisho_core::browser_api::switching_protocols;
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::viewer::{
    CLOSE_TIMEOUT, CONTROL_BUFFER, Closing, MAX_UNFINISHED_MESSAGE, MAX_VIEWER_MESSAGE, VIEWER_READ_BUFFER,
    ViewerInput,
};
use sekisho_listener::Connection;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use super::gathered::Gathered;
use super::{Step, Viewer};
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::reply_body::ReplyBody;
use crate::request_log::Viewing;

type Socket = WebSocketStream<Connection>;

/// Accepts the handshake, and shows the stream, or why there is none, once the connection is a WebSocket.
pub(super) fn accept(
    gateway: &Gateway,
    head: &request::Parts,
    viewer: Result<impl Viewer + 'static, Error>,
    upgrade: OnUpgrade,
    viewing: Viewing,
) -> Result<Response<ReplyBody>, Error> {
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let accept = derive_accept_key(key.unwrap_or_default());
    let accept = HeaderValue::from_str(&accept).map_err(|_| Error::new(ErrorKind::Internal))?;
    let drain = gateway.drain().clone();
    spawn_local(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(&drain, viewer, upgraded, viewing).await;
        }
    });
    Ok(switching_protocols(head, accept).map(ReplyBody::whole))
}

async fn serve(drain: &Drain, viewer: Result<impl Viewer, Error>, upgraded: Upgraded, mut viewing: Viewing) {
    let _carrying = drain.carrying();
    // What the event loop has given to HTTP. It is written to directly.
    let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<Connection>>() else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(VIEWER_READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(CONTROL_BUFFER)
        .max_message_size(Some(MAX_VIEWER_MESSAGE))
        .max_frame_size(Some(MAX_VIEWER_MESSAGE));
    let (connection, read) = (io.into_inner(), read_buf.to_vec());
    let mut socket = WebSocketStream::from_partially_read(connection, read, Role::Server, Some(config)).await;
    let closing = match viewer {
        Ok(mut viewer) => show(drain, &mut viewer, &mut socket, &viewing).await,
        Err(error) => Some(error.into()),
    };
    if let Some(closing) = closing {
        viewing.ended_by(closing.error());
        let _ = timeout(CLOSE_TIMEOUT, close(&mut socket, &closing)).await;
    }
}

/// Obeys the session until it ends; `None` where the viewer is gone.
async fn show(
    drain: &Drain,
    viewer: &mut impl Viewer,
    socket: &mut Socket,
    viewing: &Viewing,
) -> Option<Closing> {
    let mut draining = pin!(drain.begins());
    let mut drains = false;
    let mut gathered = Gathered::default();
    let mut incoming = Incoming::default();
    loop {
        let input = tokio::select! {
            step = viewer.next() => {
                match write_all(viewer, step, socket, &mut gathered, viewing).await.ok()? {
                    Some(end) => return end,
                    None => continue,
                }
            }
            message = incoming.next(socket) => match message {
                Some(Ok(Message::Pong(_))) => ViewerInput::Pong,
                // Answered by the library, with what is written next.
                Some(Ok(Message::Ping(_))) => {
                    socket.flush().await.ok()?;
                    continue;
                }
                Some(Ok(Message::Close(_))) => continue,
                Some(Err(error)) if is_loss(&error) => ViewerInput::Gone,
                // What is no message at all is no less than one that nothing was to be said with.
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Frame(_)) | Err(_)) => {
                    ViewerInput::Message
                }
                None => ViewerInput::Gone,
            },
            () = &mut draining, if !drains => {
                drains = true;
                ViewerInput::Drain
            }
        };
        viewer.handle(input);
    }
}

/// What a viewer sends.
#[derive(Default)]
struct Incoming {
    /// How many bytes of the connection were read when its last message ended.
    at_message: u64,
}

impl Incoming {
    /// The next message. One in fragments that does not end is too large once its heads alone are: the library counts
    /// what they contain, which may be nothing.
    async fn next(&mut self, socket: &mut Socket) -> Option<tungstenite::Result<Message>> {
        poll_fn(|context| {
            let message = socket.poll_next_unpin(context);
            let read = socket.get_ref().read();
            if message.is_ready() {
                self.at_message = read;
                return message;
            }
            match usize::try_from(read - self.at_message) {
                Ok(size) if size <= MAX_UNFINISHED_MESSAGE => Poll::Pending,
                size => {
                    let too_long = CapacityError::MessageTooLong {
                        size: size.unwrap_or(usize::MAX),
                        max_size: MAX_UNFINISHED_MESSAGE,
                    };
                    Poll::Ready(Some(Err(too_long.into())))
                }
            }
        })
        .await
    }
}

/// Whether the connection is gone, and not only what came over it wrong.
fn is_loss(error: &tungstenite::Error) -> bool {
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    !matches!(
        error,
        tungstenite::Error::Capacity(_) | tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)
    ) || matches!(error, tungstenite::Error::Protocol(ResetWithoutClosingHandshake))
}

/// Does this step and what else is to be done already. How to close, where that is the end.
async fn write_all(
    viewer: &mut impl Viewer,
    step: Step,
    socket: &mut Socket,
    gathered: &mut Gathered,
    viewing: &Viewing,
) -> tungstenite::Result<Option<Option<Closing>>> {
    let mut next = Some(step);
    let mut frames = 0;
    while let Some(step) = next {
        match step {
            Step::Frame(item) => {
                gathered.push(item.text().clone());
                frames += 1;
            }
            Step::Ping => {
                gathered.write(socket).await?;
                socket.feed(Message::Ping(Bytes::new())).await?;
            }
            Step::End(closing) => {
                gathered.write(socket).await?;
                viewing.wrote(frames);
                return Ok(Some(closing));
            }
        }
        if gathered.is_full() {
            gathered.write(socket).await?;
        }
        next = viewer.written();
    }
    gathered.write(socket).await?;
    socket.flush().await?;
    viewing.wrote(frames);
    Ok(None)
}

/// Writes the last frame, closes, and waits for the viewer to have read it.
async fn close(socket: &mut Socket, closing: &Closing) {
    let frame = CloseFrame {
        code: CloseCode::from(closing.close_code()),
        reason: Utf8Bytes::from_static(closing.reason()),
    };
    let mut last = Gathered::default();
    last.push(closing.frame().text().clone());
    if last.write(socket).await.is_ok() && socket.close(Some(frame)).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}
