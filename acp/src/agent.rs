//! The life of one agent: its start, its turns, its questions, its end.
//!
//! ```text
//!            initialize … session open           prompt                 stop reason
//!  new ──► Starting ──────────────────────► Idle ──────► Turn under way ───────────► Idle ──► …
//!             │                              │               │    ▲
//!             │                              │               ▼    │ answered, dismissed, withdrawn
//!             │ no session in time,          │ stop,       Request open
//!             │ a login, another version     │ end of output, a failure
//!             ▼                              ▼
//!        NotStarted                  Stopped, Exited or Failed
//! ```

mod messages;
mod turn;

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;

use crate::config::AgentConfig;
use crate::error::{AgentEnd, AgentFailure, AnswerError, PromptError, StartError};
use crate::event::{AgentEvent, Request, ResolvedBy, Speaker, Status};
use crate::limits::{MAX_DELTA, MAX_PROMPT, MAX_QUEUED_PROMPTS, MAX_UNWRITTEN};
use crate::line::Lines;
use crate::request::Requests;
use crate::rpc;
use crate::start::{Progress, Start};
use crate::text::beginning;
use crate::tool::Tools;
use crate::transcript::Run;

/// What happens to an agent's process.
#[derive(Debug)]
pub enum AgentInput<'a> {
    /// It wrote this to its standard output.
    Output(&'a [u8]),
    /// The line of the last [`AgentOutput::Write`] is written.
    Written,
    /// It has closed its standard input: nothing can be written any more.
    InputClosed,
    /// Its standard output is at its end.
    OutputEnded,
}

/// What an agent's driver is to do. Exhaustive, so that no driver overlooks an order.
#[derive(Debug)]
pub enum AgentOutput {
    /// Write this line to its standard input, and report [`AgentInput::Written`]. There is one at a time.
    Write(Bytes),
    /// Close its standard input; nothing is written after that.
    CloseInput,
    /// Tell this.
    Event(AgentEvent),
    /// Nothing to do before this instant, but for what happens to the process. `None` is no instant at all.
    Wait {
        /// When to poll again at the latest.
        until: Option<Instant>,
        /// What for.
        why: AgentWait,
    },
    /// The end. An agent that is polled again says it again.
    Ended(AgentEnd),
}

/// What an agent waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AgentWait {
    /// For the answers that open the session.
    Start,
    /// For a text that came between turns to go on, or not.
    Quiet,
    /// For a person's answer.
    Answer,
    /// For the turn to end.
    Turn,
    /// For a prompt.
    Prompt,
    /// For the end of its output, after it was told to stop.
    Exit,
}

/// What became of an answer to a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answered {
    /// It is the first, and was passed on.
    First,
    /// The same answer was given before; nothing was done.
    Again,
}

/// One agent, as its client sees it. See the [crate] for how it is driven.
pub struct Agent {
    config: AgentConfig,
    state: State,
    /// Told to stop.
    stopping: bool,
    output_ended: bool,
    input: Input,
    lines: Lines,
    run: Run,
    tools: Tools,
    requests: Requests,
    /// Those that wait for the turn under way to end, or for the session.
    prompts: VecDeque<String>,
    status: Status,
    /// When the run of text that came between turns is over.
    quiet_until: Option<Instant>,
    /// The number of our last request.
    last_id: u64,
    writes: VecDeque<Bytes>,
    /// The bytes of `writes`, and of the line that is being written.
    unwritten: usize,
    outputs: VecDeque<AgentOutput>,
}

enum State {
    Starting { start: Box<Start>, asked: u64 },
    Open(Session),
    Ended(AgentEnd),
}

struct Session {
    id: String,
    turn: Option<Turn>,
    /// Until the first prompt after a session was taken up again: what is told of it is a repetition.
    is_replaying: bool,
}

/// A prompt that was sent and is not answered.
struct Turn {
    asked: u64,
    interrupted: bool,
}

/// How the agent's standard input stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Ready,
    /// A line of so many bytes is being written.
    Writing(usize),
    Closed,
}

impl Agent {
    /// An agent whose process has just started.
    pub fn new(now: Instant, config: AgentConfig) -> Self {
        let (start, first) = Start::begin(now, &config);
        let mut agent = Self {
            requests: Requests::new(config.starts_before),
            config,
            state: State::Starting { start: Box::new(start), asked: 0 },
            stopping: false,
            output_ended: false,
            input: Input::Ready,
            lines: Lines::default(),
            run: Run::default(),
            tools: Tools::default(),
            prompts: VecDeque::new(),
            status: Status::Idle,
            quiet_until: None,
            last_id: 0,
            writes: VecDeque::new(),
            unwritten: 0,
            outputs: VecDeque::new(),
        };
        agent.progress(first);
        agent
    }

