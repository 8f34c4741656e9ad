//! An interactive terminal for one worker.
//!
//! One thread reads the stream and puts what it shows into the [`Outlet`], which is bounded: what the terminal cannot
//! take yet is not read. Commands are sent by threads of their own. Everything else is one loop, which never waits but
//! for the next key, the next thing to show, or the terminal to take more of it; what keys and lines mean is decided by
//! [`Session`], what to write by [`Screen`].

mod keys;
mod line;
mod outlet;
mod post;
mod screen;
mod session;
mod stream;
mod terminal;

use std::any::Any;
use std::borrow::Cow;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anstyle::Style;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Signal, kill_current_process_group};
use sekisho_core::browser_api::Action;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Input, InputKind};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use self::keys::Keys;
use self::line::MAX_LINE;
use self::outlet::{Outlet, due};
use self::post::{Happening, Post};
use self::screen::{Screen, View};
use self::session::{Order, Question, Sending, Session};
use self::stream::{Stream, fate};
use self::terminal::Terminal;
use crate::backend::Backend;
use crate::commands;
use crate::failure::Failure;
use crate::show::Show;
use crate::text::{BAD, FAINT, STRONG, WARNING, painted, safe};

/// How long the rest of a key that begins with Escape may take, over a slow connection. Escape by itself means nothing.
const ESCAPE: Duration = Duration::from_millis(500);

/// How long a line may be on its way before that is told.
const SLOW: Duration = Duration::from_millis(300);

/// How long a terminal that takes nothing is waited for at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

const HELP: &str = "  Enter            sends the line; Alt-Enter begins another row of it
  Ctrl-D, /quit    leave, without stopping the worker; so does Ctrl-C, twice on an empty line
  Ctrl-C           clears the line; Up brings it back
  Ctrl-X Ctrl-S    stops the worker, once confirmed; /stop [REASON] at once
  Ctrl-X Ctrl-C    cancels the worker, once confirmed; /cancel [REASON] at once
  Up, Down         earlier lines, those of the worker's history included; editing keys as in bash
  Ctrl-L, Ctrl-Z   clear the screen, suspend
  //…              sends a line that begins with one /
  A paste of several lines becomes one line of several rows, which Enter sends as one.
";

/// Whether there can be an interactive terminal at all.
pub(crate) fn check(show: Show) -> Result<(), Failure> {
    let usage = |reason: &str| Err(Failure::Usage(format!("attach {reason}: use `send` and `watch`")));
    if show.json {
        return usage("is for people, and prints no JSON");
    }
    if !Terminal::is_there() {
        return usage("needs a terminal to read from and to write to");
    }
    Ok(())
}

/// Shows a worker's history and what it says, and says what is typed, until somebody leaves or the worker ends.
pub(crate) fn run(backend: &Arc<dyn Backend>, worker: &WorkerRef, show: Show) -> Result<(), Failure> {
    check(show)?;
    let failed = |error| Failure::Io { what: "cannot use the terminal", error };
    let (ending, left_behind) =
        Attached::new(backend, worker, show).and_then(Attached::run).map_err(failed)?;
    if left_behind > 0 {
        show.note(WARNING, &format!("{left_behind} of your lines may not have reached {worker}"));
    }
    match ending {
        Ending::Left if backend.keeps(&worker.runtime_id) => {
            show.note(WARNING, &format!("left {worker}, which ends with this command, as its runtime does"));
            Ok(())
        }
        Ending::Left => {
            show.note(FAINT, &format!("left {worker}, which goes on"));
            Ok(())
        }
        Ending::Ended(Ok(())) => {
            show.note(FAINT, &format!("{worker} has ended"));
            Ok(())
        }
        Ending::Ended(Err(failure)) => Err(failure),
        Ending::Signal(signal) => {
            // Whoever sent it sees that it was obeyed.
            let _ = emulate_default_handler(signal);
            Ok(())
        }
        Ending::NobodyThere => Ok(()),
        Ending::Panicked(panic) => panic::resume_unwind(panic),
    }
}

