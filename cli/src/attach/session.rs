//! What a key means, what a line means, and in which order lines are sent.

use std::collections::VecDeque;

use sekisho_core::id::RequestId;

use super::keys::Key;
use super::line::{History, Line};
use super::open_requests::{Choice, OpenRequest, OpenRequests};

/// How many lines may wait for those before them to be taken.
const MAX_WAITING: usize = 64;

/// What the user wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum UserAction {
    /// Send this to the worker.
    Say(String),
    /// Send this to the worker, and keep it nowhere.
    SaySecret(String),
    /// Answer a question of the worker.
    Answer {
        request_id: RequestId,
        option_id: String,
    },
    /// Say that the question has no such option.
    NoSuchOption(OpenRequest),
    /// Send the end of input.
    Eof,
    /// Interrupt what the worker is doing.
    Interrupt,
    Stop(Option<String>),
    Cancel(Option<String>),
    /// Show the keys and commands.
    Help,
    /// Say how to leave.
    SayHowToLeave,
    /// Say how to interrupt.
    SayHowToInterrupt,
    Leave,
    ClearScreen,
    Suspend,
}

/// What must be answered, or repeated, before it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    Stop,
    Cancel,
    Eof,
}

/// The line that is being written, and what was pressed before.
#[derive(Default, Debug)]
pub(super) struct Session {
    line: Line,
    history: History,
    question: Option<Question>,
    /// Whether Ctrl-X was the last key.
    prefixed: bool,
    /// Whether Ctrl-C on an empty line was.
    interrupted: bool,
    /// Whether the worker says that it is at work.
    busy: bool,
    /// Whether a line was sent, so that something may run although the worker does not say so.
    sent: bool,
    /// Whether the line that is being written is a secret, and the line that it interrupted.
    secret: Option<String>,
    /// The questions of the worker that are shown and open.
    requests: OpenRequests,
    /// The question that was the oldest one when the line was begun: a number is meant for it alone, and never for one
    /// that came to be the oldest while the number was typed.
    meant: Option<OpenRequest>,
}

impl Session {
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// What is asked instead of for a line.
    pub(super) fn question(&self) -> Option<Question> {
        self.question
    }

    /// What was sent before, as if it had been written here.
    pub(super) fn remember(&mut self, said: &[String]) {
        said.iter().for_each(|line| self.history.add(line));
    }

    /// The questions of the worker that are shown and open now.
    pub(super) fn set_requests(&mut self, requests: OpenRequests) {
        self.requests = requests;
    }

    /// The question that a number on the line answers.
    pub(super) fn asked(&self) -> Option<&OpenRequest> {
        if self.line.is_empty() { self.requests.oldest() } else { self.meant.as_ref() }
    }

    /// What a key means.
    pub(super) fn key(&mut self, key: Key) -> Option<UserAction> {
        let was_empty = self.line.is_empty();
        let action = self.meaning_of(key);
        if was_empty && !self.line.is_empty() && self.secret.is_none() {
            self.meant = self.requests.oldest().cloned();
        }
        action
    }

    fn meaning_of(&mut self, key: Key) -> Option<UserAction> {
        let prefixed = std::mem::take(&mut self.prefixed);
        let interrupted = std::mem::take(&mut self.interrupted);
        if let Some(question) = self.question.take() {
            return matches!(key, Key::Char('y' | 'Y')).then_some(match question {
                Question::Stop => UserAction::Stop(None),
                Question::Cancel => UserAction::Cancel(None),
                Question::Eof => UserAction::Eof,
            });
        }
        if self.secret.is_some() {
            return self.secret_key(key);
        }
        match key {
            Key::Control('p') if prefixed => self.secret = Some(self.line.take()),
            Key::Control('d') if prefixed => self.question = Some(Question::Eof),
            Key::Control('s') if prefixed => self.question = Some(Question::Stop),
            Key::Control('c') if prefixed => self.question = Some(Question::Cancel),
            Key::Control('x') => self.prefixed = true,
            Key::Enter => return self.enter(),
            Key::Control('c') if !self.line.is_empty() => {
                // The history has it, should that not have been meant.
                self.history.add(&self.line.take());
            }
            Key::Control('c') => return Some(self.interrupt(interrupted)),
            Key::Control('d') if self.line.is_empty() => return Some(UserAction::Leave),
            Key::Control('l') => return Some(UserAction::ClearScreen),
            Key::Control('z') => return Some(UserAction::Suspend),
            Key::Up if self.line.up() => {}
            Key::Down if self.line.down() => {}
            Key::Up | Key::Control('p') => {
                let older = self.history.older(self.line.text());
                older.into_iter().for_each(|line| self.line.set(line));
            }
            Key::Down | Key::Control('n') => {
                self.history.newer().into_iter().for_each(|line| self.line.set(line));
            }
            key => drop(self.line.key(&key)),
        }
        None
    }

