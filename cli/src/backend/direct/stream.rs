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
    Closing, FeedUpdate, SharedStream, SharedStreamInput, SharedStreamOutput, ViewerInput, ViewerOutput,
    ViewerSession,
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
    replay: Option<WatchDriver>,
    shared: SharedStream,
    /// What feeds the shared stream; `None` once that has ended.
    watch: Option<WatchDriver>,
    generation: u64,
}

impl DirectStream {
    pub(super) fn new(runtimes: &Arc<Runtimes>, worker: &WorkerRef, cursor: Option<String>) -> Self {
        let now = Instant::now();
        Self {
            runtimes: runtimes.clone(),
            worker: worker.clone(),
            client: Gateway::in_process().open_stream(now, worker, cursor, seed()),
            session: None,
            replay: None,
            shared: SharedStream::new(now, &runtimes.streams, worker.clone(), 0),
            watch: None,
            generation: 0,
        }
    }

    /// Lets the client in, as a server does.
    fn connect(&mut self, id: ConnId) {
        let now = Instant::now();
        self.client.handle(now, GatewayStreamInput::Opened(id));
        let cursor = self.client.cursor().map(str::to_owned);
        let request = StreamRequest { worker: self.worker.clone(), cursor };
        let session = ViewerSession::open(now, &self.runtimes.streams, &self.runtimes.registry(), request);
        match session {
            Ok(session) => {
                self.session = Some((id, session));
                if self.watch.is_none() {
                    self.open_shared(now);
                }
            }
            Err(error) => self.close(id, Some(error.into())),
        }
    }

    /// Opens the stream that is fed to viewers, anew where it had ended.
    fn open_shared(&mut self, now: Instant) {
        self.generation += 1;
        self.shared = SharedStream::new(now, &self.runtimes.streams, self.worker.clone(), self.generation);
        self.shared.handle(now, SharedStreamInput::Viewed);
        let watch = self.shared.watch(now, &mut self.runtimes.registry());
        match watch.and_then(|watch| self.carry(watch)) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => self.shared.handle(now, SharedStreamInput::WatchEnded(Err(error))),
        }
    }

    fn carry(&self, watch: Watch) -> Result<WatchDriver, Error> {
        self.runtimes.refresh_tokens(|runtime_id| *runtime_id == self.worker.runtime_id);
        Ok(WatchDriver::new(watch, self.runtimes.transport(&self.worker.runtime_id)?))
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
        self.serve_shared();
        let Some((id, session)) = &mut self.session else { return false };
        let (id, now) = (*id, Instant::now());
        match session.poll(now, self.shared.feed()) {
            ViewerOutput::Frame(item) => {
                session.handle(now, ViewerInput::Written);
                self.client.handle(now, GatewayStreamInput::Frame(id, item.text().clone()));
            }
            ViewerOutput::Ping => {
                session.handle(now, ViewerInput::Written);
                session.handle(now, ViewerInput::Pong);
            }
            ViewerOutput::OpenReplay { cursor, on_expired } => {
                let watch = self.runtimes.registry().watch(now, &self.worker, cursor, on_expired);
                match watch.and_then(|watch| self.carry(watch)) {
                    Ok(replay) => self.replay = Some(replay),
                    Err(error) => self.close(id, Some(error.into())),
                }
            }
            ViewerOutput::CloseReplay => self.replay = None,
            ViewerOutput::End(closing) => self.close(id, closing),
            ViewerOutput::Wait { .. } => return false,
        }
        true
    }

    /// Does what the shared stream says.
    fn serve_shared(&mut self) {
        loop {
            let now = Instant::now();
            match self.shared.poll(now) {
                SharedStreamOutput::Observed(result) => {
                    let result = result.as_ref().copied();
                    self.runtimes.registry().observed(now, &self.worker.runtime_id, result);
                }
                SharedStreamOutput::Update(FeedUpdate::Ended(error)) => {
                    if let Some((_, session)) = &mut self.session {
                        session.handle(now, ViewerInput::StreamEnded(error));
                    }
                }
                SharedStreamOutput::Update(_) => {}
                SharedStreamOutput::End => return self.watch = None,
                SharedStreamOutput::Wait { .. } => return,
            }
        }
    }

    /// Waits for the runtime to say something, until an instant.
    fn wait(&mut self, until: Instant) {
        let now = Instant::now();
        let mut until = until;
        if let (Some(replay), Some((_, session))) = (&mut self.replay, &mut self.session) {
            let input = match replay.next_event_until(until.min(now + SLICE)) {
                Some(Ok(event)) => Some(ViewerInput::Replay(event)),
                Some(Err(end)) => Some(ViewerInput::ReplayEnded(end)),
                None => None,
            };
            let heard = input.is_some();
            input.into_iter().for_each(|input| session.handle(Instant::now(), input));
            if heard {
                return;
            }
            until = until.min(Instant::now() + SLICE);
        }
        let Some(watch) = &mut self.watch else {
            return thread::sleep(until.saturating_duration_since(Instant::now()));
        };
        let input = match watch.next_event_until(until) {
            Some(Ok(event)) => SharedStreamInput::Watch(event),
            Some(Err(end)) => SharedStreamInput::WatchEnded(end),
            None => return,
        };
        self.shared.handle(Instant::now(), input);
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
