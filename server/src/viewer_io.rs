//! Viewers over WebSocket, and over server-sent events.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderValue, Response, header};
use hyper::body::Frame;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sekisho_core::browser_api::{
    Form, Observation, StreamRequest, event_stream, problem, server_sent_event, switching_protocols,
};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::closing_diagnostic;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use crate::gateway::{Gateway, ReplyBody};
use crate::viewing::Viewing;

/// How often a viewer is pinged, whatever else is going on.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long it may take to answer.
const PONG_WITHIN: Duration = Duration::from_secs(15);

/// How long a viewer may take for the last frame and the closing handshake.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What is read of a viewer at once, in bytes: it has nothing to say but pongs and a close.
const READ_BUFFER: usize = 512;

/// How much is gathered before it is written, in bytes.
const GATHER: usize = 4 << 10;

/// The most of a message that goes in one frame, in bytes; a longer one is fragmented (RFC 6455, 5.4). The library's
/// buffer for writing keeps the size that it once needed.
const FRAGMENT: usize = 8 << 10;

/// The largest message of a viewer that is looked at before it is refused, in bytes.
const MAX_MESSAGE: usize = 4 << 10;

/// How many events of a stream of server-sent events wait for a client that reads slowly.
const EVENTS_AHEAD: usize = 4;

/// How long a client waits for the head of a stream of server-sent events at most, so that what keeps it out can be
/// said in the response.
const FIRST_EVENT_WITHIN: Duration = Duration::from_secs(10);

/// Answers a request to watch a worker.
pub(crate) async fn respond(
    gateway: Rc<Gateway>,
    head: &Parts,
    observation: Observation,
    upgrade: OnUpgrade,
) -> Response<ReplyBody> {
    let viewing = observation.of.and_then(|viewed| Admitted::new(&gateway, viewed));
    match observation.form {
        Form::WebSocket => {
            let key = head.headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
            let accept = derive_accept_key(key.unwrap_or_default());
            let Ok(accept) = HeaderValue::from_str(&accept) else {
                return problem(&Error::new(ErrorKind::Internal)).map(ReplyBody::whole);
            };
            spawn_local(async move {
                if let Ok(upgraded) = upgrade.await {
                    over_websocket(gateway, viewing, upgraded).await;
                }
            });
            switching_protocols(head, accept).map(ReplyBody::whole)
        }
        Form::ServerSentEvents => match over_events(gateway, viewing).await {
            Ok(response) => response,
            Err(error) => problem(&error).map(ReplyBody::whole),
        },
    }
}

/// A viewer and its place among those there may be.
struct Admitted {
    viewing: Viewing,
    _place: crate::gateway::Permit,
}

impl Admitted {
    fn new(gateway: &Rc<Gateway>, viewed: StreamRequest) -> Result<Self, Error> {
        let place = gateway.viewer_permit()?;
        Ok(Self { viewing: Viewing::new(gateway, viewed)?, _place: place })
    }
}

