//! Lines on their way to standard error.
//!
//! They are written by a thread of their own: what reads them, a pipe or a terminal, may stop reading, and an event loop
//! must not wait for it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait to be written; further ones are lost, which is counted and told.
pub const MAX_WAITING_LINES: usize = 4096;

/// How many bytes are written at once, about.
const TOGETHER: usize = 64 << 10;

/// How long a program that ends waits for its last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Where lines are given to.
#[derive(Clone)]
pub(crate) struct Lines {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(Box<[u8]>),
    /// To be answered once all lines before it are written.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Has a thread write to `output`. `lost_line` makes the line that tells how many were lost.
    pub(crate) fn new(output: impl Write + Send + 'static, lost_line: fn(u64) -> String) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { output, lost: lost.clone(), told: 0, lost_line };
        thread::Builder::new().name("sekisho-log".into()).spawn(move || writer.run(&receiver))?;
        Ok(Self { sender, lost })
    }

    /// How many lines have been lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for what was given so far to be written, for at most [`FLUSH_TIMEOUT`].
    pub(crate) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        // Where all places are taken, there is no use in waiting for one.
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _: Result<(), RecvTimeoutError> = is_done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Message::Line(line.into())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

struct Writer<W> {
    output: W,
    lost: Arc<AtomicU64>,
    /// How many of them it has told of.
    told: u64,
    lost_line: fn(u64) -> String,
}

impl<W: Write> Writer<W> {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(first) = receiver.recv() {
            let (mut bytes, mut flushed) = (Vec::new(), Vec::new());
            let mut next = Ok(first);
            while let Ok(message) = next {
                match message {
                    Message::Line(line) => bytes.extend_from_slice(&line),
                    Message::Flush(done) => flushed.push(done),
                }
                next = if bytes.len() < TOGETHER { receiver.try_recv() } else { Err(TryRecvError::Empty) };
            }
            let lost = self.lost.load(Ordering::Relaxed);
            if lost > self.told {
                bytes.extend_from_slice((self.lost_line)(lost - self.told).as_bytes());
                self.told = lost;
            }
            // There is nowhere to tell that this failed.
            let _ = self.output.write_all(&bytes);
            for done in flushed {
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// Takes nothing before it is let.
    struct Stalled {
        go: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_nobody_waits() {
        let (let_go, go) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines =
            Lines::new(Stalled { go, written: written.clone() }, |lost| format!("{lost} lost\n")).unwrap();
        let given = 3 * MAX_WAITING_LINES;
        for _ in 0..given {
            (&lines).write_all(b"x\n").unwrap();
        }
        // It may have taken up to TOGETHER bytes before it stalled.
        let lost = usize::try_from(lines.lost()).unwrap();
        assert!(lost > 0 && lost <= given - MAX_WAITING_LINES, "{lost}");
        drop(let_go);
        while lines.lost() > 0 && !String::from_utf8_lossy(&written.lock().unwrap()).contains("lost") {
            thread::yield_now();
        }
        lines.flush();
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written.matches("x\n").count(), given - lost);
        assert!(written.contains(" lost\n"), "{written:.100}");
    }
}
