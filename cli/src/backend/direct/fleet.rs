//! The stream of all workers without a server: both sides of it in this process, as with that of one worker.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use sekisho_core::fleet::{Fleet, FleetFeed, FleetInput, FleetOutput, FleetSession, FleetSessionOutput};
use sekisho_core::gateway_client::{
    FleetEvent, Gateway, GatewayEvent, GatewayStream, GatewayStreamInput, GatewayStreamOutput, TheFleet,
};
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::PROBE_EVERY;
use sekisho_core::transport::{ConnId, Loss};
use sekisho_core::viewer::{Closing, ViewerInput};
use sekisho_transport_blocking::Ended;

use super::{Runtimes, now, seed};
use crate::backend::Stream;

/// What asks the runtimes, what keeps their answers, and the two ends of the stream.
pub(super) struct DirectFleetStream {
    runtimes: Arc<Runtimes>,
    client: GatewayStream<TheFleet>,
    /// The gateway's side while there is a connection.
    session: Option<(ConnId, FleetSession)>,
    fleet: Fleet,
    feed: FleetFeed,
    /// For the threads that ask.
    sender: Sender<FleetInput>,
    answers: Receiver<FleetInput>,
    probed: Instant,
}

impl DirectFleetStream {
    pub(super) fn new(runtimes: &Arc<Runtimes>) -> Self {
        let now = now();
        let mut fleet = Fleet::new(Arc::new(AllowAll));
        fleet.handle(now, &runtimes.registry(), FleetInput::Viewed);
        let (sender, answers) = mpsc::channel();
        Self {
            runtimes: runtimes.clone(),
            client: Gateway::in_process().open_fleet_stream(now.instant, seed()),
            session: None,
            fleet,
            feed: FleetFeed::default(),
            sender,
            answers,
            probed: now.instant,
        }
    }

    /// Lets the client in, as a server does.
    fn connect(&mut self, id: ConnId) {
        let now = Instant::now();
        self.client.handle(now, GatewayStreamInput::Opened(id));
        match FleetSession::open(now, &self.runtimes.streams) {
            Ok(session) => self.session = Some((id, session)),
            Err(error) => self.close(id, Some(error.into())),
        }
    }

    /// Ends the connection from the gateway's side.
    fn close(&mut self, id: ConnId, closing: Option<Closing>) {
        self.session = None;
        let now = Instant::now();
        let Some(closing) = closing else {
            return self.client.handle(now, GatewayStreamInput::Lost(id, Loss::Ended));
        };
        self.client.handle(now, GatewayStreamInput::Frame(id, closing.frame().text().clone()));
        self.client.handle(now, GatewayStreamInput::Closed(id, Some(closing.close_code())));
    }

    /// Does what the gateway's side has to do now. When it has something to do again, or `None` where the client has
    /// something to hear of it.
    fn serve(&mut self) -> Option<Instant> {
        if self.probed.elapsed() >= PROBE_EVERY {
            self.probed = Instant::now();
            self.runtimes.probe();
        }
        let due = self.ask();
        let Some((id, session)) = &mut self.session else {
            return due.or(Some(Instant::now() + PROBE_EVERY));
        };
        let (id, now) = (*id, Instant::now());
        match session.poll(now, &self.feed) {
            FleetSessionOutput::Frame(item) => {
                session.handle(now, ViewerInput::Written);
                self.client.handle(now, GatewayStreamInput::Frame(id, item.text().clone()));
            }
            FleetSessionOutput::Ping => {
                session.handle(now, ViewerInput::Written);
                session.handle(now, ViewerInput::Pong);
            }
            FleetSessionOutput::End(closing) => self.close(id, closing),
            FleetSessionOutput::Wait { until, .. } => {
                return Some(due.map_or(until, |due| due.min(until)).min(now + PROBE_EVERY));
            }
        }
        None
    }

    /// Asks the runtimes that are due, and takes over what is new. When the next one is due.
    fn ask(&mut self) -> Option<Instant> {
        loop {
            let output = self.fleet.poll(now(), &mut self.runtimes.registry());
            match output {
                FleetOutput::Ask(ticket, call) => {
                    let (runtimes, sender) = (self.runtimes.clone(), self.sender.clone());
                    thread::spawn(move || {
                        let (result, seen) = runtimes.drive_recognising(*call);
                        // The stream may be gone by now.
                        let _ = sender.send(FleetInput::Answered(ticket, result, seen));
                    });
                }
                FleetOutput::Update(update) => self.feed.apply(update),
                FleetOutput::Wait(until) => return until,
            }
        }
    }

    /// Waits for an answer, until an instant.
    fn wait(&mut self, until: Instant) {
        if let Ok(answer) = self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.fleet.handle(now(), &self.runtimes.registry(), answer);
        }
    }
}

impl Stream<FleetEvent> for DirectFleetStream {
    fn next_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent<FleetEvent>, Ended>> {
        loop {
            match self.client.poll(Instant::now()) {
                GatewayStreamOutput::Connect(connect) => self.connect(connect.id),
                // There is no connection that could be gone.
                GatewayStreamOutput::Ping(id) => {
                    self.client.handle(Instant::now(), GatewayStreamInput::Pong(id));
                }
                GatewayStreamOutput::Close(_) => self.session = None,
                GatewayStreamOutput::Event(event) => return Some(Ok(event)),
                GatewayStreamOutput::Stopped(result) => return Some(Err(result)),
                GatewayStreamOutput::Wait { until, .. } => {
                    let Some(due) = self.serve() else { continue };
                    if instant <= Instant::now() {
                        return None;
                    }
                    self.wait(until.min(due).min(instant));
                }
            }
        }
    }
}