async fn over_websocket(gateway: Rc<Gateway>, viewing: Result<Admitted, Error>, upgraded: Upgraded) {
    let _carrying = gateway.busy().carrying();
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(GATHER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let end = match viewing {
        Ok(mut admitted) => show(&gateway, &mut admitted.viewing, &mut socket).await,
        Err(error) => Some(error),
    };
    if let Some(error) = end {
        let _ = timeout(CLOSE_WITHIN, close(&mut socket, &error)).await;
    }
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Shows frames until there are no more; `None` where there is nobody left to tell why.
async fn show(gateway: &Gateway, viewing: &mut Viewing, socket: &mut Socket) -> Option<Error> {
    let mut going_away = std::pin::pin!(gateway.viewer_goes_away());
    let mut next_ping = Instant::now() + PING_EVERY;
    let mut pong_until: Option<Instant> = None;
    // One timer for all of the viewer's life: to set one for each frame would cost as much as the frame.
    let mut wake = std::pin::pin!(sleep_until(next_ping));
    loop {
        tokio::select! {
            item = viewing.next() => {
                let mut ready = item.map(Some);
                let mut gathered = 0;
                // What is there already goes out together, but never more than a little at once: what the socket
                // does not take waits in a buffer.
                loop {
                    match ready {
                        Ok(Some(item)) => gathered += write(socket, item.text()).await.ok()?,
                        Ok(None) => break,
                        Err(error) => return Some(error),
                    }
                    if gathered >= GATHER {
                        socket.flush().await.ok()?;
                        gathered = 0;
                    }
                    ready = viewing.ready();
                }
                socket.flush().await.ok()?;
            }
            message = socket.next() => match message {
                Some(Ok(Message::Pong(_))) => pong_until = None,
                Some(Ok(Message::Ping(_))) => socket.flush().await.ok()?,
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Frame(_))) => {
                    return Some(Error::new(ErrorKind::ObservationOnly));
                }
                Some(Ok(Message::Close(_))) => {}
                Some(Err(tungstenite::Error::Capacity(_))) => {
                    return Some(Error::new(ErrorKind::ObservationOnly));
                }
                Some(Err(_)) | None => return None,
            },
            () = wake.as_mut() => {
                let now = Instant::now();
                if pong_until.is_some_and(|until| until <= now) {
                    return None;
                }
                if next_ping <= now {
                    next_ping = now + PING_EVERY;
                    pong_until.get_or_insert(now + PONG_WITHIN);
                    socket.send(Message::Ping(Bytes::new())).await.ok()?;
                }
                wake.as_mut().reset(pong_until.map_or(next_ping, |until| until.min(next_ping)));
            }
            () = &mut going_away => return Some(Error::new(ErrorKind::GoingAway)),
        }
    }
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
        let frame = tungstenite::protocol::frame::Frame::message(piece, OpCode::Data(kind), rest.is_empty());
        socket.send(Message::Frame(frame)).await?;
        kind = Data::Continue;
    }
    Ok(0)
}

/// Says why, closes, and waits for the other side to have heard it.
async fn close(socket: &mut Socket, error: &Error) {
    let frame = CloseFrame {
        code: CloseCode::from(error.kind().close_code()),
        reason: Utf8Bytes::from_static(error.kind().code()),
    };
    if socket.send(Message::Text(text(closing_diagnostic(error).text()))).await.is_ok()
        && socket.close(Some(frame)).await.is_ok()
    {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

fn text(json: &Bytes) -> Utf8Bytes {
    // Frames are made of texts alone.
    Utf8Bytes::try_from(json.clone()).unwrap_or_default()
}

async fn over_events(
    gateway: Rc<Gateway>,
    viewing: Result<Admitted, Error>,
) -> Result<Response<ReplyBody>, Error> {
    let mut admitted = viewing?;
    let first = match timeout(FIRST_EVENT_WITHIN, admitted.viewing.next()).await {
        Ok(first) => Some(first?),
        Err(_) => None,
    };
    let (events, body) = mpsc::channel(EVENTS_AHEAD);
    spawn_local(async move {
        let _carrying = gateway.busy().carrying();
        let mut first = first;
        let mut going_away = std::pin::pin!(gateway.viewer_goes_away());
        let error = loop {
            let comment = sleep_until(Instant::now() + PING_EVERY);
            let event = match first.take() {
                Some(item) => server_sent_event(&item),
                None => tokio::select! {
                    item = admitted.viewing.next() => match item {
                        Ok(item) => server_sent_event(&item),
                        Err(error) => break error,
                    },
                    // A comment keeps the connection, and finds out whether it is still there.
                    () = comment => Bytes::from_static(b":\n\n"),
                    () = events.closed() => return,
                    () = &mut going_away => break Error::new(ErrorKind::GoingAway),
                },
            };
            if events.send(event).await.is_err() {
                return;
            }
        };
        // Nobody may be left to hear it.
        let _ = timeout(CLOSE_WITHIN, events.send(server_sent_event(&closing_diagnostic(&error)))).await;
    });
    Ok(event_stream().map(|()| ReplyBody::Events(Events(body))))
}

/// The body of a stream of server-sent events.
pub(crate) struct Events(mpsc::Receiver<Bytes>);

impl Events {
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        Pin::new(&mut self.0).poll_recv(context).map(|event| event.map(Frame::data))
    }
}
