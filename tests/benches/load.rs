//! Clients and runtimes that cost next to nothing, and the same whatever stands between them.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

/// What a runtime answers to `GET /v1/workers/` and this id.
pub(crate) fn detail(worker_id: &str) -> String {
    format!(
        r#"{{"worker":{{"worker_ref":{{"runtime_id":"rt","worker_id":"{worker_id}"}},"runtime_id":"rt","worker_id":"{worker_id}","status":"running","intent":{{"kind":"assistant"}},"profile":{{"kind":"runtime_default"}},"transcript_len":0,"last_event_id":2}}}}"#
    )
}

/// The largest message that is understood.
const MAX_MESSAGE: usize = 16 << 10;

/// How often what is asked.
#[derive(Clone)]
pub(crate) struct Load {
    /// Whom.
    pub(crate) address: SocketAddr,
    /// For what: each connection for one of these, in turn.
    pub(crate) paths: Vec<String>,
    /// By how many clients, each on a connection of its own and one request after the other.
    pub(crate) connections: usize,
    /// How long each of them waits between an answer and its next request.
    pub(crate) pause: Duration,
    /// How many requests there are, all connections together.
    pub(crate) requests: usize,
    /// When it is over, whatever has been answered by then.
    pub(crate) time: Duration,
}

/// What became of a load.
#[derive(Default)]
pub(crate) struct Outcome {
    /// How long each request took that was answered with 200, in µs.
    pub(crate) latencies: Vec<f64>,
    /// How many were answered with another status.
    pub(crate) refused: usize,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
}

impl Load {
    /// Runs it on this thread.
    pub(crate) fn run(&self) -> io::Result<Outcome> {
        event_loop()?.block_on(async {
            let remaining = Rc::new(Cell::new(self.requests));
            let mut clients = JoinSet::new();
            let (started, deadline) = (Instant::now(), Instant::now() + self.time);
            for path in self.paths.iter().cycle().take(self.connections) {
                let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address).into_bytes();
                let mut stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                let (remaining, pause) = (remaining.clone(), self.pause);
                clients.spawn_local(async move {
                    let mut outcome = Outcome::default();
                    let client = client(&mut stream, &request, &remaining, pause, &mut outcome);
                    // Time that is over is no error, but a connection that breaks is.
                    timeout_at(deadline.into(), client).await.unwrap_or(Ok(()))?;
                    Ok::<_, io::Error>(outcome)
                });
            }
            let mut all = Outcome::default();
            while let Some(ended) = clients.join_next().await {
                let outcome = ended.map_err(io::Error::other)??;
                all.latencies.extend(outcome.latencies);
                all.refused += outcome.refused;
            }
            all.elapsed = started.elapsed();
            Ok(all)
        })
    }
}

async fn client(
    stream: &mut TcpStream,
    request: &[u8],
    remaining: &Cell<usize>,
    pause: Duration,
    outcome: &mut Outcome,
) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    while let Some(fewer) = remaining.get().checked_sub(1) {
        remaining.set(fewer);
        let sent = Instant::now();
        stream.write_all(request).await?;
        match read_answer(stream, &mut buffer).await? {
            200 => outcome.latencies.push(sent.elapsed().as_secs_f64() * 1e6),
            _ => outcome.refused += 1,
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    Ok(())
}

/// The status of an answer that has been read to its end.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u16> {
    let mut filled = 0;
    loop {
        filled += read_some(stream, &mut buffer[filled..]).await?;
        let Some(head) = find(&buffer[..filled], b"\r\n\r\n") else { continue };
        let (status, length) = understand(&buffer[..head]).ok_or(io::ErrorKind::InvalidData)?;
        let end = head + 4 + length;
        while filled < end {
            filled += read_some(stream, &mut buffer[filled..]).await?;
        }
        return Ok(status);
    }
}

async fn read_some(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

/// The status and the length of the body that a head speaks of.
fn understand(head: &[u8]) -> Option<(u16, usize)> {
    let head = std::str::from_utf8(head).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
    })?;
    Some((status, length))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A runtime that has every worker that it is asked for, until the process ends.
pub(crate) fn prompt_runtime() -> io::Result<SocketAddr> {
    runtime(true)
}

/// Starts a runtime that answers everything at once, or nothing at all, on a thread of its own.
pub(crate) fn runtime(answers: bool) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let Err(error) = event_loop().and_then(|event_loop| event_loop.block_on(accept(listener, answers)));
        eprintln!("the runtime has ended: {error}");
    });
    Ok(address)
}

async fn accept(listener: std::net::TcpListener, answers: bool) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(serve(stream, answers));
    }
}

/// A gateway sends one request after the other and none with a body, so that each ends with its head.
async fn serve(mut stream: TcpStream, answers: bool) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut filled = 0;
    loop {
        filled += read_some(&mut stream, &mut buffer[filled..]).await?;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            if answers {
                stream.write_all(answer(&buffer[..filled]).as_bytes()).await?;
            }
            filled = 0;
        }
    }
}

/// A response with the worker that the head of a request names, or one by the name of `w`.
fn answer(head: &[u8]) -> String {
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = std::str::from_utf8(path).unwrap_or_default();
    let body = detail(path.strip_prefix("/v1/workers/").unwrap_or("w"));
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn event_loop() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}