    /// Takes what happened to the process.
    pub fn handle(&mut self, input: AgentInput<'_>) {
        match input {
            AgentInput::Output(bytes) if !self.output_ended => self.lines.push(bytes),
            AgentInput::Output(_) => {}
            AgentInput::Written => {
                if let Input::Writing(bytes) = self.input {
                    self.unwritten = self.unwritten.saturating_sub(bytes);
                    self.input = Input::Ready;
                }
            }
            AgentInput::InputClosed => self.close_input(),
            AgentInput::OutputEnded => self.output_ended = true,
        }
    }

    /// What to do next. To be called until it says to wait, or that the agent has ended.
    pub fn poll(&mut self, now: Instant) -> AgentOutput {
        loop {
            if self.input == Input::Ready
                && let Some(line) = self.writes.pop_front()
            {
                self.input = Input::Writing(line.len());
                return AgentOutput::Write(line);
            }
            // Fragments that arrive together are joined before they leave.
            if self.may_grow()
                && let Some(line) = self.lines.next()
            {
                self.line(now, line);
                continue;
            }
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            if let State::Ended(end) = &self.state {
                return AgentOutput::Ended(end.clone());
            }
            if self.stopping && self.input == Input::Ready {
                self.input = Input::Closed;
                return AgentOutput::CloseInput;
            }
            if self.output_ended {
                if let Some(line) = self.lines.finish() {
                    self.line(now, line);
                } else {
                    self.exited();
                }
            } else if let Some(output) = self.wait(now) {
                return output;
            }
        }
    }

    /// Whether a prompt of that many bytes would be taken now.
    pub fn has_room(&self, bytes: usize) -> Result<(), PromptError> {
        if self.stopping || self.input == Input::Closed || matches!(self.state, State::Ended(_)) {
            Err(PromptError::Ended)
        } else if bytes > MAX_PROMPT {
            Err(PromptError::TooLong)
        } else if !self.takes_prompt() && self.prompts.len() >= MAX_QUEUED_PROMPTS {
            Err(PromptError::Busy)
        } else {
            Ok(())
        }
    }

    /// Gives it a prompt: a turn of its own, after those that wait already.
    pub fn prompt(&mut self, text: String) -> Result<(), PromptError> {
        self.has_room(text.len())?;
        match self.takes_prompt() {
            true => self.begin_turn(&text),
            false => self.prompts.push_back(text),
        }
        Ok(())
    }

    /// Interrupts the turn under way, if there is one, and dismisses what is open. Prompts that wait stay.
    pub fn interrupt(&mut self) {
        self.cancel_turn();
        self.dismiss_all(ResolvedBy::Interrupt);
    }

    /// Answers a request with one of its options, or dismisses it with `None`.
    pub fn answer(&mut self, request_id: &str, option_id: Option<&str>) -> Result<Answered, AnswerError> {
        let Some(answered) = self.requests.answer(request_id, option_id)? else { return Ok(Answered::Again) };
        self.reply(&answered.rpc_id, &answered.result);
        self.resolved(request_id, option_id, ResolvedBy::Answer);
        self.update_status();
        Ok(Answered::First)
    }

    /// Tells it to end: the turn is interrupted, what is open is dismissed, prompts that wait are forgotten, and its
    /// standard input is closed. Signals are the driver's.
    pub fn stop(&mut self) {
        if self.stopping || matches!(self.state, State::Ended(_)) {
            return;
        }
        self.stopping = true;
        self.prompts.clear();
        self.cancel_turn();
        self.dismiss_all(ResolvedBy::Stop);
    }

    /// What it does.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The requests that are open, oldest first.
    pub fn open_requests(&self) -> impl ExactSizeIterator<Item = &Request> {
        self.requests.open()
    }

    /// How many prompts wait.
    pub fn queued_prompts(&self) -> usize {
        self.prompts.len()
    }

