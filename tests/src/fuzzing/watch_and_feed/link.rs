//! The loop around one watch of a schedule.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use sekisho_core::error::{Error, NetworkPhase};
use sekisho_core::transport::{ConnId, FailureCause, Loss};
use sekisho_core::watch::{Watch, WatchEvent, WatchInput, WatchOutput};

use super::runtime::{Runtime, Wire};

/// The most that a watch may say before it waits.
const MAX_OUTPUTS: usize = 7;

/// A watch and its connection.
pub(super) struct Link {
    watch: Watch,
    pub(super) connection: Option<(ConnId, VecDeque<Wire>)>,
    pub(super) stopped: bool,
}

impl Link {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, connection: None, stopped: false }
    }

    /// Obeys until the watch waits or has stopped.
    pub(super) fn drain(&mut self, now: Instant, runtime: &Runtime) -> (Vec<WatchEvent>, Option<Error>) {
        let mut events = Vec::new();
        for _ in 0..=MAX_OUTPUTS {
            if self.stopped {
                return (events, None);
            }
            match self.watch.poll(now) {
                WatchOutput::Connect(connect) => {
                    let wire = match runtime.away {
                        true => VecDeque::from([Wire::Lost(unreachable())]),
                        false => runtime.accept(&connect.request),
                    };
                    assert!(self.connection.replace((connect.id, wire)).is_none(), "two connections at once");
                }
                WatchOutput::Ping(id) => self.wire(id).push_back(Wire::Pong),
                WatchOutput::Close(id) => {
                    self.wire(id);
                    self.connection = None;
                }
                WatchOutput::RefreshCredential => self.watch.handle(now, WatchInput::Credential(None)),
                WatchOutput::Event(event) => events.push(event),
                WatchOutput::Wait { until, why } => {
                    assert!(until > now, "it waits for what is past: {why:?}");
                    return (events, None);
                }
                WatchOutput::Stopped(result) => {
                    assert!(self.connection.is_none(), "it stopped with a connection open");
                    self.stopped = true;
                    return (events, result.err());
                }
            }
        }
        panic!("it goes on and on");
    }

    /// The wire of the connection that is open.
    pub(super) fn wire(&mut self, id: ConnId) -> &mut VecDeque<Wire> {
        let (open, wire) = self.connection.as_mut().unwrap();
        assert_eq!(*open, id);
        wire
    }

    /// Lets one thing arrive. Whether there was any.
    pub(super) fn deliver(&mut self, now: Instant) -> bool {
        let Some((id, wire)) = &mut self.connection else { return false };
        let (id, Some(arrived)) = (*id, wire.pop_front()) else { return false };
        let input = match arrived {
            Wire::Opened => WatchInput::Opened(id),
            Wire::Text(text) => WatchInput::Frame(id, text),
            Wire::Pong => WatchInput::Pong(id),
            Wire::Refused(status) => {
                self.connection = None;
                let response = Response::builder().status(status).body(Bytes::new()).unwrap();
                WatchInput::Refused(id, response)
            }
            Wire::Lost(loss) => {
                self.connection = None;
                WatchInput::Lost(id, loss)
            }
        };
        self.watch.handle(now, input);
        true
    }

    /// What the runtime writes to those who are connected.
    pub(super) fn push(&mut self, wire: Wire) {
        if let Some((_, queue)) = &mut self.connection
            && !queue.iter().any(|wire| matches!(wire, Wire::Lost(_) | Wire::Refused(_)))
        {
            queue.push_back(wire);
        }
    }

    /// What it says in the place of all that is on its way.
    pub(super) fn push_instead(&mut self, wire: Wire) {
        if let Some((_, queue)) = &mut self.connection {
            *queue = VecDeque::from([wire]);
        }
    }
}

fn unreachable() -> Loss {
    Loss::Failed(FailureCause::Network(NetworkPhase::Connect))
}
