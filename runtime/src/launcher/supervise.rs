//! The supervisor: it starts the launchers of one runtime, and ends what a launcher that was killed leaves behind.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, setsid, wait};
use signal_hook::consts::SIGCHLD;

use super::descendants::kill_children;
use super::message::{Channel, Message, NotStarted};
use super::{Helper, Role, conceal_process};

/// How soon orphans that were killed are looked for again.
const TICK: Duration = Duration::from_millis(5);

/// How often in a row none must be found before there is none: the kernel's list of children can lack some while others
/// end.
const LOOKS: u32 = 2;

/// Makes this process the supervisor for the runtime at the other end, until that is gone and nothing is left.
pub(super) fn run(control: Channel) -> io::Result<()> {
    let _ = setsid();
    let _ = conceal_process();
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (wake, woken) = UnixStream::pair()?;
    woken.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGCHLD, wake)?;
    let supervision = Supervision {
        helper: Helper::itself()?,
        control: Some(control),
        woken,
        launchers: BTreeMap::new(),
        lost: Vec::new(),
        looks: 0,
    };
    supervision.run();
    Ok(())
}

struct Supervision {
    helper: Helper,
    /// Until the runtime is gone.
    control: Option<Channel>,
    /// Readable when a child has ended.
    woken: UnixStream,
    /// A copy of the socket of each launcher: it keeps the runtime from taking a launcher's death for the end of all
    /// that it looked after.
    launchers: BTreeMap<i32, Channel>,
    /// The sockets of launchers that left orphans, perhaps.
    lost: Vec<Channel>,
    /// How often in a row no orphan was found.
    looks: u32,
}

impl Supervision {
    fn run(mut self) {
        while self.reap() || self.control.is_some() {
            self.end_orphans();
            self.wait();
        }
    }

    /// Takes note of what has ended, and tells whether anything has not.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let launcher = self.launchers.remove(&pid.as_raw_pid());
                    // One that ends well leaves nothing behind, and has told so.
                    self.lost.extend(launcher.filter(|_| status.exit_status() != Some(0)));
                    self.looks = 0;
                }
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                // There is no child, alive or dead: of what was lost nothing is left.
                Err(_) => {
                    self.tell_lost();
                    return false;
                }
            }
        }
    }

    fn end_orphans(&mut self) {
        if self.lost.is_empty() {
            return;
        }
        let is_launcher = |pid: Pid| self.launchers.contains_key(&pid.as_raw_pid());
        self.looks = if kill_children(is_launcher) == 0 { self.looks + 1 } else { 0 };
        if self.looks >= LOOKS {
            self.tell_lost();
        }
    }

    fn tell_lost(&mut self) {
        for launcher in self.lost.drain(..) {
            let _ = launcher.send(&Message::Lost);
        }
    }

    fn wait(&mut self) {
        let mut watched = vec![PollFd::new(&self.woken, PollFlags::IN)];
        watched.extend(self.control.as_ref().map(|control| PollFd::new(control, PollFlags::IN)));
        let tick = (!self.lost.is_empty()).then_some(TICK);
        let timeout = tick.and_then(|time| Timespec::try_from(time).ok());
        let heard = poll(&mut watched, timeout.as_ref()).is_ok();
        let is_ready = |index: usize| heard && watched.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (ended, wanted) = (is_ready(0), is_ready(1));
        if ended {
            let mut bytes = [0; 64];
            while matches!((&self.woken).read(&mut bytes), Ok(count) if count == bytes.len()) {}
        }
        if wanted {
            self.hear_runtime();
        }
    }

    fn hear_runtime(&mut self) {
        let heard = self.control.as_ref().map(Channel::receive);
        let Some(Ok(Some((Message::WantLauncher, descriptors)))) = heard else {
            // It is gone. Its launchers notice by themselves.
            self.control = None;
            return;
        };
        let Some(theirs) = descriptors.into_iter().next() else { return };
        let Ok(ours) = theirs.try_clone() else { return };
        let ours = Channel::new(UnixStream::from(ours));
        match self.helper.start(Role::Launcher, theirs) {
            Ok(process) => {
                self.launchers.insert(Pid::from_child(&process).as_raw_pid(), ours);
            }
            Err(error) => {
                let _ = ours.send(&Message::NotStarted(NotStarted::helper(&error)));
            }
        }
    }
}
