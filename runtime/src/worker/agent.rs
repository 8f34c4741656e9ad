//! The thread that looks after an agent's process: the same loop as of any worker, around the machine of the Agent
//! Client Protocol. The machine decides; the loop carries bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::PollFlags;
use sekisho_acp::{Agent, AgentConfig, AgentEnd, AgentEvent, AgentInput, AgentOutput};

use super::attendant::{MAX_SILENCE, READ_SIZE};
use super::handle::{Handle, Input, Order};
use super::output::{Fragment, Pace};
use super::poll_set::{PollSet, Watched};
use super::process::{Ends, News, Process, Stream, write_some};
use super::{End, Launch, StoreFailed};
use crate::limits::STOP_GRACE;

/// How long an agent that is to stop has from the end of its input to the first signal, at most: those that end with
/// their input do so in order.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// What is told by the thread of an agent.
pub(crate) trait AgentSink {
    /// The program runs, under this process id. It is told before anything else, or never.
    fn started(&self, pid: i32);
    /// This happened, in this order.
    fn told(&self, events: Vec<AgentEvent>) -> Result<(), StoreFailed>;
    /// It wrote this to its standard error.
    fn logged(&self, fragment: &Fragment) -> Result<(), StoreFailed>;
    /// Whether those who follow can take more now.
    fn has_room(&self) -> bool;
}

/// The machine of one agent, which its thread and the requests that answer its questions share.
///
/// Its lock is taken before that of the runtime's state, never after it.
pub(crate) struct SharedAgent(Mutex<Inside>);

struct Inside {
    agent: Agent,
    /// A line that the machine has to write, and that is not being written.
    line: Option<Bytes>,
    closes_input: bool,
    until: Option<Instant>,
    end: Option<AgentEnd>,
}

/// What the thread has to do next.
#[derive(Default)]
struct Orders {
    line: Option<Bytes>,
    closes_input: bool,
    until: Option<Instant>,
    end: Option<AgentEnd>,
}

impl SharedAgent {
    /// A machine that begins now.
    pub(crate) fn new(config: AgentConfig) -> Self {
        let agent = Agent::new(Instant::now(), config);
        Self(Mutex::new(Inside { agent, line: None, closes_input: false, until: None, end: None }))
    }

    /// Every change in here is complete before anything could panic, so that a poisoned lock guards sound data.
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the machine do something, and tells what happened by it before anything else can happen to it.
    pub(crate) fn act<T, R>(
        &self,
        act: impl FnOnce(&mut Agent) -> T,
        tell: impl FnOnce(T, Vec<AgentEvent>) -> R,
    ) -> R {
        let mut inside = self.inside();
        let result = act(&mut inside.agent);
        let events = inside.drain(Instant::now());
        tell(result, events)
    }

    fn take_orders(&self) -> Orders {
        let mut inside = self.inside();
        Orders {
            line: inside.line.take(),
            closes_input: std::mem::take(&mut inside.closes_input),
            until: inside.until,
            end: inside.end.clone(),
        }
    }
}

impl Inside {
    fn drain(&mut self, now: Instant) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        loop {
            match self.agent.poll(now) {
                // There is one at a time.
                AgentOutput::Write(line) => self.line = Some(line),
                AgentOutput::CloseInput => self.closes_input = true,
                AgentOutput::Event(event) => events.push(event),
                AgentOutput::Wait { until, .. } => {
                    self.until = until;
                    return events;
                }
                AgentOutput::Ended(end) => {
                    self.until = None;
                    self.end = Some(end);
                    return events;
                }
            }
        }
    }
}

/// Runs an agent's process to its end: on return nothing of it is left, and all that it said is told. The end of the
/// machine says what ended it where that was not the process.
pub(crate) fn attend_agent(
    launch: &Launch,
    handle: &Handle,
    agent: &SharedAgent,
    sink: &impl AgentSink,
) -> (End, Option<AgentEnd>) {
    let ends = if handle.order().is_some() {
        (End::NeverWanted, None)
    } else {
        match Process::start(&launch.program, &launch.supervisor) {
            Ok((process, ends, pid)) => {
                sink.started(pid);
                Attendant::new(handle, agent, sink, ends).run(&process)
            }
            Err(refusal) => (End::NotStarted(refusal), None),
        }
    };
    handle.close();
    ends
}

/// What has been passed on of the order to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    None,
    /// Its input is closed; at that instant it is asked to end within that time.
    Closing(Instant, Duration),
    Asked,
    Killed,
}