    /// Whether the session is open.
    pub fn is_started(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Does what is due, or says what is waited for.
    fn wait(&mut self, now: Instant) -> Option<AgentOutput> {
        let wait = |until, why| Some(AgentOutput::Wait { until, why });
        match &self.state {
            State::Starting { start, .. } if start.until <= now => {
                let error = StartError::TimedOut { step: start.step(), after: self.config.start_timeout };
                self.end(AgentEnd::NotStarted(error));
                None
            }
            State::Starting { start, .. } => wait(Some(start.until), AgentWait::Start),
            _ if self.quiet_until.is_some_and(|until| until <= now) => {
                self.finish_run();
                None
            }
            _ if self.quiet_until.is_some() => wait(self.quiet_until, AgentWait::Quiet),
            _ if self.stopping => wait(None, AgentWait::Exit),
            State::Open(_) if !self.requests.is_empty() => wait(None, AgentWait::Answer),
            State::Open(Session { turn: Some(_), .. }) => wait(None, AgentWait::Turn),
            _ => wait(None, AgentWait::Prompt),
        }
    }

    /// Whether what waits to leave can be joined with what the next line says.
    fn may_grow(&self) -> bool {
        match (self.outputs.len(), self.outputs.back()) {
            (0, _) => !matches!(self.state, State::Ended(_)),
            (1, Some(AgentOutput::Event(AgentEvent::TextDelta(text) | AgentEvent::ThinkingDelta(text)))) => {
                text.len() < MAX_DELTA
            }
            _ => false,
        }
    }

    /// Asks for the next step of the start, or goes on from it.
    fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Ask { step, params } => {
                let id = self.ask(step.method(), &params);
                if let State::Starting { asked, .. } = &mut self.state {
                    *asked = id;
                }
            }
            Progress::Ready(ready) => self.opened(*ready),
            Progress::Failed(error) => self.end(AgentEnd::NotStarted(error)),
        }
    }

    /// Sends a request, and tells its number.
    fn ask(&mut self, method: &str, params: &impl Serialize) -> u64 {
        self.last_id += 1;
        self.write(rpc::request(self.last_id, method, params));
        self.last_id
    }

    fn reply(&mut self, id: &rpc::RpcId, result: &impl Serialize) {
        self.write(rpc::result(id, result));
    }

    fn write(&mut self, line: Bytes) {
        if self.input == Input::Closed || matches!(self.state, State::Ended(_)) {
            return;
        }
        self.unwritten += line.len();
        self.writes.push_back(line);
        if self.unwritten > MAX_UNWRITTEN {
            self.fail(AgentFailure::NotReading);
        }
    }

    fn close_input(&mut self) {
        self.input = Input::Closed;
        self.writes.clear();
        self.unwritten = 0;
        self.prompts.clear();
    }

    fn tell(&mut self, event: AgentEvent) {
        self.outputs.push_back(AgentOutput::Event(event));
    }

    /// Tells a fragment, joined with the one before where that has not left yet.
    fn tell_fragment(&mut self, speaker: Speaker, mut fragment: &str) {
        if let Some(AgentOutput::Event(last)) = self.outputs.back_mut() {
            let joined = match (last, speaker) {
                (AgentEvent::TextDelta(text), Speaker::Assistant) => Some(text),
                (AgentEvent::ThinkingDelta(text), Speaker::Thinking) => Some(text),
                _ => None,
            };
            if let Some(text) = joined {
                let fitting = beginning(fragment, MAX_DELTA.saturating_sub(text.len()));
                text.push_str(fitting);
                fragment = &fragment[fitting.len()..];
            }
        }
        while !fragment.is_empty() {
            let piece = beginning(fragment, MAX_DELTA);
            fragment = &fragment[piece.len()..];
            self.tell(match speaker {
                Speaker::Assistant => AgentEvent::TextDelta(piece.to_owned()),
                Speaker::Thinking => AgentEvent::ThinkingDelta(piece.to_owned()),
            });
        }
    }

    /// Ends the run of fragments: the transcript gets the whole of it.
    fn finish_run(&mut self) {
        self.quiet_until = None;
        if let Some(said) = self.run.finish() {
            self.tell(AgentEvent::Said(said));
        }
    }

    fn update_status(&mut self) {
        let status = match &self.state {
            State::Open(_) if !self.requests.is_empty() => Status::Paused,
            State::Open(Session { turn: Some(_), .. }) => Status::Running,
            _ => Status::Idle,
        };
        if self.status != status {
            self.status = status;
            self.tell(AgentEvent::Status(status));
        }
    }

    fn fail(&mut self, failure: AgentFailure) {
        self.end(match &self.state {
            State::Starting { .. } => AgentEnd::NotStarted(failure.into()),
            _ => AgentEnd::Failed(failure),
        });
    }

    /// The output is at its end.
    fn exited(&mut self) {
        self.end(match (&self.state, self.stopping) {
            (State::Starting { .. }, false) => AgentEnd::NotStarted(StartError::Exited),
            (State::Starting { .. }, true) => AgentEnd::NotStarted(StartError::Stopped),
            (_, true) => AgentEnd::Stopped,
            (_, false) => AgentEnd::Exited,
        });
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("status", &self.status)
            .field("is_started", &self.is_started())
            .field("open_requests", &self.requests.open().len())
            .field("queued_prompts", &self.prompts.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
