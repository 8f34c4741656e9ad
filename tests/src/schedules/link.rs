//! The loop around a watch of a schedule.

use std::time::Instant;

use bytes::Bytes;
use http::Response;
use sekisho_core::cursor::UpstreamCursor;
use sekisho_core::error::{Error, ErrorKind, NetworkPhase};
use sekisho_core::transport::{ConnId, FailureCause, Loss};
use sekisho_core::watch::{
    GIVE_UP_AFTER, LONGEST_BACKOFF, MAX_STALLS, Watch, WatchEvent, WatchInput, WatchOutput,
};

use super::Corner;
use super::runtime::{Connection, Runtime, Wire};
use crate::upstream::runtime_summary;

/// The most that a watch may say before it waits: after one input, or at its time.
const MAX_OUTPUTS: usize = 8;

/// A watch and its connection.
pub(super) struct Link {
    watch: Watch,
    connection: Option<(ConnId, u32)>,
    /// Whether the present connection has begun well.
    begun: bool,
    /// How often streams that had begun well ended with a fault since the last event.
    stalls: u32,
    /// Whether it has said that the runtime is away.
    away: bool,
    /// The last place it had.
    place: Option<UpstreamCursor>,
    /// Since when it may be trying in vain.
    good_at: Instant,
    pub(super) until: Instant,
    stopped: bool,
}

/// What a watch says before it waits.
#[derive(Default)]
pub(super) struct Said {
    pub(super) events: Vec<WatchEvent>,
    pub(super) stopped: Option<Result<(), Error>>,
}

impl Link {
    pub(super) fn new(now: Instant, watch: Watch) -> Self {
        let place = watch.upstream_cursor().cloned();
        Self {
            watch,
            connection: None,
            begun: false,
            stalls: 0,
            away: false,
            place,
            good_at: now,
            until: now,
            stopped: false,
        }
    }

    /// Obeys until the watch waits.
    pub(super) fn drain(&mut self, now: Instant, runtime: &mut Runtime) -> Said {
        let mut said = Said::default();
        for _ in 0..=MAX_OUTPUTS {
            if self.stopped {
                return said;
            }
            let place = self.watch.upstream_cursor().cloned();
            match self.watch.poll(now) {
                WatchOutput::Send(question) => {
                    let answer = Response::new(runtime_summary("rt").into());
                    self.watch.handle(now, WatchInput::Response(question.id, answer));
                }
                WatchOutput::Connect(connect) => {
                    assert!(self.connection.is_none(), "one connection at a time");
                    self.begun = false;
                    self.connection = Some((connect.id, runtime.connect(&connect.request)));
                    assert_eq!(connect.request.uri().query().is_some(), place.is_some());
                }
                WatchOutput::Ping(id) => {
                    let connection = self.connected(id, runtime);
                    if connection.served {
                        connection.wire.push_back(Wire::Pong);
                    }
                }
                WatchOutput::Close(id) => {
                    self.connected(id, runtime);
                    self.disconnect(runtime);
                }
                WatchOutput::RefreshCredential => {
                    assert!(runtime.is_foul, "no credential was refused");
                    self.watch.handle(now, WatchInput::Credential(None));
                }
                WatchOutput::Event(event) => {
                    self.check_event(now, &event, runtime);
                    said.events.push(event);
                }
                WatchOutput::Wait { until, why } => {
                    assert!(until > now, "it is waiting for what is past: {why:?}");
                    self.until = until;
                    return said;
                }
                WatchOutput::Stopped(result) => {
                    assert!(self.connection.is_none(), "it stopped with a connection open");
                    self.stopped = true;
                    if let Err(error) = &result {
                        self.check_stop(now, error, runtime);
                    }
                    said.stopped = Some(result);
                    return said;
                }
            }
        }
        panic!("it goes on and on");
    }

