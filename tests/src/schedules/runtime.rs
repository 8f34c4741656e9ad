//! The runtime of a schedule: one worker, and streams as deployed runtimes serve them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use http::Request;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Envelope, Frame, Observe, SNAPSHOT_PREFIX, StreamDiagnostic};
use sekisho_core::secret::REDACTED;
use sekisho_core::transport::Loss;
use serde_json::value::RawValue;

use super::{Corner, MAX_EVENT, TOKEN};

/// How many events the runtime can replay.
const BACKLOG: usize = 20;

/// How many frames the runtime keeps for a subscriber that does not read.
const SUBSCRIBER_BUFFER: usize = 24;

/// A place as the runtime itself knows it: which of its lives, and how many events into it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct At {
    pub(super) life: usize,
    pub(super) index: usize,
}

/// How the runtime answers a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answers {
    /// It serves the stream.
    Stream,
    /// Its process is not there.
    Nothing,
    /// A proxy answers in its place, with this status.
    Status(u16),
}

/// Where a stream ends that has hardly begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ailment {
    /// Before its snapshot.
    BeforeTheSnapshot,
    /// After it.
    AfterTheSnapshot,
}

/// What is on its way to the gateway.
pub(super) enum Wire {
    Opened,
    Snapshot(Bytes),
    Event(Bytes),
    /// A diagnostic after which the connection is dropped.
    Fault(Bytes),
    Pong,
    Refused(u16),
    Unreachable,
    Gone(Loss),
}

/// A connection to the runtime.
pub(super) struct Connection {
    pub(super) wire: VecDeque<Wire>,
    /// Whether the runtime still writes to it.
    pub(super) served: bool,
}

/// A deployed runtime with a single worker.
pub(super) struct Runtime {
    worker: WorkerRef,
    pub(super) answers: Answers,
    /// The cursors of each of its lives; the first of each is where that life began.
    lives: Vec<Vec<String>>,
    places: BTreeMap<String, At>,
    number: u64,
    pub(super) connections: BTreeMap<u32, Connection>,
    connected: u32,
    /// How many events the next resumed stream repeats.
    pub(super) repeats: usize,
    /// How many of the next streams it cannot keep up.
    pub(super) ailing: (usize, Ailment),
    /// Whether it has ever broken the rules of v1: from then on nothing that it says can be relied on.
    pub(super) is_foul: bool,
    /// What the schedule has brought about.
    pub(super) corners: BTreeSet<Corner>,
}

impl Runtime {
    pub(super) fn new(worker: WorkerRef) -> Self {
        let mut runtime = Self {
            worker,
            answers: Answers::Stream,
            lives: Vec::new(),
            places: BTreeMap::new(),
            number: 0,
            connections: BTreeMap::new(),
            connected: 0,
            repeats: 0,
            ailing: (0, Ailment::BeforeTheSnapshot),
            is_foul: false,
            corners: BTreeSet::new(),
        };
        runtime.begin_life();
        runtime
    }

    pub(super) fn head(&self) -> At {
        let life = self.lives.len() - 1;
        At { life, index: self.lives[life].len() - 1 }
    }

    /// Where a cursor is, if it is one of this runtime's.
    pub(super) fn locate(&self, cursor: &str) -> Option<At> {
        self.places.get(cursor).copied()
    }

    fn cursor(&self, at: At) -> &str {
        &self.lives[at.life][at.index]
    }

    /// Whether everything after it can still be replayed.
    pub(super) fn has(&self, at: At) -> bool {
        let head = self.head();
        at.life == head.life && head.index - at.index <= BACKLOG
    }

    pub(super) fn begin_life(&mut self) {
        self.lives.push(Vec::new());
        self.add_cursor();
    }

