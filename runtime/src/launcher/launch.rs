//! The launcher: it looks after one worker's program, and leaves nothing of it behind.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, setsid, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::descendants::{ask_to_end, hang_up_again, kill_children, remember};
use super::message::{Channel, Message, NotStarted};
use super::{Helper, Parent, Role, conceal_process};

/// How soon what was killed is looked for again. It doubles, up to [`MAX_TICK`].
const MIN_TICK: Duration = Duration::from_millis(1);

/// How seldom it is looked for in the end: what cannot be killed is another user's, or hangs in the kernel.
const MAX_TICK: Duration = Duration::from_millis(200);

/// How long after a stop it is looked again what on the terminal ignores it.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// Makes this process the launcher that the runtime at the other end asks for.
pub(super) fn run(control: Channel, parent: Parent) -> io::Result<()> {
    let _ = setsid();
    let _ = conceal_process();
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let signals = Signals::heed()?;
    parent.watch(Signal::TERM)?;
    let Some((Message::Start(program), descriptors)) = control.receive()? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    match start(&Message::Start(program.clone()), descriptors) {
        Ok((starter, pid)) => {
            let launch = Launch {
                control,
                runtime_is_there: true,
                signals,
                starter: Some(starter),
                program: pid,
                has_terminal: program.has_terminal,
                refusal: None,
                status: None,
                ending: Ending::None,
                second_look: None,
                tick: MIN_TICK,
            };
            launch.run();
        }
        Err(error) => control.send(&Message::NotStarted(NotStarted::helper(&error)))?,
    }
    Ok(())
}

fn start(program: &Message, descriptors: Vec<OwnedFd>) -> io::Result<(Channel, Pid)> {
    let (starter, theirs) = Channel::pair()?;
    let process = Helper::itself()?.start(Role::Starter, theirs)?;
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    starter.send_with(program, &descriptors)?;
    let pid = Pid::from_child(&process);
    remember(pid);
    Ok((starter, pid))
}

/// The signals that a launcher acts on.
struct Signals {
    /// Readable when one came.
    woken: UnixStream,
    /// Whether it was one that asks it to end.
    end: Arc<AtomicBool>,
}

impl Signals {
    fn heed() -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let end = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            // Before the pipe, so that it is set when the loop wakes.
            signal_hook::flag::register(signal, Arc::clone(&end))?;
            signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        signal_hook::low_level::pipe::register(SIGCHLD, wake)?;
        Ok(Self { woken, end })
    }

    fn take(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.woken).read(&mut bytes), Ok(count) if count == bytes.len()) {}
    }
}

/// How far the end of everything has got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    None,
    /// It was asked to end, and may take until then.
    Asked(Option<Instant>),
    /// It is being killed.
    Killing,
}

/// One worker's program: all that its launcher knows. What a launcher would have to hand on in order to outlive its
/// runtime is in here.
struct Launch {
    control: Channel,
    /// Whether the runtime still has the other end.
    runtime_is_there: bool,
    signals: Signals,
    /// Open until the starter has become the program, or has told why not.
    starter: Option<Channel>,
    /// The starter, then the program: it leads a session and a process group.
    program: Pid,
    has_terminal: bool,
    refusal: Option<NotStarted>,
    /// How the program ended.
    status: Option<i32>,
    ending: Ending,
    /// When it is looked again what on the terminal has not been hung up on.
    second_look: Option<Instant>,
    tick: Duration,
}

impl Launch {
    /// Returns when nothing is left, and that has been told.
    fn run(mut self) {
        loop {
            let some_left = self.reap();
            if !some_left {
                break;
            }
            let at_most = self.end_what_is_due();
            self.wait(at_most);
        }
        // What the starter said last may not have been heard yet.
        self.hear_starter();
        let last = match self.refusal {
            Some(refusal) => Message::NotStarted(refusal),
            None => Message::Ended(self.status.unwrap_or(0)),
        };
        let _ = self.control.send(&last);
    }

    /// Takes note of what has ended, and tells whether anything has not.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    self.tick = MIN_TICK;
                    if pid == self.program {
                        self.status = Some(status.as_raw());
                        // What it leaves behind ends with it, unless it was given time.
                        if self.ending == Ending::None {
                            self.ending = Ending::Killing;
                        }
                    }
                }
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                // There is no child, alive or dead.
                Err(_) => return false,
            }
        }
    }

    /// Kills what has no time any more, and tells how long to wait for what happens.
    fn end_what_is_due(&mut self) -> Option<Duration> {
        if self.signals.end.load(Ordering::Relaxed) || !self.runtime_is_there {
            self.ending = Ending::Killing;
        }
        let now = Instant::now();
        if self.second_look.take_if(|at| *at <= now).is_some() {
            hang_up_again();
        }
        if let Ending::Asked(Some(until)) = self.ending
            && until <= now
        {
            self.ending = Ending::Killing;
        }
        match self.ending {
            Ending::Killing => {}
            Ending::None => return None,
            Ending::Asked(until) => {
                let next = until.into_iter().chain(self.second_look).min();
                return next.map(|next| next.saturating_duration_since(now));
            }
        }
        kill_children(|_| false);
        let tick = self.tick;
        self.tick = (tick * 2).min(MAX_TICK);
        Some(tick)
    }

    fn wait(&mut self, at_most: Option<Duration>) {
        let mut watched = vec![PollFd::new(&self.signals.woken, PollFlags::IN)];
        let control_flags = if self.runtime_is_there { PollFlags::IN } else { PollFlags::empty() };
        if self.runtime_is_there {
            watched.push(PollFd::new(&self.control, control_flags));
        }
        if let Some(starter) = &self.starter {
            watched.push(PollFd::new(starter, PollFlags::IN));
        }
        // A time that is too long for the system is as good as none.
        let timeout = at_most.and_then(|time| Timespec::try_from(time).ok());
        // Interrupted by a signal, it has nothing to tell but that, which the pipe tells, too.
        let heard = poll(&mut watched, timeout.as_ref()).is_ok();
        let is_ready = |index: usize| heard && watched.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (signalled, second, third) = (is_ready(0), is_ready(1), is_ready(2));
        let (ordered, started) = if self.runtime_is_there { (second, third) } else { (false, second) };
        if signalled {
            self.signals.take();
        }
        if started {
            self.hear_starter();
        }
        if ordered {
            self.obey();
        }
    }

    fn hear_starter(&mut self) {
        let Some(starter) = self.starter.take() else { return };
        match starter.receive() {
            Ok(Some((Message::NotStarted(refusal), _))) => self.refusal = Some(refusal),
            // Its end of the socket was closed as it became the program, or died.
            _ => {
                let _ = self.control.send(&Message::Started(self.program.as_raw_pid()));
            }
        }
    }

    fn obey(&mut self) {
        match self.control.receive() {
            Ok(Some((Message::Stop(grace), _))) if self.ending == Ending::None => {
                ask_to_end(self.has_terminal);
                self.second_look = self.has_terminal.then(|| Instant::now() + SECOND_LOOK);
                // A time of grace that the clock cannot hold does not end.
                self.ending = Ending::Asked(Instant::now().checked_add(grace));
            }
            Ok(Some((Message::Cancel, _))) => self.ending = Ending::Killing,
            Ok(Some((Message::Interrupt, _))) if self.status.is_none() => {
                // The program is our child and not reaped: the number cannot mean another group.
                let _ = kill_process_group(self.program, Signal::INT);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => self.runtime_is_there = false,
        }
    }
}
