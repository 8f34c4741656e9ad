//! An agent's process with the machine of its client around it, for tests of the two alone.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sekisho_acp::{Agent, AgentConfig, AgentEnd, AgentEvent, AgentInput, AgentOutput};

/// How long a test waits for an agent.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many pieces of output may wait to be read.
const MAX_PIECES: usize = 16;

/// What the threads at the pipes report.
enum News {
    Output(Vec<u8>),
    OutputEnded,
    Written,
    InputClosed,
}

/// An agent that runs. Its process is killed when it is dropped.
pub struct AgentProcess {
    /// The machine, to be given orders; [`settle`](Self::settle) after each.
    pub agent: Agent,
    /// All that it told.
    pub told: Vec<AgentEvent>,
    /// How it ended.
    pub end: Option<AgentEnd>,
    child: Child,
    lines: Option<Sender<Bytes>>,
    news: Receiver<News>,
    until: Option<Instant>,
}

impl AgentProcess {
    /// Starts a program as an agent.
    pub fn start(command: &mut Command, config: AgentConfig) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (report, news) = sync_channel(MAX_PIECES);
        let (lines, to_write) = channel::<Bytes>();
        let written = report.clone();
        thread::spawn(move || {
            for line in to_write {
                let result = input.write_all(&line).and_then(|()| input.flush());
                let report = if result.is_ok() { News::Written } else { News::InputClosed };
                if written.send(report).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            loop {
                let piece = match output.read(&mut buffer) {
                    Ok(0) | Err(_) => News::OutputEnded,
                    Ok(count) => News::Output(buffer[..count].to_vec()),
                };
                let is_last = matches!(piece, News::OutputEnded);
                if report.send(piece).is_err() || is_last {
                    return;
                }
            }
        });
        let agent = Agent::new(Instant::now(), config);
        let (told, lines) = (Vec::new(), Some(lines));
        let mut process = Self { agent, told, end: None, child, lines, news, until: None };
        process.settle();
        process
    }

    /// Does all that the machine says.
    pub fn settle(&mut self) {
        loop {
            match self.agent.poll(Instant::now()) {
                AgentOutput::Write(line) => {
                    // The thread is there as long as the input is open.
                    if let Some(lines) = &self.lines {
                        let _ = lines.send(line);
                    }
                }
                AgentOutput::CloseInput => self.lines = None,
                AgentOutput::Event(event) => self.told.push(event),
                AgentOutput::Wait { until, .. } => return self.until = until,
                AgentOutput::Ended(end) => return self.end = Some(end),
            }
        }
    }

    /// Waits until it has told something of the kind, from the place on, and says where that is.
    pub fn wait_for(&mut self, from: usize, what: impl Fn(&AgentEvent) -> bool) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.told.iter().skip(from).position(&what) {
                return from + at;
            }
            self.step(deadline);
        }
    }

    /// Waits for its end.
    pub fn wait_for_end(&mut self) -> AgentEnd {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = &self.end {
                return end.clone();
            }
            self.step(deadline);
        }
    }

    fn step(&mut self, deadline: Instant) {
        assert!(self.end.is_none(), "it ended: {:?}, and told {:#?}", self.end, self.told);
        let until = self.until.map_or(deadline, |until| until.min(deadline));
        match self.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(News::Output(bytes)) => self.agent.handle(AgentInput::Output(&bytes)),
            Ok(News::OutputEnded) => self.agent.handle(AgentInput::OutputEnded),
            Ok(News::Written) => self.agent.handle(AgentInput::Written),
            Ok(News::InputClosed) => self.agent.handle(AgentInput::InputClosed),
            Err(RecvTimeoutError::Timeout) => {
                assert!(Instant::now() < deadline, "nothing of the kind came: {:#?}", self.told);
            }
            Err(RecvTimeoutError::Disconnected) => panic!("the threads are gone"),
        }
        self.settle();
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
