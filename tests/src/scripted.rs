//! A runtime that does with each connection what a scenario says, and notes what it hears.

mod certificates;
mod wire;

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tungstenite::handshake::derive_accept_key;

use crate::client::PATIENCE;
use crate::ports;
use crate::scenarios::calls::Asked;
use crate::scenarios::{Answer, Framing, Step, Way};
use crate::upstream::runtime_summary;
use certificates::CERTIFICATES;
use wire::{Stream, Wire};

pub use certificates::trust;

/// How long it takes a client to read what was sent to it.
const PAUSE: Duration = Duration::from_millis(30);

/// How much the kernel takes in for a runtime that does not read, in bytes: far less than a big request has.
const RECEIVE_BUFFER: usize = 16 << 10;

/// How much is in a segment of TCP, in bytes.
const SEGMENT: u32 = 1024;

/// How often the listener looks for a connection.
const TICK: Duration = Duration::from_millis(2);

/// What came on one connection: requests and frames.
pub type Heard = Vec<Message>;

/// A request or frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The lines of a request's head in the order of the alphabet, names in lower case, without what is another one
    /// each time; or what kind of frame it is.
    pub head: Vec<String>,
    /// The body, or what the frame holds.
    pub body: Vec<u8>,
}

/// Listens until it is [finished](Scripted::finish).
pub struct Scripted {
    /// What a base URL to it is.
    pub base_url: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<Vec<JoinHandle<Heard>>>>,
    /// What keeps the place as it should be.
    kept: Vec<Box<dyn Send>>,
}

struct Shared {
    /// To answer with.
    asked: Asked,
    connections: Vec<Vec<Step>>,
    tls: Option<Arc<ServerConfig>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    over: bool,
    /// How many connections have something to do without being asked.
    busy: usize,
}

impl Scripted {
    /// Is there, or is not there, in the way of `way`, for somebody who asks `asked`.
    pub fn start(way: Way, asked: Asked, connections: Vec<Vec<Step>>) -> Self {
        let tls = match way {
            Way::Tls | Way::Misnamed => Some(CERTIFICATES.trusted.clone()),
            Way::Untrusted => Some(CERTIFICATES.untrusted.clone()),
            _ => None,
        };
        let shared = Shared { asked, connections, tls, state: Mutex::default(), changed: Condvar::new() };
        let mut scripted =
            Self { base_url: String::new(), shared: Arc::new(shared), accepting: None, kept: Vec::new() };
        match way {
            // A label of more than 63 characters is refused before anybody is asked (RFC 1035, 2.3.4).
            Way::Unresolved => scripted.base_url = format!("http://{}.invalid", "x".repeat(64)),
            Way::Refused => {
                let address = ports::refusing();
                scripted.base_url = format!("http://{address}");
            }
            Way::Full => scripted.fill(),
            Way::NoSocket => drop(scripted.socket()),
            Way::FullSocket => scripted.fill_socket(),
            Way::Unix => scripted.listen_at_socket(),
            Way::Tcp | Way::Tls | Way::Untrusted | Way::Misnamed | Way::Plaintext => scripted.listen(way),
        }
        scripted
    }

