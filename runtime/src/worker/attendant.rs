//! The thread that looks after one worker's process: it writes what the worker is told, reads what it says, passes
//! orders on to its launcher, and waits for its end. All of it is one loop around `poll`.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::handle::{Handle, Input, Order};
use super::output::{Fragment, Pace};
use super::poll_set::{PollSet, Watched};
use super::process::{Ends, News, Process, Stream, write_some};
use super::supervisor::Supervisor;
use super::{NotStarted, ProgramSpec, terminal};

/// How long the output of a process that is gone may be silent before it is given up: what holds it open then was handed
/// the pipe by a worker and is no descendant of it. Output that goes on is read to its end.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(1);

/// How much is read at once, in bytes: the most that one event tells, but for the beginning of a line before it.
pub(super) const READ_SIZE: usize = 16 * 1024;

/// What is to be started, and who starts it.
pub(crate) struct Launch {
    pub(crate) program: ProgramSpec,
    pub(crate) supervisor: Arc<Supervisor>,
}

/// What the worker said could not be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StoreFailed;

/// Which stream of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Error,
}

/// What is told by the thread of a worker.
pub(crate) trait OutputSink {
    /// The program runs, under this process id. It is told before anything else, or never.
    fn started(&self, pid: i32);
    /// It wrote this.
    fn said(&self, source: Source, fragment: &Fragment) -> Result<(), StoreFailed>;
    /// Whether those who follow can take more now. It is asked before each read while the process runs, and while they
    /// cannot, every [`CROWDED_TICK`](super::poll_set::CROWDED_TICK).
    fn has_room(&self) -> bool;
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It was told to end before it was started.
    NeverWanted,
    /// There was no process.
    NotStarted(NotStarted),
    /// The process ended, by itself or by order.
    Exited(ExitStatus),
    /// The process was killed because one of its helper processes was.
    HelperLost,
    /// The process had to be killed because what it said could not be kept.
    StoreFailed,
}

/// Runs a worker's process to its end: on return nothing of it is left, and all that it said is told.
pub(crate) fn attend(launch: &Launch, handle: &Handle, sink: &impl OutputSink) -> End {
    let end = if handle.order().is_some() {
        End::NeverWanted
    } else {
        match Process::start(&launch.program, &launch.supervisor) {
            Ok((process, ends, pid)) => {
                sink.started(pid);
                Attendant::new(handle, sink, ends).run(&process)
            }
            Err(refusal) => End::NotStarted(refusal),
        }
    };
    handle.close();
    end
}

/// What has been passed on of the order to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    None,
    Asked,
    Killed,
}

/// What a turn of the loop came to.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// Whether the launcher tells something.
    has_news: bool,
    /// Whether a stream yielded something, if only its end.
    has_read: bool,
}

/// The input that is being written.
struct Writing {
    input: Input,
    end: WritingEnd,
    /// How much of both is.
    written: usize,
}

/// What is written after an input.
enum WritingEnd {
    Nothing,
    Line(&'static [u8]),
    Character([u8; 1]),
}

impl WritingEnd {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Line(bytes) => bytes,
            Self::Character(character) => character,
        }
    }
}

impl Writing {
    fn new(input: Input, file: &File, has_terminal: bool) -> Self {
        let end = match input {
            Input::Raw(_) => WritingEnd::Nothing,
            Input::Line(_) if has_terminal => WritingEnd::Line(terminal::line_end(file)),
            Input::Line(_) => WritingEnd::Line(b"\n"),
            Input::End => WritingEnd::Character([terminal::end_of_file_character(file)]),
        };
        Self { input, end, written: 0 }
    }
}

struct Attendant<'a, A> {
    handle: &'a Handle,
    sink: &'a A,
    has_terminal: bool,
    input: Option<File>,
    writing: Option<Writing>,
    output: Stream,
    error: Stream,
    buffer: Box<[u8]>,
    ending: Ending,
    kept: Result<(), StoreFailed>,
}

impl<'a, A: OutputSink> Attendant<'a, A> {
    fn new(handle: &'a Handle, sink: &'a A, Ends { input, output, error }: Ends) -> Self {
        let has_terminal = error.is_none();
        let pace = if has_terminal { Pace::TERMINAL } else { Pace::LINES };
        Self {
            handle,
            sink,
            has_terminal,
            input: Some(input),
            writing: None,
            output: Stream::new(Some(output), pace),
            error: Stream::new(error, pace),
            buffer: vec![0; READ_SIZE].into(),
            ending: Ending::None,
            kept: Ok(()),
        }
    }

    fn run(mut self, process: &Process) -> End {
        let news = loop {
            self.obey(process);
            self.write();
            if self.turn(Some(process), None).has_news {
                break process.news();
            }
        };
        self.close_input();
        self.read_to_the_end();
        match (self.kept, news) {
            (Err(StoreFailed), _) => End::StoreFailed,
            (Ok(()), News::Ended(status)) => End::Exited(ExitStatus::from_raw(status)),
            (Ok(()), News::Lost) => End::HelperLost,
        }
    }