/// Why it is over.
enum Ending {
    Left,
    /// The stream has: with the worker, or for this reason.
    Ended(Result<(), Failure>),
    Signal(i32),
    /// The terminal is gone.
    NobodyThere,
    Panicked(Box<dyn Any + Send>),
}

/// What the loop knows.
struct Attached {
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
    /// How many stops and cancels are.
    unanswered: usize,
    outlet: Arc<Outlet>,
    /// What is to be shown of this side's own.
    notes: String,
    clear: bool,
    /// Whether what is shown of the line is not what it is.
    stale: bool,
    /// When output was last shown. Before there is any, there is no prompt either, unless somebody types.
    shown: Option<Instant>,
    /// What the terminal has not taken yet.
    unwritten: Vec<u8>,
    post: Post,
    happenings: Receiver<Happening>,
    bell: UnixStream,
    /// Until when the rest of a key is waited for.
    escape: Option<Instant>,
    leaving: bool,
    ended: Option<Result<(), Failure>>,
}

impl Attached {
    fn new(backend: &Arc<dyn Backend>, worker: &WorkerRef, show: Show) -> io::Result<Self> {
        let (post, happenings, bell) = Post::new()?;
        let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGWINCH, SIGCONT])?;
        let of_signals = post.clone();
        thread::spawn(move || {
            signals.forever().for_each(|signal| of_signals.tell(Happening::Signal(signal)))
        });
        let terminal = Terminal::open()?;
        let (columns, rows) = terminal.size();
        let outlet = Arc::<Outlet>::default();
        let stream = Stream {
            backend: backend.clone(),
            worker: worker.clone(),
            show,
            outlet: outlet.clone(),
            post: post.clone(),
        };
        post.spawn(move || Happening::StreamEnded(stream.show()));
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
            outlet,
            notes: String::new(),
            clear: false,
            stale: false,
            shown: None,
            unwritten: Vec::new(),
            post,
            happenings,
            bell,
            escape: None,
            leaving: false,
            ended: None,
        })
    }

    /// The loop. Why it ended, and how many lines were on their way then.
    fn run(mut self) -> io::Result<(Ending, usize)> {
        let ending = loop {
            if let Some(ending) = self.turn()? {
                break ending;
            }
        };
        let drop_typed = matches!(ending, Ending::Ended(_));
        if !matches!(ending, Ending::NobodyThere) {
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
        self.paint(now);
        let Ok(written) = self.terminal.write(&self.unwritten) else { return Ok(Some(Ending::NobodyThere)) };
        self.unwritten.drain(..written);
        if self.unwritten.is_empty()
            && self.outlet.len() == 0
            && self.notes.is_empty()
            && let Some(end) = self.ended.take()
        {
            return Ok(Some(Ending::Ended(end)));
        }
        if self.leaving && self.sending.len() + self.unanswered == 0 {
            return Ok(Some(Ending::Left));
        }
        if self.wait(now)? {
            let mut buffer = [0; 4096];
            match self.terminal.read(&mut buffer) {
                Ok([]) => return Ok(Some(Ending::NobodyThere)),
                Ok(bytes) => {
                    for key in self.keys.feed(bytes) {
                        if let Some(ending) = self.key(key) {
                            return Ok(Some(ending));
                        }
                    }
                    self.escape = self.keys.is_waiting().then(|| Instant::now() + ESCAPE);
                    self.stale = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(Some(Ending::NobodyThere)),
            }
        }
        if self.escape.is_some_and(|until| until <= Instant::now()) {
            self.keys.give_up();
            self.escape = None;
        }
        while let Ok(happening) = self.happenings.try_recv() {
            if let Some(ending) = self.happened(happening) {
                return Ok(Some(ending));
            }
        }
        Ok(None)
    }

    /// Waits for something to do; whether it is a key.
    fn wait(&mut self, now: Instant) -> io::Result<bool> {
        let waiting = self.outlet.len();
        let to_show = if !self.unwritten.is_empty() {
            None
        } else if self.clear || self.stale || !self.notes.is_empty() {
            Some(now)
        } else {
            (waiting > 0).then(|| due(waiting, self.shown).unwrap_or(now))
        };
        let slow = self.sent.map(|sent| sent + SLOW).filter(|slow| *slow > now);
        let until = [to_show, slow, self.escape].into_iter().flatten().min();
        let patience = until.map(|until| until.saturating_duration_since(Instant::now()));
        // Bounded by the constants above.
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let for_out = if self.unwritten.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut asked = [
            PollFd::new(self.terminal.input(), PollFlags::IN),
            PollFd::new(&self.bell, PollFlags::IN),
            PollFd::new(self.terminal.out(), for_out),
        ];
        match rustix::event::poll(&mut asked, patience.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let has_key = !asked[0].revents().is_empty();
        // What it was rung for is looked for in any case.
        let _ = self.bell.read(&mut [0; 64]);
        Ok(has_key)
    }

    /// Decides what to write next, once the terminal has taken what was written last.
    fn paint(&mut self, now: Instant) {
        if !self.unwritten.is_empty() {
            return;
        }
        let waiting = self.outlet.len();
        let output = waiting > 0 && due(waiting, self.shown).is_none_or(|due| due <= now);
        let slow = self.sent.is_some_and(|sent| sent + SLOW <= now);
        let prompt = prompt(&self.worker, self.session.question(), slow);
        let (style, line, at) = match self.session.question() {
            Some(_) => (WARNING, "", 0),
            None => (STRONG, self.session.line().text(), self.session.line().at()),
        };
        let view = View { prompt: &prompt, style, color: self.show.color, line, at };
        let text = if std::mem::take(&mut self.clear) {
            self.screen.clear(&view)
        } else if !self.notes.is_empty() {
            self.screen.note(&std::mem::take(&mut self.notes), &view)
        } else if output {
            self.shown = Some(now);
            self.screen.output(&self.outlet.take(), &view)
        } else if self.stale || slow {
            self.screen.view(&view)
        } else {
            return;
        };
        self.stale = false;
        self.unwritten = text.into_bytes();
    }

    fn key(&mut self, key: keys::Key) -> Option<Ending> {
        match self.session.key(key)? {
            Order::Say(line) => match self.sending.add(line) {
                Ok(()) if self.sent.is_none() => self.send_first(),
                Ok(()) => {}
                Err(line) => {
                    self.session.give_back(line);
                    self.tell(WARNING, "too many lines are on their way: this one was not sent");
                }
            },
            Order::Stop(reason) => self.ask(commands::stop(&self.worker, reason)),
            Order::Cancel(reason) => self.ask(commands::cancel(&self.worker, reason)),
            Order::Help => self.notes.push_str(&painted(self.show.color, FAINT, HELP)),
            Order::SayHowToLeave => {
                let fate = fate(&*self.backend, &self.worker);
                self.tell(FAINT, &format!("Ctrl-D, or Ctrl-C once more, leaves, {fate}"));
            }
            Order::Unknown(line) => {
                let text = format!(
                    "there is no {line}: /help lists what there is, //… sends a line that begins with /"
                );
                self.tell(WARNING, &text);
            }
            Order::Leave if self.leaving => return Some(Ending::Left),
            Order::Leave => {
                self.leaving = true;
                if self.sent.is_some() {
                    self.tell(FAINT, "leaving once your last line is taken; Ctrl-D leaves at once");
                }
            }
            Order::ClearScreen => self.clear = true,
            Order::Suspend => self.suspend(),
        }
        None
    }

    fn happened(&mut self, happening: Happening) -> Option<Ending> {
        match happening {
            Happening::Said(said) => self.session.remember(&said),
            Happening::Sent(Ok(())) => {
                self.sending.sent();
                self.send_first();
                self.stale = true;
            }
            Happening::Sent(Err(failure)) => {
                (self.sent, self.leaving) = (None, false);
                let (line, behind) = self.sending.failed();
                self.tell(BAD, &failure.to_string());
                if behind > 0 {
                    self.tell(
                        WARNING,
                        &format!("nor were {behind} more sent after that: Up brings them back"),
                    );
                }
                if !self.session.give_back(line) {
                    self.tell(WARNING, "another line is being written: Up brings back what was not sent");
                }
            }
            Happening::Answered(answer) => {
                self.unanswered -= 1;
                match answer {
                    Ok(text) => self.tell(FAINT, &text),
                    Err(failure) => {
                        self.leaving = false;
                        self.tell(BAD, &failure.to_string());
                    }
                }
            }
            Happening::StreamEnded(end) => self.ended = Some(end),
            Happening::Signal(SIGWINCH) => {
                let (columns, rows) = self.terminal.size();
                self.screen.resize(columns, rows);
                self.stale = true;
            }
            Happening::Signal(SIGCONT) => self.resume(),
            Happening::Signal(signal) => return Some(Ending::Signal(signal)),
            Happening::Panicked(panic) => return Some(Ending::Panicked(panic)),
        }
        None
    }

    /// Something of this side's own, above the line.
    fn tell(&mut self, style: Style, text: &str) {
        let text = format!("sekisho: {}", safe(text));
        self.notes.push_str(&painted(self.show.color, style, &text));
        self.notes.push('\n');
    }

    /// Sends the first of the lines that wait.
    fn send_first(&mut self) {
        let Some(content) = self.sending.first().map(str::to_owned) else {
            self.sent = None;
            return;
        };
        self.sent = Some(Instant::now());
        let (backend, worker) = (self.backend.clone(), self.worker.clone());
        self.post.spawn(move || {
            let input = Input { kind: InputKind::User, content };
            let sent = commands::input(&worker, input, None)
                .and_then(|action| Ok(backend.ask(&action)?))
                .and_then(|body| commands::acknowledgement(&worker, &body));
            Happening::Sent(sent.map(drop))
        });
    }

    /// Stops or cancels the worker.
    fn ask(&mut self, action: Action) {
        self.unanswered += 1;
        let (backend, worker) = (self.backend.clone(), self.worker.clone());
        self.post.spawn(move || {
            let answer = backend.ask(&action).map_err(Failure::from);
            Happening::Answered(answer.and_then(|body| commands::acknowledgement(&worker, &body)))
        });
    }

    /// Gives the terminal back for a while.
    fn suspend(&mut self) {
        self.unwritten.extend_from_slice(self.screen.leave().as_bytes());
        self.write_out();
        self.terminal.restore(false);
        // Where nobody could bring it back, the system does not stop it.
        let _ = kill_current_process_group(Signal::TSTP);
        self.resume();
    }

    fn resume(&mut self) {
        // A terminal that cannot be switched any more tells so when it is read.
        let _ = self.terminal.enter();
        let (columns, rows) = self.terminal.size();
        self.screen.resize(columns, rows);
        self.stale = true;
    }

    /// Writes all that is to be written, as long as the terminal takes it.
    fn write_out(&mut self) {
        let until = Instant::now() + LAST_WORDS;
        while let Ok(written) = self.terminal.write(&self.unwritten) {
            self.unwritten.drain(..written);
            let left = until.saturating_duration_since(Instant::now());
            if self.unwritten.is_empty() || left.is_zero() {
                break;
            }
            let mut asked = [PollFd::new(self.terminal.out(), PollFlags::OUT)];
            let patience = Timespec::try_from(left).ok();
            let _ = rustix::event::poll(&mut asked, patience.as_ref());
        }
        self.unwritten.clear();
    }
}

/// What stands before the line.
fn prompt(worker: &WorkerRef, question: Option<Question>, slow: bool) -> Cow<'static, str> {
    match question {
        Some(Question::Stop) => "stop the worker? (y/N) ".into(),
        Some(Question::Cancel) => "cancel the worker? (y/N) ".into(),
        None if slow => format!("{worker} (sending)> ").into(),
        None => format!("{worker}> ").into(),
    }
}
