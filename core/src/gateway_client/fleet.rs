//! The stream of all workers, read.
//!
//! A snapshot comes in several frames, and is passed on once it is complete. There are no cursors: each connection begins
//! with a snapshot, and [`FleetView::changes_since`] tells what it has that the state before had not.

mod attention;
mod view;

use bytes::Bytes;

use super::stream::GatewayEvent;
use super::subject::{Heard, Malformed, NO_FRAME, Subject};
use crate::browser_api::{FleetChange, FleetFrame};
use crate::fleet::changes::RuntimeState;

pub use attention::{Attention, LATELY};
pub use view::{FleetTooLarge, FleetView, MAX_FLEET_ENTRIES};

/// What happens to the fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FleetEvent {
    /// The state of everything: what was known before is to be thrown away.
    Snapshot(FleetView),
    /// Something is different from now on, for [`FleetView::apply`].
    Change(FleetChange),
}

/// All workers of all runtimes.
#[derive(Debug)]
pub struct TheFleet {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A snapshot is to come.
    Opened,
    /// So many runtimes of a snapshot are to come, and then the change after this one.
    Beginning { view: FleetView, missing: u64, position: u64 },
    /// The change after this one is to come, or another snapshot.
    Following { position: u64 },
}

const NOT_IN_ORDER: Malformed = Malformed("the frames of the stream are not in order");

impl TheFleet {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Opened }
    }

    /// Takes a frame. What there is to be passed on, if anything.
    fn frame(&mut self, frame: FleetFrame) -> Result<Option<GatewayEvent<FleetEvent>>, Malformed> {
        match frame {
            FleetFrame::Snapshot { position, runtimes } => {
                self.stage = Stage::Beginning { view: FleetView::default(), missing: runtimes, position };
                Ok(self.complete())
            }
            FleetFrame::Runtime { runtime, workers, requests } => {
                let Stage::Beginning { view, missing, .. } = &mut self.stage else {
                    return Err(NOT_IN_ORDER);
                };
                let is_new = !view.has(&runtime.runtime_id);
                *missing = missing.checked_sub(1).filter(|_| is_new).ok_or(NOT_IN_ORDER)?;
                view.insert(RuntimeState { runtime, workers, requests })?;
                Ok(self.complete())
            }
            FleetFrame::Change { position, change } => {
                self.advance(position)?;
                let is_known = change != FleetChange::Unknown;
                Ok(is_known.then_some(GatewayEvent::Event(FleetEvent::Change(change))))
            }
            FleetFrame::Diagnostic { diagnostic } => Ok(Some(GatewayEvent::Diagnostic(diagnostic))),
        }
    }

    /// The snapshot, once all of it is there.
    fn complete(&mut self) -> Option<GatewayEvent<FleetEvent>> {
        let Stage::Beginning { view, missing: 0, position } = &mut self.stage else { return None };
        let (view, position) = (std::mem::take(view), *position);
        self.stage = Stage::Following { position };
        Some(GatewayEvent::Event(FleetEvent::Snapshot(view)))
    }

    /// Takes the number of a change: each comes once, in order.
    fn advance(&mut self, position: u64) -> Result<(), Malformed> {
        match &mut self.stage {
            Stage::Following { position: last } if last.checked_add(1) == Some(position) => {
                *last = position;
                Ok(())
            }
            _ => Err(NOT_IN_ORDER),
        }
    }
}

impl Subject for TheFleet {
    type Event = FleetEvent;

    fn path(&self) -> String {
        "/api/workers/events/ws".into()
    }

    fn connecting(&mut self) {
        self.stage = Stage::Opened;
    }

    fn read(&mut self, frame: &Bytes) -> Result<Heard<FleetEvent>, Malformed> {
        let event = self.frame(FleetFrame::from_text(frame).ok_or(NO_FRAME)?)?;
        Ok(Heard { event, nothing_missed: false })
    }

    fn start_over(&mut self) {}
}

#[cfg(test)]
mod tests;
