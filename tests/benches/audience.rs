//! Viewers that count what they are shown, and look at nothing of it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::publisher::read;
use crate::websocket::{Frames, TEXT};

/// How long the viewers may take for what they are to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read at once. All viewers share one buffer.
const BUFFER: usize = 64 << 10;

/// Viewers of one worker, whose connections close when it is dropped.
pub(crate) struct Audience {
    viewers: JoinSet<io::Result<Infallible>>,
    tally: Rc<Tally>,
    event_loop: LocalRuntime,
}

struct Tally {
    viewers: usize,
    /// How many frames a viewer gets before what happens.
    opening: usize,
    /// Who has got each frame, openings first.
    shown: RefCell<Vec<Shown>>,
    changed: Notify,
    buffer: RefCell<Vec<u8>>,
}

#[derive(Default)]
struct Shown {
    viewers: usize,
    /// When the last of all viewers had it.
    to_all: Cell<Option<Instant>>,
}

impl Audience {
    /// Opens `viewers` streams at `address`, one after the other, and waits until each viewer has got the frames that
    /// come before what happens.
    pub(crate) fn gather(
        address: SocketAddr,
        path: &str,
        viewers: usize,
        opening: usize,
    ) -> io::Result<Self> {
        let event_loop = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let tally = Tally {
            viewers,
            opening,
            shown: RefCell::default(),
            changed: Notify::new(),
            buffer: vec![0; BUFFER].into(),
        };
        let mut audience = Self { viewers: JoinSet::new(), tally: Rc::new(tally), event_loop };
        audience.event_loop.block_on(async {
            for _ in 0..viewers {
                let (stream, rest) = connect(address, path).await?;
                audience.viewers.spawn_local(view(stream, rest, audience.tally.clone()));
            }
            Ok::<_, io::Error>(())
        })?;
        audience.wait(opening)?;
        Ok(audience)
    }

    /// Waits until all viewers have got `frames` frames since they were there; when the last of them had each.
    pub(crate) fn watch(&mut self, frames: usize) -> io::Result<Vec<Instant>> {
        self.wait(self.tally.opening + frames)?;
        let shown = self.tally.shown.borrow();
        Ok(shown[self.tally.opening..].iter().filter_map(|shown| shown.to_all.get()).collect())
    }

    fn wait(&mut self, frames: usize) -> io::Result<()> {
        let Self { viewers, tally, event_loop } = self;
        let all = async {
            while tally.shown.borrow().get(frames - 1).is_none_or(|shown| shown.to_all.get().is_none()) {
                tally.changed.notified().await;
            }
        };
        event_loop.block_on(async {
            let watching = async {
                tokio::select! {
                    () = all => Ok(()),
                    Some(ended) = viewers.join_next() => {
                        let Err(error) = ended.map_err(io::Error::other)?;
                        Err(error)
                    }
                }
            };
            timeout(PATIENCE, watching).await?
        })
    }
}

impl Tally {
    fn show(&self, number: usize) {
        let mut shown = self.shown.borrow_mut();
        if shown.len() <= number {
            shown.resize_with(number + 1, Shown::default);
        }
        let shown = &mut shown[number];
        shown.viewers += 1;
        if shown.viewers == self.viewers {
            shown.to_all.set(Some(Instant::now()));
            self.changed.notify_one();
        }
    }
}

/// A stream that has been opened, and what came of it with the head.
async fn connect(address: SocketAddr, path: &str) -> io::Result<(TcpStream, Vec<u8>)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.try_write(request.as_bytes())?;
    let mut answer = Vec::new();
    let head = loop {
        stream.readable().await?;
        let mut buffer = [0; 1024];
        if let Some(count) = read(&stream, &mut buffer)? {
            answer.extend_from_slice(&buffer[..count]);
        }
        if let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break head + 4;
        }
    };
    let rest = answer.split_off(head);
    match answer.starts_with(b"HTTP/1.1 101 ") {
        true => Ok((stream, rest)),
        false => Err(io::Error::other(String::from_utf8_lossy(&answer))),
    }
}

async fn view(stream: TcpStream, rest: Vec<u8>, tally: Rc<Tally>) -> io::Result<Infallible> {
    let mut frames = Frames::default();
    let mut texts = 0;
    // No viewer stays for so long that an answer to a ping would be due.
    let mut found = |opcode| {
        if opcode == TEXT {
            tally.show(texts);
            texts += 1;
        }
    };
    frames.find(&rest, &mut found);
    drop(rest);
    loop {
        stream.readable().await?;
        let mut buffer = tally.buffer.borrow_mut();
        if let Some(count) = read(&stream, &mut buffer)? {
            frames.find(&buffer[..count], &mut found);
        }
    }
}
