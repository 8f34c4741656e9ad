//! What a key means, what a line means, and what is said in which order.

use std::collections::VecDeque;

use super::keys::Key;
use super::line::{History, Line};

/// How many lines may wait for those before them to be taken.
const MAX_WAITING: usize = 64;

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Say this to the worker.
    Say(String),
    Stop(Option<String>),
    Cancel(Option<String>),
    /// Tell what can be said and pressed.
    Help,
    /// Tell how to leave.
    SayHowToLeave,
    /// Tell that there is no such command.
    Unknown(String),
    Leave,
    ClearScreen,
    Suspend,
}

/// What must be answered, or repeated, before it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    Stop,
    Cancel,
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
}

impl Session {
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// What is asked instead of for a line.
    pub(super) fn question(&self) -> Option<Question> {
        self.question
    }

    /// What was said before, as if it had been written here.
    pub(super) fn remember(&mut self, said: &[String]) {
        said.iter().for_each(|line| self.history.add(line));
    }

    /// What a key means.
    pub(super) fn key(&mut self, key: Key) -> Option<Order> {
        let prefixed = std::mem::take(&mut self.prefixed);
        let interrupted = std::mem::take(&mut self.interrupted);
        if let Some(question) = self.question.take() {
            return matches!(key, Key::Char('y' | 'Y')).then_some(match question {
                Question::Stop => Order::Stop(None),
                Question::Cancel => Order::Cancel(None),
            });
        }
        match key {
            Key::Control('s') if prefixed => self.question = Some(Question::Stop),
            Key::Control('c') if prefixed => self.question = Some(Question::Cancel),
            Key::Control('x') => self.prefixed = true,
            Key::Enter => return self.enter(),
            Key::Control('c') if !self.line.is_empty() => {
                // The history has it, should that not have been meant.
                self.history.add(&self.line.take());
            }
            Key::Control('c') if interrupted => return Some(Order::Leave),
            Key::Control('c') => {
                self.interrupted = true;
                return Some(Order::SayHowToLeave);
            }
            Key::Control('d') if self.line.is_empty() => return Some(Order::Leave),
            Key::Control('l') => return Some(Order::ClearScreen),
            Key::Control('z') => return Some(Order::Suspend),
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

    /// Gives back what could not be said. Where another line is being written, it stays in the history.
    pub(super) fn give_back(&mut self, said: String) -> bool {
        let empty = self.line.is_empty();
        if empty {
            self.line.set(if said.starts_with('/') { format!("/{said}") } else { said });
        }
        empty
    }

    fn enter(&mut self) -> Option<Order> {
        let line = self.line.take();
        self.history.add(&line);
        let order = meaning(&line)?;
        if let Order::Unknown(_) = order {
            self.line.set(line);
        }
        Some(order)
    }
}

/// What a line means. One without anything on it means nothing.
fn meaning(line: &str) -> Option<Order> {
    if line.is_empty() {
        return None;
    }
    let Some(command) = line.strip_prefix('/') else { return Some(Order::Say(line.to_owned())) };
    if command.starts_with('/') {
        return Some(Order::Say(command.to_owned()));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let reason = Some(rest.trim().to_owned()).filter(|reason| !reason.is_empty());
    Some(match (name, &reason) {
        ("stop", _) => Order::Stop(reason),
        ("cancel", _) => Order::Cancel(reason),
        ("help", None) => Order::Help,
        ("quit", None) => Order::Leave,
        _ => Order::Unknown(line.lines().next().unwrap_or_default().to_owned()),
    })
}

/// Lines on their way to the worker, one at a time, so that they come in order, and none comes whose forerunner has not.
#[derive(Default, Debug)]
pub(super) struct Sending {
    lines: VecDeque<String>,
}

impl Sending {
    /// Adds a line; gives it back where too many wait.
    pub(super) fn add(&mut self, line: String) -> Result<(), String> {
        if self.lines.len() >= MAX_WAITING {
            return Err(line);
        }
        self.lines.push_back(line);
        Ok(())
    }

    /// The line to send now.
    pub(super) fn first(&self) -> Option<&str> {
        self.lines.front().map(String::as_str)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The first line was taken.
    pub(super) fn sent(&mut self) {
        self.lines.pop_front();
    }

    /// The first line was not taken, or nobody knows. It, and how many behind it are not sent for that reason.
    pub(super) fn failed(&mut self) -> (String, usize) {
        let first = self.lines.pop_front().unwrap_or_default();
        let behind = self.lines.len();
        self.lines.clear();
        (first, behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(session: &mut Session, text: &str) -> Option<Order> {
        text.chars().filter_map(|character| session.key(Key::Char(character))).last()
    }

    #[test]
    fn what_lines_mean() {
        let say = |text: &str| Some(Order::Say(text.into()));
        let because = Some("it is late".to_owned());
        for (line, expected) in [
            ("", None),
            ("ls /", say("ls /")),
            (" /stop", say(" /stop")),
            ("//etc/init", say("/etc/init")),
            ("two\nlines", say("two\nlines")),
            ("/stop", Some(Order::Stop(None))),
            ("/stop ", Some(Order::Stop(None))),
            ("/stop it is late", Some(Order::Stop(because.clone()))),
            ("/cancel it is late", Some(Order::Cancel(because))),
            ("/help", Some(Order::Help)),
            ("/quit", Some(Order::Leave)),
            ("/quit now", Some(Order::Unknown("/quit now".into()))),
            ("/stopp", Some(Order::Unknown("/stopp".into()))),
            ("/etc/init\nx", Some(Order::Unknown("/etc/init".into()))),
            ("/", Some(Order::Unknown("/".into()))),
        ] {
            assert_eq!(meaning(line), expected, "{line:?}");
        }
    }

    #[test]
    fn ctrl_c_clears_the_line_then_tells_then_leaves() {
        let mut session = Session::default();
        typed(&mut session, "ls");
        assert_eq!(session.key(Key::Control('c')), None);
        assert!(session.line().is_empty());
        assert_eq!(session.key(Key::Control('c')), Some(Order::SayHowToLeave));
        typed(&mut session, "x");
        session.key(Key::Backspace);
        assert_eq!(session.key(Key::Control('c')), Some(Order::SayHowToLeave));
        assert_eq!(session.key(Key::Control('c')), Some(Order::Leave));
        session.key(Key::Up);
        assert_eq!(session.line().text(), "ls", "what was cleared is not lost");
    }

    #[test]
    fn ctrl_d_leaves_from_an_empty_line_alone() {
        let mut session = Session::default();
        typed(&mut session, "x");
        assert_eq!(session.key(Key::Control('d')), None);
        session.key(Key::Backspace);
        assert_eq!(session.key(Key::Control('d')), Some(Order::Leave));
    }

    #[test]
    fn keys_that_end_the_worker_ask_first() {
        for (key, question, order) in
            [('s', Question::Stop, Order::Stop(None)), ('c', Question::Cancel, Order::Cancel(None))]
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
        typed(&mut session, "/hlep");
        assert_eq!(session.key(Key::Enter), Some(Order::Unknown("/hlep".into())));
        assert_eq!(session.line().text(), "/hlep");
        session.key(Key::Control('u'));
        assert!(session.give_back("ls".into()));
        assert!(!session.give_back("pwd".into()), "another line is being written");
        assert_eq!(session.line().text(), "ls");
        session.key(Key::Control('u'));
        assert!(session.give_back("/etc/init".into()));
        assert_eq!(session.line().text(), "//etc/init");
    }

    #[test]
    fn a_paste_of_lines_waits_for_enter() {
        let mut session = Session::default();
        assert_eq!(session.key(Key::Paste("a\nb\n".into())), None);
        assert_eq!(session.key(Key::Enter), Some(Order::Say("a\nb\n".into())));
    }

    #[test]
    fn lines_go_one_by_one_and_stop_at_a_failure() {
        let mut sending = Sending::default();
        for line in ["a", "b", "c"] {
            sending.add(line.into()).unwrap();
        }
        assert_eq!(sending.first(), Some("a"));
        sending.sent();
        assert_eq!(sending.failed(), ("b".into(), 1));
        assert_eq!(sending.first(), None);
        for _ in 0..MAX_WAITING {
            sending.add("x".into()).unwrap();
        }
        assert_eq!(sending.add("y".into()), Err("y".into()));
    }
}
