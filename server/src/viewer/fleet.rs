//! Viewers of all workers.

use std::rc::Rc;
use std::time::Instant;

use sekisho_core::error::Error;
use sekisho_core::fleet::{FleetFeed, FleetSession, FleetSessionOutput};
use sekisho_core::viewer::{ViewerInput, shutting_down};
use tokio::sync::watch;

use super::{Step, Timer, Viewer};
use crate::drain::Drain;
use crate::gateway::Gateway;

/// The session of a viewer of all workers and what it is driven with.
pub(super) struct FleetViewer {
    session: FleetSession,
    feed: watch::Receiver<FleetFeed>,
    drain: Drain,
    timer: Timer,
}

impl FleetViewer {
    pub(super) fn open(gateway: &Rc<Gateway>) -> Result<Self, Error> {
        let (session, feed) = gateway.open_fleet_viewer()?;
        Ok(Self { session, feed, drain: gateway.drain().clone(), timer: Timer::new() })
    }

    fn poll(&mut self) -> Option<Step> {
        // What comes from here on is seen the next time.
        let output = self.session.poll(Instant::now(), &self.feed.borrow_and_update());
        match output {
            FleetSessionOutput::Frame(item) => Some(Step::Frame(item)),
            FleetSessionOutput::Ping => Some(Step::Ping),
            FleetSessionOutput::End(closing) => Some(Step::End(closing)),
            FleetSessionOutput::Wait { until, .. } => {
                self.timer.set(until);
                None
            }
        }
    }
}

impl Viewer for FleetViewer {
    async fn next(&mut self) -> Step {
        loop {
            if let Some(step) = self.poll() {
                return step;
            }
            tokio::select! {
                changed = self.feed.changed() => if changed.is_err() {
                    // The loops are ending.
                    self.handle(ViewerInput::StreamEnded(shutting_down()));
                },
                () = self.timer.is_over() => {}
            }
        }
    }

    fn written(&mut self) -> Option<Step> {
        self.handle(ViewerInput::Written);
        self.poll()
    }

    fn handle(&mut self, input: ViewerInput) {
        self.session.handle(Instant::now(), input);
    }

    fn drain(&self) -> Drain {
        self.drain.clone()
    }
}