    /// Whether the line that is being written is a secret.
    pub(super) fn is_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// What a key means while a secret is written. The line is in no history.
    fn secret_key(&mut self, key: Key) -> Option<UserAction> {
        match key {
            Key::Enter => {
                let secret = self.line.take();
                self.end_secret();
                return Some(UserAction::SaySecret(secret));
            }
            Key::Control('c') => {
                self.line.take();
                self.end_secret();
            }
            Key::Control('l') => return Some(UserAction::ClearScreen),
            key => drop(self.line.key(&key)),
        }
        None
    }

    fn end_secret(&mut self) {
        self.line = Line::default();
        self.line.set(self.secret.take().unwrap_or_default());
    }

    /// What Ctrl-C on an empty line means. Where it is not known that something runs, it could end a worker that waits
    /// for input: it is asked for twice.
    fn interrupt(&mut self, again: bool) -> UserAction {
        self.interrupted = !again;
        match (self.busy, self.sent, again) {
            (true, _, _) | (false, true, true) => UserAction::Interrupt,
            (false, true, false) => UserAction::SayHowToInterrupt,
            (false, false, true) => UserAction::Leave,
            (false, false, false) => UserAction::SayHowToLeave,
        }
    }

    /// Gives back what could not be sent. Where another line is being written, it stays in the history.
    pub(super) fn give_back(&mut self, said: String) -> bool {
        let empty = self.line.is_empty();
        if empty {
            let ours = said.strip_prefix('/').is_some_and(is_command);
            self.line.set(if ours { format!("/{said}") } else { said });
        }
        empty
    }

    fn enter(&mut self) -> Option<UserAction> {
        let line = self.line.take();
        if let Some(request) = self.meant.take() {
            match request.choice(&line) {
                Choice::Option(option_id) => {
                    return Some(UserAction::Answer { request_id: request.request_id, option_id });
                }
                Choice::NoSuchOption => return Some(UserAction::NoSuchOption(request)),
                Choice::Nothing => {}
            }
        }
        self.history.add(&line);
        let action = meaning(line);
        self.sent |= matches!(action, UserAction::Say(_));
        Some(action)
    }

    /// Whether the worker says that it is at work.
    pub(super) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }
}

/// What a line means. One that begins with `/` and is no command of ours is the worker's.
fn meaning(line: String) -> UserAction {
    let Some(command) = line.strip_prefix('/') else { return UserAction::Say(line) };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let reason = Some(rest.trim().to_owned()).filter(|reason| !reason.is_empty());
    match (name, &reason) {
        ("stop", _) => UserAction::Stop(reason),
        ("cancel", _) => UserAction::Cancel(reason),
        ("interrupt", None) => UserAction::Interrupt,
        ("eof", None) => UserAction::Eof,
        ("help", None) => UserAction::Help,
        ("quit", None) => UserAction::Leave,
        _ => match command.strip_prefix('/') {
            // The first of two is there to tell it from a command of ours.
            Some(literal) if is_command(literal) => UserAction::Say(command.to_owned()),
            _ => UserAction::Say(line),
        },
    }
}

