//! The loop around a viewer's session, whatever carries its frames.

mod events;
mod fleet;
mod gathered;
mod websocket;

use std::future::pending;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Instant;

use http::request::Parts;
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use sekisho_core::browser_api::{Form, Observation, StreamRequest, Wanted};
use sekisho_core::error::Error;
use sekisho_core::feed::Item;
use sekisho_core::viewer::{Closing, ViewerInput, ViewerOutput, ViewerSession};
use tokio::time::{Sleep, sleep_until};

use self::fleet::FleetViewer;
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::hub::Replica;
use crate::reply_body::ReplyBody;
use crate::request_log::{Asked, Viewing};

/// Answers a request to observe a worker, or all of them.
pub(crate) async fn respond(
    gateway: &Rc<Gateway>,
    head: &Parts,
    observation: Observation,
    upgrade: OnUpgrade,
    asked: &Asked,
) -> Result<Response<ReplyBody>, Error> {
    let form = observation.form;
    match observation.of {
        Ok(Wanted::Worker(request)) => {
            let has_cursor = request.cursor.is_some();
            let viewer = WorkerViewer::open(gateway, request);
            if viewer.is_ok() {
                gateway.metrics().viewer_came("worker", form, has_cursor);
            }
            show(gateway, head, form, viewer, upgrade, asked).await
        }
        Ok(Wanted::Fleet) => {
            let viewer = FleetViewer::open(gateway);
            if viewer.is_ok() {
                gateway.metrics().viewer_came("fleet", form, false);
            }
            show(gateway, head, form, viewer, upgrade, asked).await
        }
        Err(error) => show(gateway, head, form, Err::<WorkerViewer, _>(error), upgrade, asked).await,
    }
}

async fn show(
    gateway: &Rc<Gateway>,
    head: &Parts,
    form: Form,
    viewer: Result<impl Viewer + 'static, Error>,
    upgrade: OnUpgrade,
    asked: &Asked,
) -> Result<Response<ReplyBody>, Error> {
    let viewing = |status| Viewing::new(asked.clone(), status, gateway.metrics().clone());
    match form {
        Form::WebSocket => {
            let viewing = viewing(StatusCode::SWITCHING_PROTOCOLS);
            websocket::accept(gateway, head, viewer, upgrade, viewing)
        }
        Form::ServerSentEvents => events::begin(viewer?, || viewing(StatusCode::OK)).await,
    }
}

/// What decides about one viewer, whatever it is shown, and whatever carries its frames.
trait Viewer {
    /// What is to be done next. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Step;

    /// Takes that the last step is done. What is to be done next, where that is known already.
    fn written(&mut self) -> Option<Step>;

    /// Takes what happened.
    fn handle(&mut self, input: ViewerInput);

    /// Whether the server shuts down.
    fn drain(&self) -> Drain;
}

/// The session of a worker's viewer and what it is driven with.
struct WorkerViewer {
    gateway: Rc<Gateway>,
    session: ViewerSession,
    replica: Rc<Replica>,
    replay: Option<Rc<Replica>>,
    timer: Timer,
}

/// One timer for all of a viewer's life: to set one for each frame would cost as much as the frame.
struct Timer(Pin<Box<Sleep>>);

impl Timer {
    fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now().into())))
    }

    fn set(&mut self, until: Instant) {
        if self.0.deadline() != until.into() {
            self.0.as_mut().reset(until.into());
        }
    }

    /// Resolves once the instant has come that it was last set to.
    async fn is_over(&mut self) {
        self.0.as_mut().await;
    }
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

impl WorkerViewer {
    fn open(gateway: &Rc<Gateway>, request: StreamRequest) -> Result<Self, Error> {
        let (session, replica) = gateway.open_viewer(request)?;
        Ok(Self { gateway: gateway.clone(), session, replica, replay: None, timer: Timer::new() })
    }

    fn poll(&mut self, now: Instant) -> Option<Step> {
        loop {
            let replay = self.replay.as_deref().map(Replica::feed);
            let output = self.session.poll(now, &self.replica.feed(), replay.as_deref());
            drop(replay);
            match output {
                ViewerOutput::Frame(item) => return Some(Step::Frame(item)),
                ViewerOutput::Ping => return Some(Step::Ping),
                ViewerOutput::End(closing) => return Some(Step::End(closing)),
                ViewerOutput::OpenReplay(order) => self.replay = Some(self.gateway.open_replay(order)),
                ViewerOutput::WakeReplay => self.replay.iter().for_each(|replay| replay.wake()),
                ViewerOutput::CloseReplay => self.replay = None,
                ViewerOutput::Wait { until, .. } => {
                    self.timer.set(until);
                    return None;
                }
            }
        }
    }
}

impl Viewer for WorkerViewer {
    fn handle(&mut self, input: ViewerInput) {
        self.session.handle(Instant::now(), input);
    }

    async fn next(&mut self) -> Step {
        let replica = self.replica.clone();
        loop {
            let replay = self.replay.clone();
            let mut changed = pin!(replica.changed().notified());
            changed.as_mut().enable();
            let mut replayed = pin!(replay.as_deref().map(|replay| replay.changed().notified()));
            if let Some(replayed) = replayed.as_mut().as_pin_mut() {
                replayed.enable();
            }
            if let Some(step) = self.poll(Instant::now()) {
                return step;
            }
            if let Some(error) = replica.ended() {
                self.handle(ViewerInput::StreamEnded(error));
                continue;
            }
            match (&replay, &self.replay) {
                (None, None) => {}
                (Some(before), Some(replay)) if Rc::ptr_eq(before, replay) => {
                    if let Some(error) = replay.ended() {
                        self.handle(ViewerInput::ReplayEnded(error));
                        continue;
                    }
                }
                // It was opened or closed just now.
                _ => continue,
            }
            let replayed = async {
                match replayed.as_pin_mut() {
                    Some(replayed) => replayed.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = replayed => {}
                () = self.timer.is_over() => {}
            }
        }
    }

    fn written(&mut self) -> Option<Step> {
        let now = Instant::now();
        self.session.handle(now, ViewerInput::Written);
        self.poll(now)
    }

    fn drain(&self) -> Drain {
        self.gateway.drain().clone()
    }
}