    /// Numbers skip, and are not in order: relying on either is found out.
    fn add_cursor(&mut self) {
        self.number += 1 + self.number % 3;
        let cursor = format!("wo_{:016x}", self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let life = self.lives.len() - 1;
        self.lives[life].push(cursor.clone());
        self.places.insert(cursor, self.head());
    }

    pub(super) fn publish(&mut self) {
        self.add_cursor();
        let text = self.event(self.head());
        for connection in self.connections.values_mut().filter(|connection| connection.served) {
            if connection.wire.len() < SUBSCRIBER_BUFFER {
                connection.wire.push_back(Wire::Event(text.clone()));
            } else {
                connection.fault("cursor_expired");
            }
        }
    }

    /// What happened there, as the runtime writes it: now and then with a secret in it, or too large for viewers.
    fn payload(at: At) -> String {
        let secret = if at.index % 5 == 3 { TOKEN } else { "" };
        let text = "x".repeat((at.index * 67 + at.life) % 150);
        format!(r#"{{"event":"text_delta","data":{{"text":"{} {} {secret} {text}"}}}}"#, at.life, at.index)
    }

    /// The same as viewers are shown it.
    pub(super) fn shown(at: At) -> String {
        let payload = Self::payload(at).replace(TOKEN, REDACTED);
        match payload.len() {
            bytes if bytes > MAX_EVENT => {
                format!(r#"{{"event":"sekisho.event_too_large","data":{{"bytes":{bytes}}}}}"#)
            }
            _ => payload,
        }
    }

    fn event(&self, at: At) -> Bytes {
        let cursor = self.cursor(at);
        self.frame(cursor, cursor, &Self::payload(at))
    }

    fn snapshot(&self, at: At) -> Bytes {
        let cursor = self.cursor(at);
        let payload = format!(r#"{{"event":"snapshot","data":{{"entries":{}}}}}"#, at.index);
        self.frame(&format!("{SNAPSHOT_PREFIX}{cursor}"), cursor, &payload)
    }

    fn frame(&self, event_id: &str, cursor: &str, payload: &str) -> Bytes {
        let payload: Box<RawValue> = serde_json::from_str(payload).unwrap();
        let worker_id = self.worker.worker_id.as_str().into();
        Frame::Event(Envelope {
            cursor: cursor.into(),
            event_id: event_id.into(),
            worker_id,
            payload: &payload,
        })
        .into_text()
    }

    pub(super) fn connect(&mut self, request: &Request<()>) -> u32 {
        let observe = Observe::from_request(request).expect("a stream").expect("a good request");
        assert_eq!(observe.worker_id, self.worker.worker_id);
        assert_eq!(request.headers()["authorization"], format!("Bearer {TOKEN}"));
        let mut connection = Connection { wire: VecDeque::new(), served: true };
        match self.answers {
            Answers::Nothing => connection.end(Wire::Unreachable),
            Answers::Status(status) => connection.end(Wire::Refused(status)),
            Answers::Stream => {
                connection.wire.push_back(Wire::Opened);
                let (ailing, ailment) = self.ailing;
                self.ailing.0 = ailing.saturating_sub(1);
                if ailing > 0 && ailment == Ailment::BeforeTheSnapshot {
                    connection.fault("unavailable");
                }
                if connection.served {
                    self.begin_stream(&mut connection, observe.cursor.as_deref());
                }
                if ailing > 0 {
                    connection.wire.truncate(2);
                    connection.fault("serialize_failed");
                }
            }
        }
        self.connected += 1;
        self.connections.insert(self.connected, connection);
        self.connected
    }

    fn begin_stream(&mut self, connection: &mut Connection, cursor: Option<&str>) {
        let head = self.head();
        let from = cursor.and_then(|cursor| self.locate(cursor));
        let Some(from) = from else {
            assert!(cursor.is_none() || self.is_foul, "the gateway made up a cursor");
            connection.wire.push_back(Wire::Snapshot(self.snapshot(head)));
            if std::mem::take(&mut self.repeats) > 0 && head.index > 0 {
                connection.wire.push_back(Wire::Event(self.event(head)));
            }
            return;
        };
        connection.wire.push_back(Wire::Snapshot(self.snapshot(from)));
        if !self.has(from) {
            return connection.fault("cursor_unknown_or_expired");
        }
        let events = |first| (first..=head.index).map(|index| At { index, ..from });
        connection.wire.extend(events(from.index + 1).map(|at| Wire::Event(self.event(at))));
        // A runtime that subscribes before it reads the backlog sends the end of it twice.
        let first_again = (from.index + 1).max((head.index + 1).saturating_sub(self.repeats));
        connection.wire.extend(events(first_again).map(|at| Wire::Event(self.event(at))));
        if std::mem::take(&mut self.repeats) > 0 && first_again <= head.index {
            self.corners.insert(Corner::Doubled);
        }
    }

    pub(super) fn close(&mut self, answers: Answers) {
        self.answers = answers;
        self.connections.values_mut().for_each(|connection| connection.end(Wire::Gone(Loss::Ended)));
    }

    /// Says something that v1 does not allow there, on all streams.
    pub(super) fn break_a_rule(&mut self, which: u8) {
        self.is_foul = true;
        let head = self.head();
        let wire = || match which % 8 {
            0 => Wire::Event(Bytes::from_static(b"{")),
            1 => Wire::Event(self.frame("e", &format!("c{which}"), "1")),
            2 => Wire::Event(self.snapshot(head)),
            3 => Wire::Gone(Loss::Malformed),
            4 => Wire::Gone(Loss::TooLarge),
            5 => Wire::Opened,
            6 => Wire::Refused(401),
            _ => Wire::Fault(diagnostic("worker_not_found")),
        };
        let wires: Vec<_> = self.connections.values().map(|_| wire()).collect();
        for (connection, wire) in self.connections.values_mut().zip(wires) {
            match wire {
                Wire::Gone(_) | Wire::Refused(_) => connection.end(wire),
                other if connection.served => connection.wire.push_back(other),
                _ => {}
            }
        }
    }
}

impl Connection {
    pub(super) fn fault(&mut self, code: &str) {
        if self.served {
            self.wire.push_back(Wire::Fault(diagnostic(code)));
            self.end(Wire::Gone(Loss::Ended));
        }
    }

    pub(super) fn end(&mut self, with: Wire) {
        if std::mem::take(&mut self.served) {
            self.wire.push_back(with);
        }
    }
}

fn diagnostic(code: &str) -> Bytes {
    let code = format!("runtime.{code}").into();
    Frame::Diagnostic(StreamDiagnostic { code, message: "m".into() }).into_text()
}
