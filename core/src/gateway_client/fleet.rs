//! The stream of all workers, read.
//!
//! A snapshot comes in several frames, and is passed on once it is complete. There are no cursors: each connection begins
//! with a snapshot, and [`FleetView::changes_since`] tells what it has that the state before had not.
//!
//! ```
//! use std::time::{Instant, SystemTime};
//!
//! use sekisho_core::gateway_client::{
//!     Attention, FleetEvent, FleetView, Gateway, GatewayEvent, GatewayStreamInput, GatewayStreamOutput,
//! };
//!
//! let gateway = Gateway::new("https://gate.example".parse()?, None);
//! let now = Instant::now();
//! let mut stream = gateway.open_fleet_stream(now, 1);
//! // The frames of this example are at hand: a gateway with one runtime, which is then no longer configured.
//! let mut frames = vec![
//!     r#"{"kind":"snapshot","position":7,"runtimes":1}"#,
//!     r#"{"kind":"runtime","runtime":{"runtime_id":"box","display_name":"Box","kind":"remote_worker_runtime",
//!         "reachability":"reachable"},"workers":[],"requests":[]}"#,
//!     r#"{"kind":"change","position":8,"change":{"event":"runtime_gone","runtime_id":"box"}}"#,
//! ]
//! .into_iter();
//! let (mut open, mut view, mut seen) = (None, FleetView::default(), Vec::new());
//! loop {
//!     match stream.poll(now) {
//!         GatewayStreamOutput::Connect(connect) => {
//!             open = Some(connect.id);
//!             stream.handle(now, GatewayStreamInput::Opened(connect.id));
//!         }
//!         GatewayStreamOutput::Event(GatewayEvent::Event(event)) => {
//!             match event {
//!                 FleetEvent::Snapshot(state) => view = state,
//!                 FleetEvent::Change(change) => view.apply(change)?,
//!                 _ => {}
//!             }
//!             seen.push(view.runtimes().count());
//!         }
//!         GatewayStreamOutput::Wait { .. } => match (open, frames.next()) {
//!             (Some(id), Some(frame)) => stream.handle(now, GatewayStreamInput::Frame(id, frame.into())),
//!             _ => stream.handle(now, GatewayStreamInput::Stop),
//!         },
//!         GatewayStreamOutput::Stopped(end) => break assert_eq!(end, Ok(())),
//!         _ => {}
//!     }
//! }
//! assert_eq!(seen, [1, 0]);
//! let asking = view.by_attention(SystemTime::now());
//! assert!(!asking.iter().any(|(_, attention)| *attention == Attention::Asks));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attention;
mod view;

use std::time::Duration;

use bytes::Bytes;

use super::stream::GatewayEvent;
use super::subject::{Heard, Malformed, NO_FRAME, Subject};
use crate::browser_api::{FleetChange, FleetFrame};
use crate::fleet::changes::RuntimeState;

pub use attention::{Attention, LATELY};
pub use view::{FleetTooLarge, FleetView, MAX_FLEET_ENTRIES};

/// How long a client that wants the state alone waits for it. A gateway waits for its runtimes for less.
pub const FIRST_STATE_WITHIN: Duration = Duration::from_secs(60);

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
