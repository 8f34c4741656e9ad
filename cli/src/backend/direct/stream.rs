//! A worker's stream without a server: both sides of it in this process.
//!
//! The client's side is the [`GatewayStream`] that also speaks to a server, and the gateway's side is the
//! [`ViewerSession`] and the [`SharedStream`] that a server has for each viewer and worker. Between them is no
//! connection, but what one says the other hears. So a stream is the same with a server and without one.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sekisho_core::browser_api::StreamRequest;
use sekisho_core::error::Error;
use sekisho_core::gateway_client::{
    Gateway, GatewayEvent, GatewayStream, GatewayStreamInput, GatewayStreamOutput,
};
use sekisho_core::id::WorkerRef;
use sekisho_core::transport::{ConnId, Loss};
use sekisho_core::viewer::{
    Closing, FeedUpdate, SharedStream, SharedStreamInput, SharedStreamOutput, SharedStreamWait, ViewerInput,
    ViewerOutput, ViewerSession,
};
use sekisho_core::watch::Watch;
use sekisho_transport_blocking::{Ended, WatchDriver};

use super::{Runtimes, seed};
use crate::backend::Stream;

/// How long one of two streams is waited for at a time, while a replay is under way.
const SLICE: Duration = Duration::from_millis(5);

/// Both sides of a stream.
pub(super) struct DirectStream {
    runtimes: Arc<Runtimes>,
    worker: WorkerRef,
    client: GatewayStream,
    /// The gateway's side while there is a connection.
    session: Option<(ConnId, ViewerSession)>,
    /// The worker's stream, once there was a connection.
    shared: Option<Fed>,
    /// The session's replay stream.
    replay: Option<Fed>,
    generation: u64,
}

/// A shared stream and what feeds it.
struct Fed {
    stream: SharedStream,
    /// `None` once it has ended.
    watch: Option<WatchDriver>,
    /// Whether its watch is not to be heard now.
    is_paced: bool,
}

impl Fed {
    fn new(runtimes: &Runtimes, mut stream: SharedStream) -> Self {
        let now = Instant::now();
        stream.handle(now, SharedStreamInput::Viewed);
        let watch = stream.watch(now, &mut runtimes.registry());
        let watch = match watch.and_then(|watch| carry(runtimes, watch)) {
            Ok(watch) => Some(watch),
            Err(error) => {
                stream.handle(now, SharedStreamInput::WatchEnded(Err(error)));
                None
            }
        };
        Self { stream, watch, is_paced: false }
    }

    /// Does what the stream says. Why it has ended, where that is said now.
    fn serve(&mut self, runtimes: &Runtimes) -> Option<Error> {
        let mut ended = None;
        loop {
            let now = Instant::now();
            match self.stream.poll(now) {
                SharedStreamOutput::Observed(result) => {
                    let runtime_id = &self.stream.worker().runtime_id;
                    runtimes.registry().observed(now, runtime_id, result.as_ref().copied());
                }
                SharedStreamOutput::Update(FeedUpdate::Ended(error)) => ended = Some(error),
                SharedStreamOutput::Update(_) => {}
                SharedStreamOutput::End => {
                    self.watch = None;
                    return ended;
                }
                SharedStreamOutput::Wait { why, .. } => {
                    self.is_paced = why == SharedStreamWait::Pace;
                    return ended;
                }
            }
        }
    }

    /// Waits for the runtime to say something, until an instant. Whether it did; `None` where it is not to be heard.
    fn listen(&mut self, until: Instant) -> Option<bool> {
        let watch = self.watch.as_mut().filter(|_| !self.is_paced)?;
        let input = match watch.next_event_until(until) {
            Some(Ok(event)) => SharedStreamInput::Watch(event),
            Some(Err(end)) => SharedStreamInput::WatchEnded(end),
            None => return Some(false),
        };
        self.stream.handle(Instant::now(), input);
        Some(true)
    }
}

fn carry(runtimes: &Runtimes, watch: Watch) -> Result<WatchDriver, Error> {
    let transport = runtimes.transport(&watch.worker().runtime_id)?;
    Ok(WatchDriver::new(watch, transport))
}

impl DirectStream {
    pub(super) fn new(runtimes: &Arc<Runtimes>, worker: &WorkerRef, cursor: Option<String>) -> Self {
        Self {
            runtimes: runtimes.clone(),
            worker: worker.clone(),
            client: Gateway::in_process().open_stream(Instant::now(), worker, cursor, seed()),
            session: None,
            shared: None,
            replay: None,
            generation: 0,
        }
    }