    fn listen(&mut self, way: Way) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Connections inherit both; how much a client's kernel takes in follows from the latter.
        SockRef::from(&listener).set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        SockRef::from(&listener).set_tcp_mss(SEGMENT).unwrap();
        let port = listener.local_addr().unwrap().port();
        self.base_url = match way {
            Way::Tcp => format!("http://127.0.0.1:{port}"),
            Way::Misnamed => format!("https://127.0.0.1:{port}"),
            _ => format!("https://localhost:{port}"),
        };
        listener.set_nonblocking(true).unwrap();
        self.accept(move || listener.accept().map(|(stream, _)| Wire::Tcp(stream)));
    }

    fn listen_at_socket(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.accept(move || listener.accept().map(|(stream, _)| Wire::Unix(stream)));
    }

    /// A path for a socket, and the base URL that goes with it.
    fn socket(&mut self) -> PathBuf {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        self.base_url = format!("unix://{}", path.display());
        self.kept.push(Box::new(directory));
        path
    }

    fn fill(&mut self) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        // When the backlog is full, the kernel answers no further connection.
        loop {
            let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let connected = waiting.connect_timeout(&address, Duration::from_millis(200));
            self.kept.push(Box::new(waiting));
            if connected.is_err() {
                break;
            }
        }
        self.base_url = format!("http://{}", address.as_socket().unwrap());
        self.kept.push(Box::new(listener));
    }

    fn fill_socket(&mut self) {
        let address = SockAddr::unix(self.socket()).unwrap();
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        loop {
            let waiting = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            waiting.set_nonblocking(true).unwrap();
            let connected = waiting.connect(&address);
            self.kept.push(Box::new(waiting));
            if connected.is_err() {
                break;
            }
        }
        self.kept.push(Box::new(listener));
    }

    fn accept(&mut self, accept: impl Fn() -> io::Result<Wire> + Send + 'static) {
        let shared = self.shared.clone();
        self.accepting = Some(thread::spawn(move || {
            let mut serving = Vec::new();
            loop {
                // Looked at first, so that every connection from before is seen.
                let over = shared.state().over;
                match accept() {
                    Ok(wire) => {
                        shared.state().busy += 1;
                        let (shared, number) = (shared.clone(), serving.len());
                        serving.push(thread::spawn(move || shared.serve(wire, number)));
                    }
                    Err(_) if over => return serving,
                    Err(_) => thread::sleep(TICK),
                }
            }
        }));
    }

    /// Waits until it has nothing to do without being asked.
    pub fn settle(&self) {
        let state = self.shared.state();
        let (state, _) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| state.busy > 0).unwrap();
        assert_eq!(state.busy, 0, "it does not come to rest");
    }

    /// What came on each connection. To be called when no client is left.
    pub fn finish(mut self) -> Vec<Heard> {
        self.shared.state().over = true;
        self.shared.changed.notify_all();
        let serving = self.accepting.take().map(|accepting| accepting.join().unwrap()).unwrap_or_default();
        serving.into_iter().map(|connection| connection.join().unwrap()).collect()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Is at rest meanwhile.
    fn resting<T>(&self, rest: impl FnOnce() -> T) -> T {
        self.state().busy -= 1;
        self.changed.notify_all();
        let rested = rest();
        self.state().busy += 1;
        rested
    }

    fn serve(&self, wire: Wire, number: usize) -> Heard {
        let mut heard = Heard::new();
        let steps = &self.connections[number.min(self.connections.len() - 1)];
        let raw = wire.try_clone().unwrap();
        raw.prepare();
        let served = match self.tls.clone() {
            None => self.obey(steps, wire, &raw, &mut heard),
            Some(tls) => {
                let session = ServerConnection::new(tls).unwrap();
                let mut stream = StreamOwned::new(session, wire);
                match stream.conn.complete_io(&mut stream.sock) {
                    Ok(_) => self.obey(steps, stream, &raw, &mut heard),
                    Err(error) => Err(error),
                }
            }
        };
        // A client that goes away is what some scenarios are about.
        drop(served);
        raw.shutdown();
        drop(raw);
        self.state().busy -= 1;
        self.changed.notify_all();
        heard
    }

    fn obey(&self, steps: &[Step], mut stream: impl Stream, raw: &Wire, heard: &mut Heard) -> io::Result<()> {
        let mut key = String::new();
        for step in steps {
            match step {
                Step::Hear | Step::HearHead => {
                    let (mut message, length, asked_key) = loop {
                        let heard_now = self.resting(|| hear(&mut stream))?;
                        if !heard_now.0.is_question() {
                            break heard_now;
                        }
                        // Who is there is answered by itself: what a scenario is about follows.
                        heard.push(heard_now.0);
                        stream.write_all(&right_runtime())?;
                    };
                    if matches!(step, Step::Hear) {
                        message.body = vec![0; length];
                        self.resting(|| stream.read_exact(&mut message.body))?;
                    }
                    key = asked_key;
                    heard.push(message);
                }
                Step::HearFrame => heard.push(self.resting(|| hear_frame(&mut stream))?),
                Step::Answer(answer) => stream.write_all(&answer.response(self.asked))?,
                Step::Say(bytes) => stream.write_all(bytes)?,
                Step::Accept(bytes) => {
                    let accept = derive_accept_key(key.as_bytes());
                    let head = format!(
                        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-accept: {accept}\r\n\r\n"
                    );
                    stream.write_all(&[head.as_bytes(), bytes].concat())?;
                }
                Step::Pause => {
                    stream.flush()?;
                    thread::sleep(PAUSE);
                }
                Step::EndSession => stream.end_session()?,
                Step::Stall => {
                    stream.flush()?;
                    self.resting(|| {
                        let state = self.state();
                        drop(self.changed.wait_while(state, |state| !state.over).unwrap());
                    });
                }
                // Closing with nothing left to linger makes the kernel send a reset.
                Step::Reset => raw.reset(),
            }
        }
        stream.flush()
    }
}