    /// The process is gone, and all that it started: what they wrote is still in the pipes.
    fn read_to_the_end(&mut self) {
        let mut silent_since = Instant::now();
        while self.kept.is_ok() && (self.output.fd().is_some() || self.error.fd().is_some()) {
            let rest = (silent_since + MAX_SILENCE).saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            if self.turn(None, Some(rest)).has_read {
                silent_since = Instant::now();
            }
        }
        for source in [Source::Output, Source::Error] {
            let rest = self.stream(source).output.finish();
            self.tell(source, rest);
        }
    }

    /// Waits until something can be done, reads what there is, and tells what is due.
    fn turn(&mut self, process: Option<&Process>, at_most: Option<Duration>) -> Turn {
        // What is not read makes the process wait, as in any pipe. When it is gone nothing waits.
        let has_room = process.is_none() || self.sink.has_room();
        let mut turn = Turn::default();
        for (watched, flags) in self.wait(process, at_most, has_room) {
            match watched {
                Watched::Waker => self.handle.drain(),
                Watched::News => turn.has_news = true,
                // On a terminal this is told by its output.
                Watched::Input if flags.contains(PollFlags::ERR) && !self.has_terminal => self.close_input(),
                // The loop writes on.
                Watched::Input => {}
                Watched::Output => turn.has_read |= self.read(Source::Output),
                Watched::Error => turn.has_read |= self.read(Source::Error),
            }
        }
        let now = Instant::now();
        for source in [Source::Output, Source::Error] {
            let due = self.stream(source).output.tell_unfinished(now);
            self.tell(source, due);
        }
        turn
    }

    fn wait(
        &self,
        process: Option<&Process>,
        at_most: Option<Duration>,
        has_room: bool,
    ) -> impl Iterator<Item = (Watched, PollFlags)> + use<'a, A> {
        let mut set = PollSet::new(self.handle, process, &self.output, &self.error, has_room);
        let is_writing = self.writing.is_some();
        if let Some(input) = self.input.as_ref().filter(|_| is_writing || !self.has_terminal) {
            set.watch_input(input, is_writing);
        }
        let due = [&self.output, &self.error].into_iter().filter_map(|stream| stream.output.due()).min();
        set.wait(due, at_most)
    }

    /// Reads once, and tells whether there was anything.
    fn read(&mut self, source: Source) -> bool {
        let stream = match source {
            Source::Output => &mut self.output,
            Source::Error => &mut self.error,
        };
        let Some(bytes) = stream.read(&mut self.buffer) else { return false };
        let fragment = match bytes {
            [] => stream.output.finish(),
            bytes => stream.output.push(Instant::now(), bytes),
        };
        self.tell(source, fragment);
        true
    }

    fn tell(&mut self, source: Source, fragment: Option<Fragment>) {
        if let Some(fragment) = fragment.filter(|_| self.kept.is_ok()) {
            self.kept = self.sink.said(source, &fragment);
        }
    }

    fn stream(&mut self, source: Source) -> &mut Stream {
        match source {
            Source::Output => &mut self.output,
            Source::Error => &mut self.error,
        }
    }

    /// Passes on what the process was told beside its input.
    fn obey(&mut self, process: &Process) {
        let order = if self.kept.is_err() { Some(Order::Cancel) } else { self.handle.order() };
        match order {
            Some(Order::Stop(grace)) if self.ending < Ending::Asked => {
                self.ending = Ending::Asked;
                self.handle.close();
                process.stop(grace);
            }
            Some(Order::Cancel) if self.ending < Ending::Killed => {
                self.ending = Ending::Killed;
                self.handle.close();
                process.cancel();
            }
            _ => {}
        }
        if let Some(size) = self.handle.take_size().filter(|_| self.has_terminal)
            && let Some(terminal) = &self.input
        {
            // It has been hung up if this fails: there is nothing to see any more.
            let _ = terminal::resize(terminal, size);
        }
        for _ in 0..self.handle.take_interrupts() {
            self.interrupt(process);
        }
    }

    fn interrupt(&mut self, process: &Process) {
        let typed = match &mut self.input {
            Some(terminal) if self.has_terminal => {
                let character = [terminal::interrupt_character(&*terminal)];
                matches!(write_some(terminal, &character, &[]), Ok(1))
            }
            _ => false,
        };
        // Where the program reads nothing, a terminal takes nothing in the end.
        if !typed {
            process.interrupt();
        }
    }

    /// Writes as much as the process takes.
    fn write(&mut self) {
        while let Some(input) = &mut self.input {
            if self.writing.is_none() {
                let next = self.handle.next_input();
                if next == Some(Input::End) && !self.has_terminal {
                    return self.close_input();
                }
                self.writing = next.map(|next| Writing::new(next, input, self.has_terminal));
            }
            let Some(Writing { input: text, end, written }) = &mut self.writing else { return };
            let of_end = written.saturating_sub(text.bytes().len());
            let rest = text.bytes().get(*written..).unwrap_or_default();
            match write_some(input, rest, end.bytes().get(of_end..).unwrap_or_default()) {
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.close_input(),
            }
            if *written >= text.bytes().len() + end.bytes().len() {
                self.handle.delivered(text);
                self.writing = None;
            }
        }
    }

    fn close_input(&mut self) {
        self.input = None;
        self.writing = None;
        self.handle.close();
    }
}