    /// Lets the client in, as a server does.
    fn connect(&mut self, id: ConnId) {
        let now = Instant::now();
        self.client.handle(now, GatewayStreamInput::Opened(id));
        let cursor = self.client.cursor().map(str::to_owned);
        let request = StreamRequest { worker: self.worker.clone(), cursor, client: None };
        let session = ViewerSession::open(now, &self.runtimes.streams, &self.runtimes.registry(), request);
        match session {
            Ok(session) => {
                self.session = Some((id, session));
                // One that has ended is followed by another.
                if self.shared.as_ref().is_none_or(|shared| shared.watch.is_none()) {
                    self.generation += 1;
                    let (context, worker) = (&self.runtimes.streams, self.worker.clone());
                    let shared = SharedStream::new(now, context, worker, self.generation);
                    self.shared = Some(Fed::new(&self.runtimes, shared));
                }
            }
            Err(error) => self.close(id, Some(error.into())),
        }
    }

    fn disconnect(&mut self) {
        self.session = None;
        self.replay = None;
    }

    /// Ends the connection from the gateway's side.
    fn close(&mut self, id: ConnId, closing: Option<Closing>) {
        self.disconnect();
        let now = Instant::now();
        let Some(closing) = closing else {
            return self.client.handle(now, GatewayStreamInput::Lost(id, Loss::Ended));
        };
        self.client.handle(now, GatewayStreamInput::Frame(id, closing.frame().text().clone()));
        self.client.handle(now, GatewayStreamInput::Closed(id, Some(closing.close_code())));
    }

    /// Does what the gateway's side has to do now. Whether the client has something to hear of it.
    fn serve(&mut self) -> bool {
        let ended = self.shared.as_mut().and_then(|shared| shared.serve(&self.runtimes));
        let replay_ended = self.replay.as_mut().and_then(|replay| replay.serve(&self.runtimes));
        let (Some((id, session)), Some(shared)) = (&mut self.session, &self.shared) else { return false };
        let (id, now) = (*id, Instant::now());
        ended.into_iter().for_each(|error| session.handle(now, ViewerInput::StreamEnded(error)));
        replay_ended.into_iter().for_each(|error| session.handle(now, ViewerInput::ReplayEnded(error)));
        let replay = self.replay.as_ref().map(|replay| replay.stream.feed());
        match session.poll(now, shared.stream.feed(), replay) {
            ViewerOutput::Frame(item) => {
                session.handle(now, ViewerInput::Written);
                self.client.handle(now, GatewayStreamInput::Frame(id, item.text().clone()));
            }
            ViewerOutput::Ping => {
                session.handle(now, ViewerInput::Written);
                session.handle(now, ViewerInput::Pong);
            }
            ViewerOutput::OpenReplay(order) => {
                self.generation += 1;
                let replay = SharedStream::replay(now, &self.runtimes.streams, order, self.generation);
                self.replay = Some(Fed::new(&self.runtimes, replay));
            }
            // It is polled each time that the session is.
            ViewerOutput::WakeReplay => {}
            ViewerOutput::CloseReplay => self.replay = None,
            ViewerOutput::End(closing) => self.close(id, closing),
            ViewerOutput::Wait { .. } => return false,
        }
        true
    }

    /// Waits for the runtime to say something, until an instant.
    fn wait(&mut self, until: Instant) {
        let soon = || until.min(Instant::now() + SLICE);
        let mut until = until;
        if let Some(replay) = &mut self.replay {
            match replay.listen(soon()) {
                Some(true) => return,
                Some(false) | None => until = soon(),
            }
        }
        if self.shared.as_mut().and_then(|shared| shared.listen(until)).is_none() {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

impl Stream for DirectStream {
    fn next_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent, Ended>> {
        loop {
            match self.client.poll(Instant::now()) {
                GatewayStreamOutput::Connect(connect) => self.connect(connect.id),
                // There is no connection that could be gone.
                GatewayStreamOutput::Ping(id) => {
                    self.client.handle(Instant::now(), GatewayStreamInput::Pong(id));
                }
                GatewayStreamOutput::Close(_) => self.disconnect(),
                GatewayStreamOutput::Event(event) => return Some(Ok(event)),
                GatewayStreamOutput::Stopped(result) => return Some(Err(result)),
                GatewayStreamOutput::Wait { until, .. } => {
                    if self.serve() {
                        continue;
                    }
                    if instant <= Instant::now() {
                        return None;
                    }
                    self.wait(until.min(instant));
                }
            }
        }
    }
}