/// Whether what follows a slash is a command of ours.
fn is_command(text: &str) -> bool {
    let name = text.split(char::is_whitespace).next().unwrap_or_default();
    ["stop", "cancel", "interrupt", "eof", "help", "quit"].contains(&name)
}

/// Lines on their way to the worker, one at a time, so that they come in order, and none comes whose forerunner has not.
#[derive(Default, Debug)]
pub(super) struct Sending {
    lines: VecDeque<Sent>,
}

/// Something to be sent. Prints nothing of a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Sent {
    Line(String),
    Secret(String),
    Eof,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line) => f.debug_tuple("Line").field(line).finish(),
            Self::Secret(_) => f.write_str("Secret"),
            Self::Eof => f.write_str("Eof"),
        }
    }
}

impl Sending {
    /// Adds a line; gives it back where too many wait.
    pub(super) fn add(&mut self, line: Sent) -> Result<(), Sent> {
        if self.lines.len() >= MAX_WAITING {
            return Err(line);
        }
        self.lines.push_back(line);
        Ok(())
    }

    /// The line to send now.
    pub(super) fn first(&self) -> Option<&Sent> {
        self.lines.front()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The first line was taken.
    pub(super) fn sent(&mut self) -> Option<Sent> {
        self.lines.pop_front()
    }

    /// The first line was not taken, or that is not known. It, and how many behind it are not sent for that reason.
    pub(super) fn failed(&mut self) -> (Option<Sent>, usize) {
        let first = self.lines.pop_front();
        let behind = self.lines.len();
        self.lines.clear();
        (first, behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(session: &mut Session, text: &str) -> Option<UserAction> {
        text.chars().filter_map(|character| session.key(Key::Char(character))).last()
    }

    #[test]
    fn what_lines_mean() {
        let say = |text: &str| UserAction::Say(text.into());
        let because = Some("it is late".to_owned());
        for (line, expected) in [
            ("", say("")),
            ("ls /", say("ls /")),
            (" /stop", say(" /stop")),
            ("//etc/init", say("//etc/init")),
            ("/etc/init\nx", say("/etc/init\nx")),
            ("/compact now", say("/compact now")),
            ("/", say("/")),
            ("//", say("//")),
            ("//stop now", say("/stop now")),
            ("//stopp", say("//stopp")),
            ("two\nlines", say("two\nlines")),
            ("/stop", UserAction::Stop(None)),
            ("/stop ", UserAction::Stop(None)),
            ("/stop it is late", UserAction::Stop(because.clone())),
            ("/cancel it is late", UserAction::Cancel(because)),
            ("/help", UserAction::Help),
            ("/eof", UserAction::Eof),
            ("/interrupt", UserAction::Interrupt),
            ("/quit", UserAction::Leave),
            ("/quit now", say("/quit now")),
            ("/stopp", say("/stopp")),
        ] {
            assert_eq!(meaning(line.to_owned()), expected, "{line:?}");
        }
    }

    #[test]
    fn ctrl_c_clears_the_line_then_tells_then_leaves() {
        let mut session = Session::default();
        typed(&mut session, "ls");
        assert_eq!(session.key(Key::Control('c')), None);
        assert!(session.line().is_empty());
        assert_eq!(session.key(Key::Control('c')), Some(UserAction::SayHowToLeave));
        typed(&mut session, "x");
        session.key(Key::Backspace);
        assert_eq!(session.key(Key::Control('c')), Some(UserAction::SayHowToLeave));
        assert_eq!(session.key(Key::Control('c')), Some(UserAction::Leave));
        session.key(Key::Up);
        assert_eq!(session.line().text(), "ls", "what was cleared is not lost");
    }

    #[test]
    fn ctrl_d_leaves_from_an_empty_line_alone() {
        let mut session = Session::default();
        typed(&mut session, "x");
        assert_eq!(session.key(Key::Control('d')), None);
        session.key(Key::Backspace);
        assert_eq!(session.key(Key::Control('d')), Some(UserAction::Leave));
    }

    #[test]
    fn keys_that_end_the_worker_ask_first() {
        for (key, question, order) in
            [('s', Question::Stop, UserAction::Stop(None)), ('c', Question::Cancel, UserAction::Cancel(None))]
        {
            let mut session = Session::default();
            typed(&mut session, "draft");
            let mut ask = |answer| {
                assert_eq!(session.key(Key::Control('x')), None);
                assert_eq!(session.key(Key::Control(key)), None);
                assert_eq!(session.question(), Some(question));
                let order = session.key(answer);
                assert_eq!(session.question(), None);
                order
            };
            assert_eq!(ask(Key::Char('n')), None);
            assert_eq!(ask(Key::Enter), None);
            assert_eq!(ask(Key::Control('c')), None);
            assert_eq!(ask(Key::Char('y')), Some(order));
            assert_eq!(session.line().text(), "draft");
        }
        let mut session = Session::default();
        session.key(Key::Control('x'));
        typed(&mut session, "a");
        session.key(Key::Control('s'));
        assert_eq!(session.question(), None, "another key came between");
    }

    #[test]
    fn nothing_typed_is_lost() {
        let mut session = Session::default();
        assert!(session.give_back("ls".into()));
        assert!(!session.give_back("pwd".into()), "another line is being written");
        assert_eq!(session.line().text(), "ls");
        for (sent, line) in [("/etc/init", "/etc/init"), ("/stop", "//stop")] {
            session.key(Key::Control('u'));
            assert!(session.give_back(sent.into()));
            assert_eq!(session.line().text(), line);
            assert_eq!(session.key(Key::Enter), Some(UserAction::Say(sent.into())));
        }
    }

    #[test]
    fn a_paste_of_lines_waits_for_enter() {
        let mut session = Session::default();
        assert_eq!(session.key(Key::Paste("a\nb\n".into())), None);
        assert_eq!(session.key(Key::Enter), Some(UserAction::Say("a\nb\n".into())));
    }

    #[test]
    fn lines_go_one_by_one_and_stop_at_a_failure() {
        let line = |text: &str| Sent::Line(text.into());
        let mut sending = Sending::default();
        for text in ["a", "b", "c"] {
            sending.add(line(text)).unwrap();
        }
        assert_eq!(sending.first(), Some(&line("a")));
        sending.sent();
        assert_eq!(sending.failed(), (Some(line("b")), 1));
        assert_eq!(sending.first(), None);
        for _ in 0..MAX_WAITING {
            sending.add(line("x")).unwrap();
        }
        assert_eq!(sending.add(line("y")), Err(line("y")));
    }

    #[test]
    fn a_secret_is_in_no_history() {
        let mut session = Session::default();
        typed(&mut session, "draft");
        session.key(Key::Control('x'));
        assert_eq!(session.key(Key::Control('p')), None);
        assert!(session.is_secret() && session.line().is_empty());
        typed(&mut session, "hunter2");
        assert_eq!(session.key(Key::Up), None);
        assert_eq!(session.key(Key::Enter), Some(UserAction::SaySecret("hunter2".into())));
        assert_eq!((session.line().text(), session.is_secret()), ("draft", false));
        session.key(Key::Control('u'));
        session.key(Key::Up);
        session.key(Key::Control('y'));
        assert!(!session.line().text().contains("hunter2"), "{:?}", session.line());
        session.key(Key::Control('x'));
        session.key(Key::Control('p'));
        typed(&mut session, "hunter2");
        session.key(Key::Control('c'));
        assert!(!session.is_secret() && !format!("{session:?}").contains("hunter2"));
    }

    #[test]
    fn ctrl_c_interrupts_what_runs() {
        let mut session = Session::default();
        session.set_busy(true);
        for _ in 0..3 {
            assert_eq!(session.key(Key::Control('c')), Some(UserAction::Interrupt));
        }
        session.set_busy(false);
        typed(&mut session, "sleep 9");
        session.key(Key::Enter);
        for expected in [UserAction::SayHowToInterrupt, UserAction::Interrupt, UserAction::SayHowToInterrupt]
        {
            assert_eq!(session.key(Key::Control('c')), Some(expected));
        }
    }
}
