//! The thread that looks after one worker's process: it writes what the worker is told, reads what it says, passes
//! orders on to it, and waits for its end. All of it is one loop around `poll`.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::lines::Lines;
use super::process::{Pipes, Process};
use super::{Mailbox, Order};
use crate::guardian::Guardian;

/// How long the output of a process that has ended is waited for. Only a descendant that left its group can
/// hold it open.
const DRAIN: Duration = Duration::from_secs(1);

/// How often to ask for the end of a process where the system has nothing to wait on.
const TICK: Duration = Duration::from_millis(50);

/// How much is read at once, in bytes. Lines of two bytes from both streams fill half of a backlog then, not more.
const READ_SIZE: usize = 8 * 1024;

/// How often it is looked whether those who follow have caught up.
const CROWDED_TICK: Duration = Duration::from_millis(5);

/// What is to be started, and by which rules.
pub(crate) struct Launch {
    pub(crate) command: Arc<[String]>,
    pub(crate) hidden_variables: Arc<[String]>,
    pub(crate) guardian: Arc<Guardian>,
    pub(crate) stop_grace: Duration,
}

/// What the worker said could not be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unkept;

/// Whom the thread tells what the worker says.
pub(crate) trait Attended {
    /// A line of standard output.
    fn output(&self, line: &str) -> Result<(), Unkept>;
    /// A line of standard error.
    fn diagnostic(&self, line: &str) -> Result<(), Unkept>;
    /// Whether those who follow can take more now. It is asked before each read, and while they cannot, every
    /// [`CROWDED_TICK`].
    fn has_room(&self) -> bool;
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// There was no process.
    NotStarted(io::ErrorKind),
    /// The process ended, by itself or by order.
    Exited(ExitStatus),
    /// The process had to be killed because what it said could not be kept.
    Unkept,
}

/// Runs a worker's process to its end.
pub(crate) fn attend(launch: &Launch, mailbox: &Mailbox, attended: &impl Attended) -> End {
    let end = if mailbox.ordered().is_some() {
        End::NotStarted(io::ErrorKind::Interrupted)
    } else {
        match Process::start(&launch.command, &launch.hidden_variables, &launch.guardian) {
            Ok((process, pipes)) => {
                Attendant::new(launch, mailbox, attended, pipes).run(process).unwrap_or(End::Unkept)
            }
            Err(error) => End::NotStarted(error.kind()),
        }
    };
    mailbox.close();
    end
}

/// A stream of output, as long as it is open.
struct Stream<R> {
    end: Option<R>,
    lines: Lines,
}

impl<R: Read> Stream<R> {
    fn new(end: R) -> Self {
        Self { end: Some(end), lines: Lines::default() }
    }

    /// Reads once.
    fn read(&mut self, mut line: impl FnMut(&str) -> Result<(), Unkept>) -> Result<(), Unkept> {
        let Some(end) = &mut self.end else { return Ok(()) };
        let mut buffer = [0; READ_SIZE];
        let mut kept = Ok(());
        let count = match end.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(_) => 0,
        };
        match buffer.get(..count) {
            None | Some([]) => self.end = None,
            Some(bytes) => self.lines.push(bytes, |text| kept = kept.and_then(|()| line(text))),
        }
        if self.end.is_none() {
            self.lines.finish(|text| kept = kept.and_then(|()| line(text)));
        }
        kept
    }

    /// Gives up on what is not there yet.
    fn close(&mut self, line: impl FnOnce(&str) -> Result<(), Unkept>) -> Result<(), Unkept> {
        self.end = None;
        let mut kept = Ok(());
        self.lines.finish(|text| kept = line(text));
        kept
    }
}

/// What `poll` watches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Bell,
    Exit,
    Stdin,
    Stdout,
    Stderr,
}

/// How far the ending of the process has got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    NotOrdered,
    Asked { until: Instant },
    Killed,
}