struct Attendant<'a, S> {
    handle: &'a Handle,
    agent: &'a SharedAgent,
    sink: &'a S,
    input: Option<File>,
    /// The line that is being written, and how much of it is.
    writing: Option<(Bytes, usize)>,
    output: Stream,
    error: Stream,
    buffer: Box<[u8]>,
    ending: Ending,
    until: Option<Instant>,
    /// The prompts that the machine has, of which the first may be the turn under way.
    prompts: VecDeque<Input>,
    /// Whether there will be no more prompts: it ends after those that it has.
    input_ends: bool,
    kept: Result<(), StoreFailed>,
    end: Option<AgentEnd>,
}

impl<'a, S: AgentSink> Attendant<'a, S> {
    fn new(
        handle: &'a Handle,
        agent: &'a SharedAgent,
        sink: &'a S,
        Ends { input, output, error }: Ends,
    ) -> Self {
        Self {
            handle,
            agent,
            sink,
            input: Some(input),
            writing: None,
            output: Stream::new(Some(output), Pace::LINES),
            error: Stream::new(error, Pace::LINES),
            buffer: vec![0; READ_SIZE].into(),
            ending: Ending::None,
            until: None,
            prompts: VecDeque::new(),
            input_ends: false,
            kept: Ok(()),
            end: None,
        }
    }

    fn run(mut self, process: &Process) -> (End, Option<AgentEnd>) {
        let news = loop {
            self.prompt();
            self.act(|_| ());
            // Last, since the machine may have come to its end.
            self.obey(process);
            self.write();
            if self.must_go() && self.ending < Ending::Killed {
                continue;
            }
            if self.turn(Some(process), None) == Turn::News {
                break process.news();
            }
        };
        self.read_to_the_end();
        let end = match (self.kept, news) {
            (Err(StoreFailed), _) => End::StoreFailed,
            (Ok(()), News::Ended(status)) => End::Exited(ExitStatus::from_raw(status)),
            (Ok(()), News::Lost) => End::HelperLost,
        };
        (end, self.end)
    }

    /// The process is gone, and all that it started: what they wrote is still in the pipes.
    fn read_to_the_end(&mut self) {
        self.input = None;
        let mut silent_since = Instant::now();
        while self.kept.is_ok() && (self.output.fd().is_some() || self.error.fd().is_some()) {
            let rest = (silent_since + MAX_SILENCE).saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            if self.turn(None, Some(rest)) == Turn::Read {
                silent_since = Instant::now();
            }
        }
        let rest = self.error.output.finish();
        self.log(rest);
        self.act(|agent| agent.handle(AgentInput::OutputEnded));
    }

    /// Lets the machine do something, tells what happened, and takes its orders.
    fn act(&mut self, act: impl FnOnce(&mut Agent)) {
        let mut turns = 0;
        let kept = self.agent.act(act, |(), events| {
            let ends =
                |event: &&AgentEvent| matches!(event, AgentEvent::RunEnd(_) | AgentEvent::Error { .. });
            turns = events.iter().filter(ends).count();
            if events.is_empty() { Ok(()) } else { self.sink.told(events) }
        });
        self.kept = self.kept.and(kept);
        for prompt in self.prompts.drain(..turns.min(self.prompts.len())) {
            self.handle.delivered(&prompt);
        }
        let Orders { line, closes_input, until, end } = self.agent.take_orders();
        self.until = until;
        self.end = self.end.take().or(end);
        if let Some(line) = line {
            self.writing = Some((line, 0));
        }
        if closes_input {
            self.input = None;
        }
    }

    /// Hands over the prompts that came.
    fn prompt(&mut self) {
        while let Some(input) = self.handle.next_input() {
            if input == Input::End {
                self.input_ends = true;
                continue;
            }
            let text = String::from_utf8_lossy(input.bytes()).into_owned();
            self.prompts.push_back(input);
            // The queue has no room for more than the machine; one that has ended forgets them.
            self.act(|agent| _ = agent.prompt(text));
        }
    }

    /// Whether its process is to be killed, since nothing can come of it any more.
    fn must_go(&self) -> bool {
        self.kept.is_err() || matches!(self.end, Some(AgentEnd::NotStarted(_) | AgentEnd::Failed(_)))
    }

