//! The loop of an interactive terminal.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anstyle::Style;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Signal, kill_current_process_group};
use sekisho_core::browser_api::Action;
use sekisho_core::id::{RequestId, WorkerRef};
use sekisho_core::runtime_api::{Input, InputKind, WorkerEnd};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::keys::{Key, Keys};
use super::line::MAX_LINE;
use super::mailbox::{Mailbox, Message, Sender, mailbox};
use super::open_requests::{OpenRequests, told};
use super::output_queue::due;
use super::screen::{Screen, View};
use super::session::{Question, Sending, Sent, Session, UserAction};
use super::stream::{Output, StreamThread, fate, note};
use super::{Ending, HELP};
use crate::backend::Backend;
use crate::failure::Failure;
use crate::render::{RenderOptions, Renderer};
use crate::requests::{acknowledgement, answer, cancel, input, interrupt, stop};
use crate::show::Show;
use crate::terminal::LINES;
use crate::terminal::Terminal;
use crate::text::{BAD, FAINT, STRONG, WARNING, painted};

/// How long the rest of a key that begins with Escape may take, over a slow connection. Escape by itself means nothing.
const ESCAPE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a line may be on its way before the prompt says so.
const SLOW: Duration = Duration::from_millis(300);

/// How long a terminal that takes nothing is waited for at the end.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// The loop, and what it knows.
pub(super) struct EventLoop {
    backend: Arc<dyn Backend>,
    worker: WorkerRef,
    show: Show,
    terminal: Terminal,
    screen: Screen,
    keys: Keys,
    session: Session,
    sending: Sending,
    /// Since when the first line is on its way.
    sent: Option<Instant>,
    /// How many other commands are on their way.
    unanswered: usize,
    output: Arc<Output>,
    /// Lines about this program that are to be shown.
    notes: String,
    clear: bool,
    /// Whether the line that is shown is no longer the line that is written.
    stale: bool,
    /// When output was last shown. Before that there is no prompt either, unless a key is pressed.
    shown: Option<Instant>,
    /// What the terminal has not taken yet.
    unwritten: Vec<u8>,
    sender: Sender,
    mailbox: Mailbox,
    /// Whether the worker can be reached. While it cannot, lines wait.
    reachable: bool,
    /// Messages that were acknowledged, and are not shown yet.
    acknowledged: VecDeque<String>,
    /// The open questions, where what tells of them is not shown yet.
    unshown_requests: Option<OpenRequests>,
    /// When the rest of a key is overdue.
    escape: Option<Instant>,
    leaving: bool,
    ended: Option<Result<Option<WorkerEnd>, Failure>>,
}

