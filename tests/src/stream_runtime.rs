//! A runtime that streams as deployed ones do, and breaks off, forgets and misbehaves as told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tungstenite::Message;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};

use crate::acceptor::Acceptor;
use crate::client::PATIENCE;
use crate::upstream::summary_response;

/// How far cursors of one event and the next are apart: they order nothing and skip.
const SKIP: u64 = 3;

/// Streams one worker, `w`, of the runtime `rt`. Its n-th event is `{"event":"text_delta","data":{"text":"n"}}`.
pub struct StreamRuntime {
    shared: Arc<Shared>,
    acceptor: Acceptor,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Everything that ever happened since the state was lost the last time.
    events: Vec<Event>,
    /// How many events before `events` are forgotten.
    forgotten: u64,
    /// How many of them are kept to be repeated.
    backlog: usize,
    /// Which connections are to go on.
    generation: u64,
    down: bool,
    open: usize,
    opened: usize,
    /// What each connection is sent before anything else, in place of a stream.
    poison: Option<Vec<u8>>,
}

#[derive(Clone)]
struct Event {
    cursor: String,
    payload: String,
}

impl State {
    fn head(&self) -> String {
        let number = self.forgotten + self.events.len() as u64;
        cursor(number)
    }
}

fn cursor(number: u64) -> String {
    format!("wo_{:016x}", number * SKIP + 1)
}

impl StreamRuntime {
    /// Starts it on a port of its own, keeping the last `backlog` events to be repeated.
    pub fn start(backlog: usize) -> Self {
        let state = Mutex::new(State { backlog, ..State::default() });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let serving = shared.clone();
        Self { shared, acceptor: Acceptor::start(move |stream| serving.serve(stream)) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// What stands in a gateway's configuration to reach it.
    pub fn configuration(&self) -> String {
        format!("[[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{}'\n", self.address())
    }

    /// Lets the next event happen.
    pub fn publish(&self) {
        let number = self.happened() + 1;
        self.publish_payload(&format!(r#"{{"event":"text_delta","data":{{"text":"{number}"}}}}"#));
    }

    /// Lets an event with this payload happen.
    pub fn publish_payload(&self, payload: &str) {
        let mut state = self.shared.state();
        let number = state.forgotten + state.events.len() as u64 + 1;
        state.events.push(Event { cursor: cursor(number), payload: payload.to_owned() });
        drop(state);
        self.shared.changed.notify_all();
    }

    /// How many events have happened.
    pub fn happened(&self) -> u64 {
        let state = self.shared.state();
        state.forgotten + state.events.len() as u64
    }

    /// How many streams are open, and how many have ever been opened.
    pub fn streams(&self) -> (usize, usize) {
        let state = self.shared.state();
        (state.open, state.opened)
    }

    /// Drops all streams, without a close frame.
    pub fn break_off(&self) {
        self.shared.state().generation += 1;
        self.shared.changed.notify_all();
    }

    /// Drops all streams and opens none, or opens them again.
    pub fn down(&self, down: bool) {
        self.shared.state().down = down;
        self.break_off();
    }

    /// Loses all that happened: places from before are not known any more.
    pub fn lose_state(&self) {
        let mut state = self.shared.state();
        state.forgotten += state.events.len() as u64 + 1000;
        state.events.clear();
        drop(state);
        self.break_off();
    }

    /// Sends each new connection these bytes after its upgrade, and nothing else.
    pub fn poison(&self, bytes: Option<Vec<u8>>) {
        self.shared.state().poison = bytes;
        self.break_off();
    }
}

impl Drop for StreamRuntime {
    fn drop(&mut self) {
        self.down(true);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        if self.state().down {
            return;
        }
        let raw = stream.try_clone().unwrap();
        while let Some(length) = question(&raw) {
            let response = summary_response("rt");
            let mut stream = &raw;
            // A client that is gone needs no answer.
            if stream.read_exact(&mut vec![0; length]).is_err()
                || stream.write_all(response.as_bytes()).is_err()
            {
                return;
            }
        }
        let mut query = BTreeMap::new();
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let examine = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            for pair in request.uri().query().unwrap_or_default().split('&') {
                let (name, value) = pair.split_once('=').unwrap_or_default();
                query.insert(name.to_owned(), value.replace("%5F", "_"));
            }
            Ok(response)
        };
        let Ok(mut socket) = tungstenite::accept_hdr(stream, examine) else { return };
        {
            let mut state = self.state();
            state.open += 1;
            state.opened += 1;
        }
        // What is left of a stream that was dropped is the client's business.
        let _ = self.stream(&mut socket, &raw, query.get("cursor").map(String::as_str));
        self.state().open -= 1;
        let _ = raw.shutdown(std::net::Shutdown::Both);
    }

    fn stream(
        &self,
        socket: &mut tungstenite::WebSocket<TcpStream>,
        mut raw: &TcpStream,
        asked: Option<&str>,
    ) -> tungstenite::Result<()> {
        let state = self.state();
        let generation = state.generation;
        if let Some(poison) = state.poison.clone() {
            drop(state);
            raw.write_all(&poison)?;
            let state = self.state();
            drop(self.changed.wait_while(state, |state| state.generation == generation).unwrap());
            return Ok(());
        }
        let from = state.events.len().saturating_sub(state.backlog);
        let known = |cursor: &str| match state.events.iter().rposition(|event| event.cursor == cursor) {
            Some(index) if index + 1 >= from => Some(index + 1),
            Some(_) => None,
            None => (from == 0 && self::cursor(state.forgotten) == cursor).then_some(0),
        };
        let start = match asked {
            None => Some(state.events.len()),
            Some(cursor) => known(cursor),
        };
        let at = asked.map_or_else(|| state.head(), str::to_owned);
        let happened = state.forgotten + state.events.len() as u64;
        drop(state);
        let snapshot = format!(r#"{{"event":"snapshot","data":{{"at":{happened}}}}}"#);
        send(socket, &at, &format!("snapshot:{at}"), &snapshot)?;
        let Some(mut next) = start else {
            let message = r#"{"kind":"diagnostic","diagnostic":{"code":"runtime.cursor_unknown_or_expired","message":"m"}}"#;
            return socket.send(Message::text(message));
        };
        loop {
            let state = self.state();
            let waited = self.changed.wait_timeout_while(state, Duration::from_millis(50), |state| {
                state.generation == generation && state.events.len() <= next
            });
            let (state, _) = waited.unwrap();
            if state.generation != generation {
                return Ok(());
            }
            let events: Vec<Event> = state.events[next..].to_vec();
            drop(state);
            for event in events {
                send(socket, &event.cursor, &event.cursor, &event.payload)?;
                next += 1;
            }
        }
    }
}

/// How long the next request is where it asks who is there. Leaves it to be read.
fn question(stream: &TcpStream) -> Option<usize> {
    let mut head = [0; 4096];
    loop {
        let count = stream.peek(&mut head).ok().filter(|count| *count > 0)?;
        let text = &head[..count];
        if !text.starts_with(b"GET /v1/runtime ") && count >= b"GET /v1/runtime ".len() {
            return None;
        }
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(end + 4);
        }
    }
}

fn send(
    socket: &mut tungstenite::WebSocket<TcpStream>,
    cursor: &str,
    event_id: &str,
    payload: &str,
) -> tungstenite::Result<()> {
    let envelope =
        format!(r#"{{"cursor":"{cursor}","event_id":"{event_id}","worker_id":"w","payload":{payload}}}"#);
    socket.send(Message::text(format!(r#"{{"kind":"event","envelope":{envelope}}}"#)))
}
