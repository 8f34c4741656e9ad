//! The loop of a command that keeps the list of all workers.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anstyle::Style;
use sekisho_core::browser_api::FleetChange;
use sekisho_core::gateway_client::{FleetEvent, FleetView, GatewayEvent, Problem};
use sekisho_transport_blocking::Ended;

use crate::backend::Backend;
use crate::failure::Failure;
use crate::streaming::Outage;

/// How many events may wait for the loop. While there are more, the stream is not read.
const MAX_EVENTS: usize = 256;

/// How often the thread that reads the stream looks at whether the command is over.
const CHECK_LOOP_EVERY: Duration = Duration::from_millis(500);

/// What happens on the stream, for what shows it.
pub(super) enum Moment {
    /// There is a state, for the first time or told anew; this was the one before.
    State(FleetView),
    /// Something has changed since.
    Change(FleetChange),
    /// A line about the stream.
    Note(Style, String),
    /// Nothing has happened for a moment.
    Quiet,
}

type Event = Result<GatewayEvent<FleetEvent>, Ended>;

/// Passes on what happens for as long as it is wanted, with the state as it is then, once there is one. A moment is so long.
pub(super) fn follow(
    backend: &Arc<dyn Backend>,
    moment: Duration,
    mut pass_on: impl FnMut(Option<&FleetView>, Moment) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let (sender, events) = mpsc::sync_channel(MAX_EVENTS);
    let backend = backend.clone();
    // A gateway that is being connected to, and does not answer, is not to keep keys from being heard.
    let reader = thread::spawn(move || read(&*backend, &sender));
    let (mut view, mut outage) = (None, Outage::default());
    loop {
        let moment = match next(&events, moment) {
            Next::Moment => Some(Moment::Quiet),
            Next::Panicked => return Err(panicked(reader)),
            Next::Event(Ok(GatewayEvent::Event(FleetEvent::Snapshot(state)))) => {
                Some(Moment::State(view.replace(state).unwrap_or_default()))
            }
            Next::Event(Ok(GatewayEvent::Event(FleetEvent::Change(change)))) => {
                let applied = view.get_or_insert_default().apply(change.clone());
                applied.map_err(|error| Box::new(Problem::from(error)))?;
                Some(Moment::Change(change))
            }
            Next::Event(Ok(event)) => {
                outage.note(Instant::now(), &event).map(|(style, note)| Moment::Note(style, note))
            }
            Next::Event(Err(Ok(()))) => return Ok(()),
            Next::Event(Err(Err(problem))) => return Err(problem.into()),
        };
        if let Some(moment) = moment
            && !pass_on(view.as_ref(), moment)?
        {
            return Ok(());
        }
    }
}

enum Next {
    Event(Event),
    Moment,
    Panicked,
}

fn next(events: &Receiver<Event>, moment: Duration) -> Next {
    match events.recv_timeout(moment) {
        Ok(event) => Next::Event(event),
        Err(RecvTimeoutError::Timeout) => Next::Moment,
        Err(RecvTimeoutError::Disconnected) => Next::Panicked,
    }
}

/// Reads the stream until its end, or until the loop is over.
fn read(backend: &dyn Backend, sender: &SyncSender<Event>) {
    let mut stream = backend.open_fleet_stream();
    loop {
        let event = stream.next_until(Instant::now() + CHECK_LOOP_EVERY);
        let is_last = matches!(event, Some(Err(_)));
        if event.is_some_and(|event| sender.send(event).is_err()) || is_last {
            return;
        }
    }
}

/// The thread went away without a last event: its panic goes on here.
fn panicked(reader: JoinHandle<()>) -> Failure {
    match reader.join() {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(()) => Box::new(Problem::unexpected_body()).into(),
    }
}