impl Message {
    /// Whether it asks who is there.
    fn is_question(&self) -> bool {
        self.head.iter().any(|line| line == "GET /v1/runtime HTTP/1.1")
    }
}

/// What the runtime `rt` answers who is there.
fn right_runtime() -> Vec<u8> {
    let body = runtime_summary("rt");
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl Answer {
    /// The response that a command hopes for.
    fn response(self, asked: Asked) -> Vec<u8> {
        let worker_ref = format!(r#"{{"runtime_id":"rt","worker_id":"{}"}}"#, self.worker_id);
        let mut body = match asked {
            Asked::Read => format!(
                r#"{{"worker":{{"worker_ref":{worker_ref},"runtime_id":"rt","worker_id":"{}","status":"running","intent":{{"kind":"assistant"}},"profile":{{"kind":"runtime_default"}},"transcript_len":0,"last_event_id":2}}}}"#,
                self.worker_id
            ),
            Asked::Stop => {
                format!(r#"{{"ack":{{"worker_ref":{worker_ref},"status":"stopped","event_id":8}}}}"#)
            }
            Asked::Keyed | Asked::Change => format!(
                r#"{{"ack":{{"worker_ref":{worker_ref},"status":"running","transcript_sequence":1,"event_id":8}}}}"#
            ),
        };
        if let Some(length) = self.length {
            body.extend(std::iter::repeat_n(' ', length - body.len()));
        }
        let (head, tail) = body.split_at(body.len() / 2);
        let begun = self.head;
        match self.framing {
            Framing::Length => format!("{begun}content-length: {}\r\n\r\n{body}", body.len()),
            Framing::Close => format!("{begun}\r\n{body}"),
            Framing::Chunks => format!(
                "{begun}transfer-encoding: chunked\r\n\r\n{:x}\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n",
                head.len(),
                tail.len()
            ),
        }
        .into_bytes()
    }
}

/// Reads the head of a request: what to note of it, the length of its body, and its WebSocket key.
fn hear(stream: &mut impl Read) -> io::Result<(Message, usize, String)> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut lines = text.trim_end().split("\r\n");
    let request_line = lines.next().unwrap().to_owned();
    let (mut length, mut key) = (0, String::new());
    let mut head: Vec<String> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name = name.to_ascii_lowercase();
            let value = match name.as_str() {
                "host" => value.split(':').next().unwrap(),
                "sec-websocket-key" => {
                    key = value.to_owned();
                    "a key"
                }
                _ => value,
            };
            if name == "content-length" {
                length = value.parse().unwrap();
            }
            format!("{name}: {value}")
        })
        .collect();
    head.push(request_line);
    head.sort();
    Ok((Message { head, body: Vec::new() }, length, key))
}

/// Reads a short frame of a client's (RFC 6455, 5.2).
fn hear_frame(stream: &mut impl Read) -> io::Result<Message> {
    let mut head = [0; 6];
    stream.read_exact(&mut head)?;
    let [first, second, mask @ ..] = head;
    assert!(second & 0x80 != 0 && second & 0x7f < 126, "a masked and short frame");
    let mut body = vec![0; usize::from(second & 0x7f)];
    stream.read_exact(&mut body)?;
    body.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(Message { head: vec![format!("frame {first:#x}")], body })
}