    /// Passes on what it was told beside prompts.
    fn obey(&mut self, process: &Process) {
        let order = if self.must_go() { Some(Order::Cancel) } else { self.handle.order() };
        match (order, self.ending) {
            (Some(Order::Cancel), ending) if ending < Ending::Killed => {
                self.ending = Ending::Killed;
                self.handle.close();
                self.act(Agent::stop);
                process.cancel();
            }
            (Some(Order::Stop(grace)), Ending::None) => {
                self.ending = Ending::Closing(Instant::now() + CLOSE_GRACE.min(grace / 2), grace);
                self.handle.close();
                self.act(Agent::stop);
            }
            (_, Ending::Closing(at, grace)) if at <= Instant::now() => {
                self.ending = Ending::Asked;
                process.stop(grace);
            }
            (None, Ending::None) if self.input_ends && self.prompts.is_empty() => {
                self.ending = Ending::Closing(Instant::now() + CLOSE_GRACE, STOP_GRACE);
                self.act(Agent::stop);
            }
            // Nothing can be said to one that has closed its output, or heard of it.
            (None, Ending::None) if self.end.is_some() => {
                self.ending = Ending::Asked;
                process.stop(CLOSE_GRACE);
            }
            _ => {}
        }
        if self.handle.take_interrupts() > 0 {
            self.act(Agent::interrupt);
        }
    }

    fn write(&mut self) {
        while let (Some(input), Some((line, written))) = (&mut self.input, &mut self.writing) {
            match write_some(input, line.get(*written..).unwrap_or_default(), &[]) {
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.close_input(),
            }
            if *written >= line.len() {
                self.writing = None;
                self.act(|agent| agent.handle(AgentInput::Written));
            }
        }
    }

    fn close_input(&mut self) {
        self.input = None;
        self.writing = None;
        self.handle.close();
        self.act(|agent| agent.handle(AgentInput::InputClosed));
    }

    fn turn(&mut self, process: Option<&Process>, at_most: Option<Duration>) -> Turn {
        // What is not read makes the process wait, as in any pipe. When it is gone there is no process to wait.
        let has_room = process.is_none() || self.sink.has_room();
        let mut turn = Turn::Nothing;
        for (watched, flags) in self.wait(process, at_most, has_room) {
            match watched {
                Watched::Waker => self.handle.drain(),
                Watched::News => turn = Turn::News,
                Watched::Input if flags.contains(PollFlags::ERR) => self.close_input(),
                // The loop writes on.
                Watched::Input => {}
                Watched::Output | Watched::Error => {
                    if self.read(watched) && turn == Turn::Nothing {
                        turn = Turn::Read;
                    }
                }
            }
        }
        let due = self.error.output.tell_unfinished(Instant::now());
        self.log(due);
        turn
    }

    fn wait(
        &self,
        process: Option<&Process>,
        at_most: Option<Duration>,
        has_room: bool,
    ) -> impl Iterator<Item = (Watched, PollFlags)> + use<'a, S> {
        let mut set = PollSet::new(self.handle, process, &self.output, &self.error, has_room);
        if let Some(input) = &self.input {
            set.watch_input(input, self.writing.is_some());
        }
        let closing = match self.ending {
            Ending::Closing(at, _) => Some(at),
            _ => None,
        };
        let due = [self.until, self.error.output.due(), closing].into_iter().flatten().min();
        set.wait(due, at_most)
    }

    /// Reads once, and tells whether there was anything.
    fn read(&mut self, watched: Watched) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let stream = if watched == Watched::Output { &mut self.output } else { &mut self.error };
        let has_read = match (stream.read(&mut buffer), watched) {
            (None, _) => false,
            (Some([]), Watched::Output) => {
                self.act(|agent| agent.handle(AgentInput::OutputEnded));
                true
            }
            (Some(bytes), Watched::Output) => {
                self.act(|agent| agent.handle(AgentInput::Output(bytes)));
                true
            }
            (Some(bytes), _) => {
                let fragment = match bytes {
                    [] => stream.output.finish(),
                    bytes => stream.output.push(Instant::now(), bytes),
                };
                self.log(fragment);
                true
            }
        };
        self.buffer = buffer;
        has_read
    }

    fn log(&mut self, fragment: Option<Fragment>) {
        if let Some(fragment) = fragment.filter(|_| self.kept.is_ok()) {
            self.kept = self.sink.logged(&fragment);
        }
    }
}

/// What a turn of the loop came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Nothing,
    /// A stream yielded something, if only its end.
    Read,
    /// The launcher tells something.
    News,
}
