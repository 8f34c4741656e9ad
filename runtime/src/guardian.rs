//! What ends the workers of a runtime that is gone.
//!
//! The guardian is a small shell process in a process group of its own. It holds nothing but the reading end of a
//! pipe, whose other end only the runtime has, and learns through it which process groups there are. When the pipe
//! ends the runtime is gone, in whatever way, and the guardian kills the groups that are left.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;

/// Reads `+ GROUP` and `- GROUP`. The list begins and ends with a space, and so does every member in it.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
groups=' '
while IFS=' ' read -r sign group; do
    case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%% "$group" *} ${groups#* "$group" }" ;;
    esac
done
for group in $groups; do
    kill -s KILL -- "-$group"
done
"#;

/// The guardian of one runtime. There is no process before there is something to guard.
#[derive(Default)]
pub(crate) struct Guardian {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    process: Option<Child>,
    groups: BTreeSet<i32>,
}

impl Guardian {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        // A set and a process have no state half-way.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the group dies with the runtime. On return the guardian can no longer miss it.
    pub(crate) fn watch(&self, group: Pid) -> io::Result<()> {
        let group = group.as_raw_pid();
        let mut inside = self.inside();
        inside.groups.insert(group);
        let watched = match inside.tell('+', group) {
            Ok(()) => Ok(()),
            // There was no guardian yet, or somebody has killed it.
            Err(_) => inside.replace(),
        };
        if watched.is_err() {
            inside.groups.remove(&group);
        }
        watched
    }

    /// Forgets a group. It has to be called while the group's leader is not reaped yet: until then the number
    /// cannot come to mean somebody else.
    pub(crate) fn release(&self, group: Pid) {
        let group = group.as_raw_pid();
        let mut inside = self.inside();
        if inside.groups.remove(&group) {
            // A guardian that does not hear is dead, and its successor is told of the groups that are left.
            let _ = inside.tell('-', group);
        }
    }

    #[cfg(test)]
    pub(crate) fn pid(&self) -> Option<u32> {
        self.inside().process.as_ref().map(Child::id)
    }
}

impl Inside {
    fn tell(&mut self, sign: char, group: i32) -> io::Result<()> {
        let process = self.process.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // The pipe alone does not tell: a process that is just being forked elsewhere may hold its other end.
        if process.try_wait()?.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let pipe = process.stdin.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        pipe.write_all(format!("{sign} {group}\n").as_bytes())
    }

    fn replace(&mut self) -> io::Result<()> {
        self.dismiss();
        let process = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sekisho-guardian"])
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.process = Some(process);
        for group in self.groups.clone() {
            self.tell('+', group)?;
        }
        Ok(())
    }

    /// Ends the guardian process. The groups that it watches are killed by that.
    fn dismiss(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            // With nothing to do for it, it need not be waited for politely, should it be suspended.
            if self.groups.is_empty() {
                let _ = process.kill();
            }
            let _ = process.wait();
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.dismiss();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

    /// A process group that does not outlive its test, whatever becomes of its guardian.
    struct Group(Child);

    impl Group {
        fn start() -> Self {
            let mut shell = Command::new("/bin/sh");
            Self(shell.args(["-c", "sleep 1000 & wait"]).process_group(0).spawn().unwrap())
        }

        fn id(&self) -> Pid {
            Pid::from_child(&self.0)
        }

        fn was_killed(mut self) -> bool {
            self.0.wait().unwrap().signal() == Some(Signal::KILL.as_raw())
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            if let Ok(None) = self.0.try_wait() {
                let _ = kill_process_group(self.id(), Signal::KILL);
                let _ = self.0.wait();
            }
        }
    }

    #[test]
    fn what_is_watched_dies_with_its_guardian() {
        let (first, mut second, third) = (Group::start(), Group::start(), Group::start());
        let guardian = Guardian::default();
        for watched in [&first, &second, &third] {
            guardian.watch(watched.id()).unwrap();
        }
        guardian.release(second.id());
        drop(guardian);
        assert!(first.was_killed());
        assert!(third.was_killed());
        assert_eq!(second.0.try_wait().unwrap(), None);
    }

    #[test]
    fn a_guardian_that_was_killed_has_a_successor() {
        let (first, second) = (Group::start(), Group::start());
        let guardian = Guardian::default();
        guardian.watch(first.id()).unwrap();
        let killed = Pid::from_raw(guardian.pid().unwrap().cast_signed()).unwrap();
        kill_process(killed, Signal::KILL).unwrap();
        // It has ended when this returns, and is still there to be reaped.
        waitid(WaitId::Pid(killed), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        guardian.watch(second.id()).unwrap();
        drop(guardian);
        assert!(first.was_killed());
        assert!(second.was_killed());
    }
}
