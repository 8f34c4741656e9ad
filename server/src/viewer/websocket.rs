//! Viewers over WebSocket.

use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderValue, Response, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sekisho_core::browser_api::switching_protocols;
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::viewer::{
    CLOSE_TIMEOUT, Closing, FRAGMENT, GATHER, MAX_VIEWER_MESSAGE, VIEWER_READ_BUFFER, ViewerInput,
};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use super::{Step, Viewer};
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::reply_body::ReplyBody;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Accepts the handshake, and shows the stream, or why there is none, once the connection is a WebSocket.
pub(super) fn accept(
    gateway: &Rc<Gateway>,
    head: &Parts,
    viewer: Result<Viewer, Error>,
    upgrade: OnUpgrade,
) -> Result<Response<ReplyBody>, Error> {
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let accept = derive_accept_key(key.unwrap_or_default());
    let accept = HeaderValue::from_str(&accept).map_err(|_| Error::new(ErrorKind::Internal))?;
    let drain = gateway.drain().clone();
    spawn_local(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(&drain, viewer, upgraded).await;
        }
    });
    Ok(switching_protocols(head, accept).map(ReplyBody::whole))
}

async fn serve(drain: &Drain, viewer: Result<Viewer, Error>, upgraded: Upgraded) {
    let _carrying = drain.carrying();
    let config = WebSocketConfig::default()
        .read_buffer_size(VIEWER_READ_BUFFER)
        .write_buffer_size(GATHER)
        .max_message_size(Some(MAX_VIEWER_MESSAGE))
        .max_frame_size(Some(MAX_VIEWER_MESSAGE));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let closing = match viewer {
        Ok(mut viewer) => show(drain, &mut viewer, &mut socket).await,
        Err(error) => Some(error.into()),
    };
    if let Some(closing) = closing {
        let _ = timeout(CLOSE_TIMEOUT, close(&mut socket, &closing)).await;
    }
}

/// Obeys the session until it ends; `None` where the viewer is gone.
async fn show(drain: &Drain, viewer: &mut Viewer, socket: &mut Socket) -> Option<Closing> {
    let mut draining = pin!(drain.begins());
    let mut drains = false;
    loop {
        let input = tokio::select! {
            step = viewer.next() => {
                match write_all(viewer, step, socket).await.ok()? {
                    Some(end) => return end,
                    None => continue,
                }
            }
            message = socket.next() => match message {
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
    viewer: &mut Viewer,
    step: Step,
    socket: &mut Socket,
) -> tungstenite::Result<Option<Option<Closing>>> {
    let (mut next, mut gathered) = (Some(step), 0);
    while let Some(step) = next {
        match step {
            Step::Frame(item) => gathered += write(socket, item.text()).await?,
            Step::Ping => socket.feed(Message::Ping(Bytes::new())).await?,
            Step::End(closing) => return Ok(Some(closing)),
        }
        // What the socket does not take waits in a buffer, which stays small.
        if gathered >= GATHER {
            socket.flush().await?;
            gathered = 0;
        }
        next = viewer.written();
    }
    socket.flush().await?;
    Ok(None)
}

/// Writes one message, and says how much of it still waits to be flushed, in bytes.
async fn write(socket: &mut Socket, json: &Bytes) -> tungstenite::Result<usize> {
    if json.len() <= FRAGMENT {
        socket.feed(Message::Text(text(json))).await?;
        return Ok(json.len());
    }
    let mut kind = Data::Text;
    let mut rest = json.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(FRAGMENT));
        let frame = Frame::message(piece, OpCode::Data(kind), rest.is_empty());
        socket.send(Message::Frame(frame)).await?;
        kind = Data::Continue;
    }
    Ok(0)
}

/// Writes the last frame, closes, and waits for the viewer to have read it.
async fn close(socket: &mut Socket, closing: &Closing) {
    let frame = CloseFrame {
        code: CloseCode::from(closing.close_code()),
        reason: Utf8Bytes::from_static(closing.reason()),
    };
    if socket.send(Message::Text(text(closing.frame().text()))).await.is_ok()
        && socket.close(Some(frame)).await.is_ok()
    {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

fn text(json: &Bytes) -> Utf8Bytes {
    // Frames are JSON, which is UTF-8.
    Utf8Bytes::try_from(json.clone()).unwrap_or_default()
}