impl EventLoop {
    pub(super) fn new(backend: &Arc<dyn Backend>, worker: &WorkerRef, show: Show) -> io::Result<Self> {
        let (sender, mailbox) = mailbox()?;
        let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGWINCH, SIGCONT])?;
        let of_signals = sender.clone();
        thread::spawn(move || signals.forever().for_each(|signal| of_signals.send(Message::Signal(signal))));
        let terminal = Terminal::open(LINES)?;
        let (columns, rows) = terminal.size();
        let render = RenderOptions { color: show.color, verbose: false, rewritable: true };
        let output = Arc::new(Output::new(Renderer::new(render)));
        let stream = StreamThread {
            backend: backend.clone(),
            worker: worker.clone(),
            output: output.clone(),
            sender: sender.clone(),
        };
        sender.spawn(move || Message::StreamEnded(stream.run()));
        Ok(Self {
            backend: backend.clone(),
            worker: worker.clone(),
            show,
            terminal,
            screen: Screen::new(columns, rows),
            keys: Keys::new(MAX_LINE),
            session: Session::default(),
            sending: Sending::default(),
            sent: None,
            unanswered: 0,
            output,
            notes: String::new(),
            clear: false,
            stale: false,
            shown: None,
            unwritten: Vec::new(),
            sender,
            mailbox,
            reachable: true,
            acknowledged: VecDeque::new(),
            unshown_requests: None,
            escape: None,
            leaving: false,
            ended: None,
        })
    }

    /// The loop. Why it ended, and how many lines were on their way then.
    pub(super) fn run(mut self) -> io::Result<(Ending, usize)> {
        let ending = loop {
            if let Some(ending) = self.turn()? {
                break ending;
            }
        };
        let drop_typed = matches!(ending, Ending::Ended(_));
        if !matches!(ending, Ending::TerminalGone) {
            let last = if self.session.line().is_empty() { self.screen.close() } else { self.screen.leave() };
            self.unwritten.extend_from_slice(last.as_bytes());
            self.write_out();
        }
        self.terminal.restore(drop_typed);
        Ok((ending, self.sending.len()))
    }

    /// Shows what there is to show, and deals with what happens next.
    fn turn(&mut self) -> io::Result<Option<Ending>> {
        let now = Instant::now();
        while let Some(message) = self.acknowledged.front()
            && self.output.try_acknowledged(message)
        {
            self.acknowledged.pop_front();
        }
        self.paint(now);
        let Ok(written) = self.terminal.write(&self.unwritten) else { return Ok(Some(Ending::TerminalGone)) };
        self.unwritten.drain(..written);
        if self.unwritten.is_empty()
            && self.output.queue.len() == 0
            && self.notes.is_empty()
            && let Some(end) = self.ended.take()
        {
            return Ok(Some(Ending::Ended(end)));
        }
        if self.leaving && self.sending.len() + self.unanswered == 0 {
            return Ok(Some(Ending::Left));
        }
        let has_key = self.wait(now)?;
        // Before the keys, which are meant for what is shown: questions are told of before what follows them is.
        let messages: Vec<Message> = self.mailbox.messages().collect();
        for message in messages {
            if let Some(ending) = self.handle(message) {
                return Ok(Some(ending));
            }
        }
        if has_key {
            let mut buffer = [0; 4096];
            match self.terminal.read(&mut buffer) {
                Ok([]) => return Ok(Some(Ending::TerminalGone)),
                Ok(bytes) => {
                    for key in self.keys.feed(bytes) {
                        if let Some(ending) = self.key(key) {
                            return Ok(Some(ending));
                        }
                    }
                    self.escape = self.keys.is_waiting().then(|| Instant::now() + ESCAPE_TIMEOUT);
                    self.stale = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(Some(Ending::TerminalGone)),
            }
        }
        if self.escape.is_some_and(|until| until <= Instant::now()) {
            self.keys.give_up();
            self.escape = None;
        }
        Ok(None)
    }

    /// Waits for something to do; whether it is a key.
    fn wait(&mut self, now: Instant) -> io::Result<bool> {
        let waiting = self.output.queue.len();
        let to_show = if !self.unwritten.is_empty() {
            None
        } else if self.clear || self.stale || !self.notes.is_empty() {
            Some(now)
        } else {
            (waiting > 0).then(|| due(waiting, self.shown).unwrap_or(now))
        };
        let slow = self.sent.map(|sent| sent + SLOW).filter(|slow| *slow > now);
        let until = [to_show, slow, self.escape].into_iter().flatten().min();
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        // Bounded by the constants above.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let for_out = if self.unwritten.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut polled = [
            PollFd::new(self.terminal.input(), PollFlags::IN),
            PollFd::new(self.mailbox.wake_fd(), PollFlags::IN),
            PollFd::new(self.terminal.out(), for_out),
        ];
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let has_key = !polled[0].revents().is_empty();
        self.mailbox.drain();
        Ok(has_key)
    }

    /// Decides what to write next, once the terminal has taken what was written last.
    fn paint(&mut self, now: Instant) {
        if !self.unwritten.is_empty() {
            return;
        }
        let waiting = self.output.queue.len();
        let output = waiting > 0 && due(waiting, self.shown).is_none_or(|due| due <= now);
        let slow = self.sent.is_some_and(|sent| sent + SLOW <= now);
        let mut state = match (self.reachable, slow) {
            (false, _) => " (away)".to_owned(),
            (true, true) => " (sending)".to_owned(),
            (true, false) => String::new(),
        };
        if let Some(request) = self.session.asked() {
            state.push_str(&format!(" ({})", request.hint()));
        }
        let prompt = match self.session.is_secret() {
            true => "secret (not shown)> ".into(),
            false => prompt(&self.worker, self.session.question(), &state),
        };
        let (style, line, at) = match self.session.question() {
            Some(_) => (WARNING, "", 0),
            None if self.session.is_secret() => (WARNING, "", 0),
            None => (STRONG, self.session.line().text(), self.session.line().at()),
        };
        let view = View { prompt: &prompt, style, color: self.show.color, line, at };
        let text = if std::mem::take(&mut self.clear) {
            self.screen.clear(&view)
        } else if !self.notes.is_empty() {
            self.screen.note(&std::mem::take(&mut self.notes), &view)
        } else if output {
            self.shown = Some(now);
            self.screen.output(&self.output.queue.take(), &view)
        } else if self.stale || slow {
            self.screen.view(&view)
        } else {
            return;
        };
        self.stale = false;
        self.unwritten = text.into_bytes();
        self.requests_shown();
    }

    fn key(&mut self, key: Key) -> Option<Ending> {
        match self.session.key(key)? {
            UserAction::Say(line) => self.say(Sent::Line(line)),
            UserAction::SaySecret(secret) => self.say(Sent::Secret(secret)),
            UserAction::Answer { request_id, option_id } => self.answer(request_id, option_id),
            UserAction::NoSuchOption(request) => {
                let text = format!("{}; a space before a digit sends it as a message", request.hint());
                self.tell(WARNING, &text);
            }
            UserAction::Eof => self.say(Sent::Eof),
            UserAction::Interrupt => match interrupt(&self.worker) {
                Ok(action) => self.ask(action),
                Err(failure) => self.tell(BAD, &failure.to_string()),
            },
            UserAction::Stop(reason) => self.ask(stop(&self.worker, reason)),
            UserAction::Cancel(reason) => self.ask(cancel(&self.worker, reason)),
            UserAction::Help => self.notes.push_str(&painted(self.show.color, FAINT, HELP)),
            UserAction::SayHowToLeave => {
                let fate = fate(&*self.backend, &self.worker);
                self.tell(FAINT, &format!("Ctrl-D, or Ctrl-C once more, leaves, {fate}"));
            }
            UserAction::SayHowToInterrupt => {
                self.tell(FAINT, "Ctrl-C once more interrupts the worker; Ctrl-D leaves");
            }
            UserAction::Leave if self.leaving => return Some(Ending::Left),
            UserAction::Leave => {
                self.leaving = true;
                if self.sent.is_some() {
                    self.tell(FAINT, "leaving once your last line is taken; Ctrl-D leaves at once");
                }
            }
            UserAction::ClearScreen => self.clear = true,
            UserAction::Suspend => self.suspend(),
        }
        None
    }

    /// Sends something behind what waits to be sent.
    fn say(&mut self, sent: Sent) {
        match self.sending.add(sent) {
            Ok(()) if !self.reachable => {
                let text = format!("this line waits until {} can be reached again", self.worker);
                self.tell(FAINT, &text);
            }
            Ok(()) if self.sent.is_none() => self.send_first(),
            Ok(()) => {}
            Err(sent) => {
                self.give_back(Some(sent));
                self.tell(WARNING, "too many lines are on their way: this one was not sent");
            }
        }
    }

    /// Gives back a line that was not sent.
    fn give_back(&mut self, sent: Option<Sent>) {
        let given = match sent {
            Some(Sent::Line(line)) => self.session.give_back(line),
            Some(Sent::Secret(_)) => {
                self.tell(WARNING, "a secret is kept nowhere: it has to be entered again");
                true
            }
            Some(Sent::Eof) | None => true,
        };
        if !given {
            self.tell(WARNING, "another line is being written: Up brings back what was not sent");
        }
    }

    fn handle(&mut self, message: Message) -> Option<Ending> {
        match message {
            Message::History(lines) => self.session.remember(&lines),
            Message::Busy(busy) => self.session.set_busy(busy),
            Message::Reachable(reachable) => {
                self.reachable = reachable;
                self.stale = true;
                if reachable && self.sent.is_none() {
                    self.send_first();
                }
            }
            Message::Requests(requests) => {
                self.unshown_requests = Some(requests);
                self.requests_shown();
            }
            Message::Sent(Ok(())) => {
                if let Some(Sent::Line(line)) = self.sending.sent() {
                    self.acknowledged.push_back(line);
                }
                self.send_first();
                self.stale = true;
            }
            Message::Sent(Err(failure)) => {
                (self.sent, self.leaving) = (None, false);
                let (line, behind) = self.sending.failed();
                self.tell(BAD, &failure.to_string());
                if behind > 0 {
                    self.tell(
                        WARNING,
                        &format!("nor were {behind} more sent after that: Up brings them back"),
                    );
                }
                self.give_back(line);
            }
            Message::Answered(answer) => {
                self.unanswered -= 1;
                match answer {
                    Ok(text) => self.tell(FAINT, &text),
                    Err(failure) => {
                        self.leaving = false;
                        self.tell(BAD, &failure.to_string());
                    }
                }
            }
            Message::StreamEnded(end) => self.ended = Some(end),
            Message::Signal(SIGWINCH) => {
                let (columns, rows) = self.terminal.size();
                self.screen.resize(columns, rows);
                self.stale = true;
            }
            Message::Signal(SIGCONT) => self.resume(),
            Message::Signal(signal) => return Some(Ending::Signal(signal)),
            Message::Panicked(panic) => return Some(Ending::Panicked(panic)),
        }
        None
    }

    /// A line about this program, above the line that is written.
    fn tell(&mut self, style: Style, text: &str) {
        self.notes.push_str(&note(style, self.show.color, text));
    }

    /// Sends the first of the lines that wait.
    fn send_first(&mut self) {
        let first = self.sending.first().filter(|_| self.reachable).cloned();
        let Some(first) = first else {
            self.sent = None;
            return;
        };
        self.sent = Some(Instant::now());
        let (backend, worker) = (self.backend.clone(), self.worker.clone());
        self.sender.spawn(move || {
            let said = match first {
                Sent::Line(line) => Input::new(InputKind::User, line),
                Sent::Secret(secret) => Input { secret: true, ..Input::new(InputKind::User, secret) },
                Sent::Eof => Input::eof(),
            };
            let sent = input(&worker, said, None)
                .and_then(|action| Ok(backend.ask(&action)?))
                .and_then(|body| acknowledgement(&worker, &body));
            Message::Sent(sent.map(drop))
        });
    }

    /// Stops or cancels the worker.
    fn ask(&mut self, action: Action) {
        self.unanswered += 1;
        let (backend, worker) = (self.backend.clone(), self.worker.clone());
        self.sender.spawn(move || {
            let answer = backend.ask(&action).map_err(Failure::from);
            Message::Answered(answer.and_then(|body| acknowledgement(&worker, &body)))
        });
    }

    /// Answers a question of the worker.
    fn answer(&mut self, request_id: RequestId, option_id: String) {
        self.unanswered += 1;
        let (backend, worker) = (self.backend.clone(), self.worker.clone());
        self.sender.spawn(move || {
            let action = answer(&worker, request_id.clone(), Some(option_id.clone()));
            Message::Answered(action.and_then(|action| told(&request_id, &option_id, backend.ask(&action))))
        });
    }

    /// A question can be answered from when it is shown until its end is: what is typed is meant for what is seen.
    fn requests_shown(&mut self) {
        if self.output.queue.len() == 0
            && let Some(requests) = self.unshown_requests.take()
        {
            self.session.set_requests(requests);
            self.stale = true;
        }
    }

    /// Gives the terminal back for a while.
    fn suspend(&mut self) {
        self.unwritten.extend_from_slice(self.screen.leave().as_bytes());
        self.write_out();
        self.terminal.restore(false);
        // Where no shell could continue it, the system does not stop it.
        let _ = kill_current_process_group(Signal::TSTP);
        self.resume();
    }

    fn resume(&mut self) {
        // A terminal that can no longer be switched fails when it is read.
        let _ = self.terminal.enter();
        let (columns, rows) = self.terminal.size();
        self.screen.resize(columns, rows);
        self.stale = true;
    }

    /// Writes all that is to be written, as long as the terminal takes it.
    fn write_out(&mut self) {
        let until = Instant::now() + LAST_WRITE_TIMEOUT;
        while let Ok(written) = self.terminal.write(&self.unwritten) {
            self.unwritten.drain(..written);
            let left = until.saturating_duration_since(Instant::now());
            if self.unwritten.is_empty() || left.is_zero() {
                break;
            }
            let mut polled = [PollFd::new(self.terminal.out(), PollFlags::OUT)];
            let timeout = Timespec::try_from(left).ok();
            let _ = rustix::event::poll(&mut polled, timeout.as_ref());
        }
        self.unwritten.clear();
    }
}

/// What stands before the line.
fn prompt(worker: &WorkerRef, question: Option<Question>, state: &str) -> Cow<'static, str> {
    match question {
        Some(Question::Stop) => "stop the worker? (y/N) ".into(),
        Some(Question::Eof) => "send the end of input? (y/N) ".into(),
        Some(Question::Cancel) => "cancel the worker? (y/N) ".into(),
        None => format!("{worker}{state}> ").into(),
    }
}
