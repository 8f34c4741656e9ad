//! The loop around a viewer's session, whatever carries its frames.

mod events;
mod websocket;

use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use sekisho_core::browser_api::{Form, Observation, StreamRequest, problem};
use sekisho_core::error::Error;
use sekisho_core::feed::Item;
use sekisho_core::viewer::{Closing, ViewerInput, ViewerOutput, ViewerSession};
use sekisho_transport_tokio::WatchDriver;
use tokio::time::{Sleep, sleep_until};

use crate::gateway::Gateway;
use crate::hub::Replica;
use crate::reply_body::ReplyBody;

/// Answers a request to observe a worker.
pub(crate) async fn respond(
    gateway: Rc<Gateway>,
    head: &Parts,
    observation: Observation,
    upgrade: OnUpgrade,
) -> Response<ReplyBody> {
    let viewer = observation.of.and_then(|request| Viewer::open(&gateway, request));
    let response = match observation.form {
        Form::WebSocket => websocket::accept(&gateway, head, viewer, upgrade),
        Form::ServerSentEvents => match viewer {
            Ok(viewer) => events::begin(viewer).await,
            Err(error) => Err(error),
        },
    };
    response.unwrap_or_else(|error| problem(&error).map(ReplyBody::whole))
}

/// A viewer's session and what it is driven with.
struct Viewer {
    gateway: Rc<Gateway>,
    session: ViewerSession,
    replica: Rc<Replica>,
    replay: Option<Box<WatchDriver>>,
    /// One timer for all of the viewer's life: to set one for each frame would cost as much as the frame.
    timer: Pin<Box<Sleep>>,
}

/// What is to be done on a viewer's connection.
enum Step {
    /// Write this frame, and then say so with [`Viewer::written`].
    Frame(Item),
    /// Ping the viewer, and then say so.
    Ping,
    /// Close.
    End(Option<Closing>),
}

impl Viewer {
    fn open(gateway: &Rc<Gateway>, request: StreamRequest) -> Result<Self, Error> {
        let (session, replica) = gateway.open_viewer(request)?;
        let timer = Box::pin(sleep_until(Instant::now().into()));
        Ok(Self { gateway: gateway.clone(), session, replica, replay: None, timer })
    }

    fn handle(&mut self, input: ViewerInput) {
        self.session.handle(Instant::now(), input);
    }

    /// What is to be done next. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Step {
        let replica = self.replica.clone();
        loop {
            let mut changed = std::pin::pin!(replica.changed().notified());
            changed.as_mut().enable();
            if let Some(step) = self.poll(Instant::now()) {
                return step;
            }
            if let Some(error) = replica.ended() {
                self.handle(ViewerInput::StreamEnded(error));
                continue;
            }
            let replayed = async {
                match &mut self.replay {
                    Some(replay) => replay.next().await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                event = replayed => match event {
                    Ok(event) => ViewerInput::Replay(event),
                    Err(end) => ViewerInput::ReplayEnded(end),
                },
                () = changed => continue,
                () = self.timer.as_mut() => continue,
            };
            self.handle(input);
        }
    }

    /// Takes that the last step is done. What is to be done next, where that is known already.
    fn written(&mut self) -> Option<Step> {
        let now = Instant::now();
        self.session.handle(now, ViewerInput::Written);
        self.poll(now)
    }

    fn poll(&mut self, now: Instant) -> Option<Step> {
        loop {
            let output = self.session.poll(now, &self.replica.feed());
            match output {
                ViewerOutput::Frame(item) => return Some(Step::Frame(item)),
                ViewerOutput::Ping => return Some(Step::Ping),
                ViewerOutput::End(closing) => return Some(Step::End(closing)),
                ViewerOutput::OpenReplay { cursor, on_expired } => {
                    let upstreams = self.gateway.upstreams();
                    match upstreams.open_stream(self.session.worker(), cursor, on_expired) {
                        Ok(replay) => self.replay = Some(replay.into()),
                        Err(error) => self.session.handle(now, ViewerInput::ReplayEnded(Err(error))),
                    }
                }
                ViewerOutput::CloseReplay => self.replay = None,
                ViewerOutput::Wait { until, .. } => {
                    if self.timer.deadline() != until.into() {
                        self.timer.as_mut().reset(until.into());
                    }
                    return None;
                }
            }
        }
    }
}