    fn check_event(&mut self, now: Instant, event: &WatchEvent, runtime: &mut Runtime) {
        match event {
            WatchEvent::Event(observed) | WatchEvent::Snapshot(observed) => {
                assert!(!self.away, "the runtime is away, and speaks");
                self.stalls = 0;
                self.place = Some(observed.upstream_cursor.clone());
            }
            WatchEvent::Resynchronized => {
                assert!(self.has_lost_its_place(runtime), "what was lost can be replayed");
                self.away = false;
            }
            WatchEvent::Resumed { .. } => {
                assert!(std::mem::take(&mut self.away), "resumed what was not away")
            }
            WatchEvent::Disconnected { .. } => {
                assert!(!std::mem::replace(&mut self.away, true), "away twice");
            }
            _ => {}
        }
        if !matches!(event, WatchEvent::Disconnected { .. }) {
            self.good_at = now;
        }
    }

    fn check_stop(&self, now: Instant, error: &Error, runtime: &mut Runtime) {
        match error.kind() {
            _ if runtime.is_foul => {}
            ErrorKind::CursorExpired => {
                assert!(self.has_lost_its_place(runtime), "what has expired can be replayed");
            }
            ErrorKind::Network(_)
            | ErrorKind::RuntimeTimeout(_)
            | ErrorKind::RuntimeBusy
            | ErrorKind::RuntimeError => {
                assert!(now - self.good_at >= GIVE_UP_AFTER - LONGEST_BACKOFF, "it gave up early");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Whether it may say so: the runtime no longer has the place, or ends every stream from there.
    fn has_lost_its_place(&self, runtime: &mut Runtime) -> bool {
        if runtime.is_foul {
            return true;
        }
        let at = self.place.as_ref().and_then(|place| runtime.locate(place.as_str()));
        if at.is_some_and(|at| runtime.has(at)) && self.stalls >= MAX_STALLS {
            runtime.corners.insert(Corner::PlaceGivenUp);
            return true;
        }
        at.is_some_and(|at| !runtime.has(at))
    }

    fn connected<'a>(&self, id: ConnId, runtime: &'a mut Runtime) -> &'a mut Connection {
        match self.connection {
            Some((present, number)) if present == id => {
                runtime.connections.get_mut(&number).expect("it is open")
            }
            _ => panic!("it speaks of a connection that there is not"),
        }
    }

    fn disconnect(&mut self, runtime: &mut Runtime) {
        if let Some((_, number)) = self.connection.take() {
            runtime.connections.remove(&number);
        }
    }

    /// Lets the next thing on the wire arrive. Whether there was any, but for pongs, which never end.
    pub(super) fn deliver(&mut self, now: Instant, runtime: &mut Runtime) -> bool {
        let Some((id, number)) = self.connection else { return false };
        let wire = runtime.connections.get_mut(&number).and_then(|connection| connection.wire.pop_front());
        let Some(wire) = wire else { return false };
        let input = match wire {
            Wire::Opened => WatchInput::Opened(id),
            Wire::Snapshot(text) => {
                self.begun = true;
                WatchInput::Frame(id, text)
            }
            Wire::Event(text) => WatchInput::Frame(id, text),
            Wire::Fault(text) => {
                self.stalls += u32::from(self.begun);
                WatchInput::Frame(id, text)
            }
            Wire::Pong => WatchInput::Pong(id),
            Wire::Refused(status) => {
                self.disconnect(runtime);
                let response = Response::builder().status(status).body(Bytes::new()).unwrap();
                WatchInput::Refused(id, response)
            }
            Wire::Unreachable => {
                self.disconnect(runtime);
                WatchInput::Lost(id, Loss::Failed(FailureCause::Network(NetworkPhase::Connect)))
            }
            Wire::Gone(loss) => {
                self.disconnect(runtime);
                WatchInput::Lost(id, loss)
            }
        };
        let moved = !matches!(input, WatchInput::Pong(_));
        self.watch.handle(now, input);
        moved
    }

    /// Ends the watch in good order.
    pub(super) fn stop(&mut self, now: Instant, runtime: &mut Runtime) {
        if self.stopped {
            return;
        }
        self.watch.handle(now, WatchInput::Stop);
        assert_eq!(self.drain(now, runtime).stopped, Some(Ok(())));
    }
}
