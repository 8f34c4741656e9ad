//! A runtime that does nothing but publish frames which are encoded already.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sekisho_tests::upstream::runtime_summary;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};
use tungstenite::handshake::derive_accept_key;

use crate::usage::Thread;
use crate::websocket::{Frames, PING, text_frame};

/// How many bytes a frame has, about.
const FRAME: usize = 200;

/// The largest head of a request that is understood.
const MAX_HEAD: usize = 4 << 10;

/// A runtime on a thread of its own, until the process ends.
pub(crate) struct Publisher {
    address: SocketAddr,
    orders: UnboundedSender<Order>,
    thread: Thread,
}

struct Order {
    worker: String,
    frames: usize,
    every: Duration,
    published: mpsc::Sender<io::Result<Vec<Instant>>>,
}

/// The streams of each worker.
type Streams = Rc<RefCell<BTreeMap<String, Vec<Rc<TcpStream>>>>>;

impl Publisher {
    /// Starts it.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (orders, taken) = unbounded_channel();
        let (running, started) = mpsc::channel();
        thread::spawn(move || {
            let run = || {
                let event_loop =
                    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
                // The benchmark waits for this.
                let _ = running.send(Thread::current()?);
                event_loop.block_on(async {
                    let streams = Streams::default();
                    tokio::task::spawn_local(obey(taken, streams.clone()));
                    accept(TcpListener::from_std(listener)?, streams).await
                })
            };
            let Err::<Infallible, io::Error>(error) = run();
            eprintln!("the runtime has ended: {error}");
        });
        let thread = started.recv().map_err(io::Error::other)?;
        Ok(Self { address, orders, thread })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long it has run.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        self.thread.cpu_time()
    }

    /// Publishes frames of a worker at this pace. When each of them was begun with can be had once all are out.
    pub(crate) fn publish(
        &self,
        worker: &str,
        frames: usize,
        every: Duration,
    ) -> mpsc::Receiver<io::Result<Vec<Instant>>> {
        let (published, instants) = mpsc::channel();
        let order = Order { worker: worker.to_owned(), frames, every, published };
        // One that has ended has dropped the order, and its reply with it.
        let _ = self.orders.send(order);
        instants
    }
}

async fn obey(mut orders: UnboundedReceiver<Order>, streams: Streams) {
    let mut number = 0;
    while let Some(Order { worker, frames, every, published }) = orders.recv().await {
        let mut pace = interval(every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut instants = Ok(Vec::with_capacity(frames));
        for _ in 0..frames {
            pace.tick().await;
            number += 1;
            let frame = envelope(&worker, number, "text_delta");
            let begun = Instant::now();
            let sent = match streams.borrow().get(&worker) {
                Some(streams) => streams.iter().try_for_each(|stream| send(stream, &frame)),
                None => Err(ErrorKind::NotConnected.into()),
            };
            instants = instants.and_then(|mut instants: Vec<Instant>| {
                sent?;
                instants.push(begun);
                Ok(instants)
            });
        }
        // The caller may have given up.
        let _ = published.send(instants);
    }
}

/// There is room for a frame, unless a viewer does not read.
fn send(stream: &TcpStream, frame: &[u8]) -> io::Result<()> {
    match stream.try_write(frame)? {
        sent if sent == frame.len() => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

fn envelope(worker: &str, number: u64, event: &str) -> Vec<u8> {
    let cursor = format!("wo_{number:016x}");
    let event_id = if event == "snapshot" { format!("snapshot:{cursor}") } else { cursor.clone() };
    let text = format!(
        r#"{{"kind":"event","envelope":{{"cursor":"{cursor}","event_id":"{event_id}","worker_id":"{worker}","payload":{{"event":"{event}","data":{{"text":""}}}}}}}}"#
    );
    let (head, tail) = text.split_at(text.rfind('"').unwrap_or(text.len()));
    let padding = "x".repeat(FRAME.saturating_sub(text.len()));
    text_frame(&format!("{head}{padding}{tail}"))
}

async fn accept(listener: TcpListener, streams: Streams) -> io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let streams = streams.clone();
        tokio::task::spawn_local(async move {
            // A stream that breaks is its client's business.
            let _ = serve(stream, streams).await;
        });
    }
}

/// The length of a request's head, once it is there.
async fn read_head(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while !buffer[..filled].ends_with(b"\r\n\r\n") {
        stream.readable().await?;
        filled += read(stream, &mut buffer[filled..])?.unwrap_or(0);
    }
    Ok(filled)
}

async fn serve(stream: TcpStream, streams: Streams) -> io::Result<()> {
    let mut buffer = [0; MAX_HEAD];
    let mut filled = read_head(&stream, &mut buffer).await?;
    // A gateway asks who is there before it opens a stream.
    while buffer.starts_with(b"GET /v1/runtime ") {
        let body = runtime_summary("rt");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        send(&stream, [head, body].concat().as_bytes())?;
        filled = read_head(&stream, &mut buffer).await?;
    }
    let head = String::from_utf8_lossy(&buffer[..filled]);
    let (worker, key) = understand(&head).ok_or(ErrorKind::InvalidData)?;
    let accept = derive_accept_key(key.as_bytes());
    let mut opening = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    opening.extend(envelope(worker, 0, "snapshot"));
    send(&stream, &opening)?;

    let (worker, stream) = (worker.to_owned(), Rc::new(stream));
    streams.borrow_mut().entry(worker.clone()).or_default().push(stream.clone());
    let ended = listen(&stream, &mut buffer).await;
    if let Some(streams) = streams.borrow_mut().get_mut(&worker) {
        streams.retain(|other| !Rc::ptr_eq(other, &stream));
    }
    ended
}

/// The worker that is asked for, and the key of the handshake.
fn understand(head: &str) -> Option<(&str, &str)> {
    let path = head.strip_prefix("GET /v1/workers/")?;
    let worker = &path[..path.find('/')?];
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    Some((worker, key?))
}

/// Answers pings.
async fn listen(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut frames = Frames::default();
    loop {
        stream.readable().await?;
        let Some(count) = read(stream, buffer)? else { continue };
        let mut pings = 0;
        frames.find(&buffer[..count], |opcode| pings += usize::from(opcode == PING));
        for _ in 0..pings {
            send(stream, &[0x8a, 0])?;
        }
    }
}

/// What can be read without waiting; `None` where that is nothing.
pub(crate) fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.try_read(buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