struct Attendant<'a, A> {
    launch: &'a Launch,
    mailbox: &'a Mailbox,
    attended: &'a A,
    stdin: Option<ChildStdin>,
    stdout: Stream<std::process::ChildStdout>,
    stderr: Stream<std::process::ChildStderr>,
    /// The input that is being written, and how much of it and its end of line is.
    writing: Option<(Arc<str>, usize)>,
    ending: Ending,
}

impl<'a, A: Attended> Attendant<'a, A> {
    fn new(launch: &'a Launch, mailbox: &'a Mailbox, attended: &'a A, pipes: Pipes) -> Self {
        Self {
            launch,
            mailbox,
            attended,
            stdin: Some(pipes.stdin),
            stdout: Stream::new(pipes.stdout),
            stderr: Stream::new(pipes.stderr),
            writing: None,
            ending: Ending::NotOrdered,
        }
    }

    fn run(mut self, process: Process) -> Result<End, Unkept> {
        while !process.has_ended() {
            self.obey(&process);
            self.write();
            let wait = match self.ending {
                Ending::Asked { until } => Some(until.saturating_duration_since(Instant::now())),
                Ending::NotOrdered | Ending::Killed => None,
            };
            let tick = process.exit().is_none().then_some(TICK);
            self.wait(Some(&process), wait.into_iter().chain(tick).min())?;
        }
        self.close_stdin();
        // Before the end is told, everything that was said is: for that the group has to be gone.
        let status = process.conclude();
        let until = Instant::now() + DRAIN;
        while self.stdout.end.is_some() || self.stderr.end.is_some() {
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                self.stdout.close(|line| self.attended.output(line))?;
                self.stderr.close(|line| self.attended.diagnostic(line))?;
            } else {
                self.wait(None, Some(rest))?;
            }
        }
        Ok(match status {
            Ok(status) => End::Exited(status),
            Err(error) => End::NotStarted(error.kind()),
        })
    }

    /// Waits until something can be done, and reads what there is.
    fn wait(&mut self, process: Option<&Process>, at_most: Option<Duration>) -> Result<(), Unkept> {
        let mut sources = Vec::with_capacity(5);
        let mut watched = Vec::with_capacity(5);
        let mut watch = |source, end, flags| {
            sources.push(source);
            watched.push(PollFd::from_borrowed_fd(end, flags));
        };
        if let Some(process) = process {
            watch(Source::Bell, self.mailbox.ear(), PollFlags::IN);
            if let Some(exit) = process.exit() {
                watch(Source::Exit, exit, PollFlags::IN);
            }
        }
        if let Some(stdin) = &self.stdin {
            // Without a flag it still tells when nobody can read it any more.
            let flags = if self.writing.is_some() { PollFlags::OUT } else { PollFlags::empty() };
            watch(Source::Stdin, stdin.as_fd(), flags);
        }
        // What is not read makes the process wait, as in any pipe.
        let has_room = self.attended.has_room();
        if let Some(stdout) = self.stdout.end.as_ref().filter(|_| has_room) {
            watch(Source::Stdout, stdout.as_fd(), PollFlags::IN);
        }
        if let Some(stderr) = self.stderr.end.as_ref().filter(|_| has_room) {
            watch(Source::Stderr, stderr.as_fd(), PollFlags::IN);
        }
        let at_most = if has_room { at_most } else { at_most.into_iter().chain([CROWDED_TICK]).min() };
        // A time that is too long for the system is as good as none.
        let timeout = at_most.and_then(|time| Timespec::try_from(time).ok());
        if poll(&mut watched, timeout.as_ref()).is_err() {
            // Interrupted, or out of memory: the next turn asks again.
            return Ok(());
        }
        let ready: Vec<(Source, PollFlags)> =
            sources.into_iter().zip(watched.iter().map(PollFd::revents)).collect();
        for (source, flags) in ready.into_iter().filter(|(_, flags)| !flags.is_empty()) {
            match source {
                Source::Bell => self.mailbox.hush(),
                // The loop asks the process itself.
                Source::Exit => {}
                Source::Stdin if flags.contains(PollFlags::ERR) => self.close_stdin(),
                // The loop writes on.
                Source::Stdin => {}
                Source::Stdout => self.stdout.read(|line| self.attended.output(line))?,
                Source::Stderr => self.stderr.read(|line| self.attended.diagnostic(line))?,
            }
        }
        Ok(())
    }

    /// Carries out what was ordered, and what has become due.
    fn obey(&mut self, process: &Process) {
        let due = match (self.mailbox.ordered(), self.ending) {
            (None, _) | (_, Ending::Killed) => return,
            (Some(Order::Stop), Ending::NotOrdered) => {
                process.signal(Signal::TERM);
                self.mailbox.close();
                // A time of grace that the clock cannot hold does not end.
                if let Some(until) = Instant::now().checked_add(self.launch.stop_grace) {
                    self.ending = Ending::Asked { until };
                }
                return;
            }
            (Some(Order::Stop), Ending::Asked { until }) => Instant::now() >= until,
            (Some(Order::Kill), _) => true,
        };
        if due {
            process.signal(Signal::KILL);
            self.ending = Ending::Killed;
        }
    }

    /// Writes as much as the process takes.
    fn write(&mut self) {
        while let Some(stdin) = &mut self.stdin {
            if self.writing.is_none() {
                self.writing = self.mailbox.next_input().map(|input| (input, 0));
            }
            let Some((input, written)) = &mut self.writing else { return };
            let rest = input.as_bytes().get(*written..).unwrap_or_default();
            match stdin.write_vectored(&[IoSlice::new(rest), IoSlice::new(b"\n")]) {
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.close_stdin(),
            }
            if *written > input.len() {
                self.mailbox.delivered(input);
                self.writing = None;
            }
        }
    }

    fn close_stdin(&mut self) {
        self.stdin = None;
        self.writing = None;
        self.mailbox.close();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::process::ExitStatusExt;

    use super::super::Undeliverable;
    use super::*;

    /// Notes what is said, and can react to it.
    struct Notes<F> {
        said: RefCell<Vec<String>>,
        react: F,
    }

    impl<F: Fn(&str) -> Result<(), Unkept>> Attended for Notes<F> {
        fn output(&self, line: &str) -> Result<(), Unkept> {
            self.said.borrow_mut().push(line.to_owned());
            (self.react)(line)
        }

        fn diagnostic(&self, line: &str) -> Result<(), Unkept> {
            self.said.borrow_mut().push(format!("! {line}"));
            Ok(())
        }

        fn has_room(&self) -> bool {
            true
        }
    }

    fn run(
        command: &[&str],
        stop_grace: Duration,
        prepare: impl Fn(&Mailbox),
        react: impl Fn(&Mailbox, &str) -> Result<(), Unkept>,
    ) -> (End, Vec<String>) {
        let launch = Launch {
            command: command.iter().map(|text| (*text).to_owned()).collect(),
            hidden_variables: Arc::new([]),
            guardian: Arc::new(Guardian::default()),
            stop_grace,
        };
        let mailbox = Mailbox::new().unwrap();
        prepare(&mailbox);
        let notes = Notes { said: RefCell::default(), react: |line: &str| react(&mailbox, line) };
        let end = attend(&launch, &mailbox, &notes);
        assert_eq!(mailbox.post("late".into()), Err(Undeliverable::Closed));
        (end, notes.said.into_inner())
    }

    fn nothing(_: &Mailbox) {}

    fn silent(_: &Mailbox, _: &str) -> Result<(), Unkept> {
        Ok(())
    }

    fn sh(script: &str) -> [&str; 3] {
        ["sh", "-c", script]
    }

    fn exited(code: i32) -> End {
        End::Exited(ExitStatus::from_raw(code << 8))
    }

    fn signalled(signal: i32) -> End {
        End::Exited(ExitStatus::from_raw(signal))
    }

    const LONG: Duration = Duration::from_secs(1000);

    #[test]
    fn inputs_are_lines_and_so_are_outputs() {
        let script = r#"read -r a; read -r b; echo "<$a> <$b>"; echo oh >&2; printf end; exit 3"#;
        let post = |mailbox: &Mailbox| {
            mailbox.post("one two".into()).unwrap();
            mailbox.post("".into()).unwrap();
        };
        let (end, mut said) = run(&sh(script), LONG, post, silent);
        // The two streams have no order between them.
        said.sort();
        assert_eq!((end, said), (exited(3), vec!["! oh".into(), "<one two> <>".into(), "end".into()]));
    }

    #[test]
    fn a_process_that_reads_slowly_gets_everything() {
        let input: Arc<str> = "x".repeat(500_000).into();
        let post = |mailbox: &Mailbox| {
            for _ in 0..4 {
                mailbox.post(Arc::clone(&input)).unwrap();
            }
        };
        let (end, said) = run(&sh("head -n 4 | wc -c; exec 0<&-"), LONG, post, silent);
        assert_eq!((end, said), (exited(0), vec!["2000004".into()]));
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure() {
        let (end, said) = run(&["/no/such/program"], LONG, nothing, silent);
        assert_eq!(end, exited(127));
        assert!(said.iter().all(|line| line.starts_with("! ")), "{said:?}");
    }

    #[test]
    fn closed_standard_input_is_noticed_while_the_process_runs() {
        let told = |mailbox: &Mailbox, line: &str| {
            match line {
                "closed" => {
                    // Noticed by then or with the next turn, in which this would be dropped.
                    let _ = mailbox.post("x".into());
                    mailbox.order(Order::Stop);
                }
                other => panic!("{other}"),
            }
            Ok(())
        };
        let (end, _) = run(&sh("exec 0<&-; echo closed; exec sleep 1000"), LONG, nothing, told);
        assert_eq!(end, signalled(15));
    }

    #[test]
    fn stop_asks_and_then_kills() {
        let stop = |mailbox: &Mailbox, _: &str| {
            mailbox.order(Order::Stop);
            Ok(())
        };
        let polite = r#"trap "echo bye; exit 7" TERM; echo ready; while :; do sleep 1000 & wait; done"#;
        let (end, said) = run(&sh(polite), LONG, nothing, stop);
        assert_eq!((end, said), (exited(7), vec!["ready".into(), "bye".into()]));

        let stubborn = r#"trap "" TERM; echo ready; while :; do sleep 1000; done"#;
        let (end, _) = run(&sh(stubborn), Duration::from_millis(100), nothing, stop);
        assert_eq!(end, signalled(9));
    }

    #[test]
    fn a_kill_does_not_wait() {
        let kill = |mailbox: &Mailbox, _: &str| {
            mailbox.order(Order::Stop);
            mailbox.order(Order::Kill);
            Ok(())
        };
        let stubborn = r#"trap "" TERM; echo ready; while :; do sleep 1000; done"#;
        assert_eq!(run(&sh(stubborn), LONG, nothing, kill).0, signalled(9));
    }

    #[test]
    fn an_order_that_comes_first_starts_nothing() {
        let (end, said) = run(&sh("echo x"), LONG, |mailbox| mailbox.order(Order::Stop), silent);
        assert_eq!((end, said.len()), (End::NotStarted(io::ErrorKind::Interrupted), 0));
    }

    #[test]
    fn what_a_leader_leaves_behind_is_killed() {
        // The pipe would be open for as long as anything of the group lives.
        let (end, said) = run(&sh("sleep 1000 & echo done"), LONG, nothing, silent);
        assert_eq!((end, said), (exited(0), vec!["done".into()]));
    }

    #[test]
    fn what_cannot_be_kept_ends_the_process() {
        let (end, _) = run(&sh("while :; do echo x; done"), LONG, nothing, |_, _| Err(Unkept));
        assert_eq!(end, End::Unkept);
    }
}
