//! The stream of all workers without a server: what a server does for its viewers, for one.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sekisho_core::browser_api::{FleetFrame, Now};
use sekisho_core::error::Error;
use sekisho_core::fleet::{Fleet, FleetFeed, FleetInput, FleetOutput, FleetSession, FleetSessionOutput};
use sekisho_core::gateway_client::{GatewayEvent, Problem};
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::PROBE_EVERY;
use sekisho_core::viewer::ViewerInput;
use sekisho_transport_blocking::Ended;

use super::Runtimes;
use crate::backend::Stream;

/// What asks the runtimes, what keeps their answers, and the one who sees them.
pub(super) struct DirectFleetStream {
    runtimes: Arc<Runtimes>,
    fleet: Fleet,
    feed: FleetFeed,
    session: FleetSession,
    sender: Sender<FleetInput>,
    answers: Receiver<FleetInput>,
    probed: Instant,
}

impl DirectFleetStream {
    pub(super) fn new(runtimes: &Arc<Runtimes>) -> Result<Self, Error> {
        let now = now();
        let session = FleetSession::open(now.instant, &runtimes.streams)?;
        let mut fleet = Fleet::new(Arc::new(AllowAll));
        fleet.handle(now, &runtimes.registry(), FleetInput::Viewed);
        let (sender, answers) = mpsc::channel();
        let feed = FleetFeed::default();
        let runtimes = runtimes.clone();
        Ok(Self { runtimes, fleet, feed, session, sender, answers, probed: now.instant })
    }

    /// Does what the machine says. When it is to be asked again.
    fn serve(&mut self) -> Option<Instant> {
        if self.probed.elapsed() >= PROBE_EVERY {
            self.probed = Instant::now();
            self.runtimes.probe();
        }
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
}

impl Stream for DirectFleetStream {
    fn next_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent, Ended>> {
        loop {
            let due = self.serve();
            let until = match self.session.poll(Instant::now(), &self.feed) {
                FleetSessionOutput::Frame(item) => {
                    self.session.handle(Instant::now(), ViewerInput::Written);
                    let Some(frame) = FleetFrame::from_text(item.text()) else { continue };
                    return Some(Ok(GatewayEvent::Fleet(Box::new(frame))));
                }
                FleetSessionOutput::Ping => {
                    self.session.handle(Instant::now(), ViewerInput::Written);
                    // Where there is no wire, there is nothing to lose.
                    self.session.handle(Instant::now(), ViewerInput::Pong);
                    continue;
                }
                FleetSessionOutput::End(closing) => {
                    let problem = closing.map(|closing| Problem::from(closing.error()).into());
                    return Some(Err(problem.map_or(Ok(()), Err)));
                }
                FleetSessionOutput::Wait { until, .. } => until,
            };
            let now = Instant::now();
            if instant <= now {
                return None;
            }
            let until = due.map_or(until, |due| due.min(until)).min(instant).min(now + PROBE_EVERY);
            let wait = until.saturating_duration_since(now).max(Duration::from_millis(1));
            if let Ok(answer) = self.answers.recv_timeout(wait) {
                self.fleet.handle(self::now(), &self.runtimes.registry(), answer);
            }
        }
    }
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::now() }
}
