//! One child process with everything that it starts, and how neither outlives its keeper.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::guardian::Guardian;

/// Waits for one line before it becomes the program. The line is sent when the guardian knows the group; should
/// the runtime die before that, reading fails and nothing has run. `read` takes no byte beyond the line.
const GATE: &str = r#"IFS= read -r _ && exec "$@""#;

/// A process group under its guardian, by its leader.
pub(super) struct Process {
    leader: Child,
    group: Pid,
    guardian: Arc<Guardian>,
    exit: Option<OwnedFd>,
    concluded: bool,
}

/// The ends of a process's pipes that are ours. None of them blocks.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Process {
    /// Starts a program in a process group of its own, which from its first instruction on dies with the runtime.
    pub(super) fn start(
        command: &[String],
        hidden_variables: &[String],
        guardian: &Arc<Guardian>,
    ) -> io::Result<(Self, Pipes)> {
        let mut gate = Command::new("/bin/sh");
        gate.args(["-c", GATE, "sekisho-worker"]).args(command);
        for variable in hidden_variables {
            gate.env_remove(variable);
        }
        let mut leader = gate
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = (leader.stdin.take(), leader.stdout.take(), leader.stderr.take());
        let group = Pid::from_child(&leader);
        // From here on dropping the process ends it.
        let process =
            Self { leader, group, guardian: Arc::clone(guardian), exit: exit_of(group), concluded: false };
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        guardian.watch(group)?;
        stdin.write_all(b"\n")?;
        for end in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            ioctl_fionbio(end, true)?;
        }
        Ok((process, Pipes { stdin, stdout, stderr }))
    }

    /// Signals the whole group. Until [`conclude`](Self::conclude) the number cannot mean somebody else.
    pub(super) fn signal(&self, signal: Signal) {
        // The one thing that can fail is that nobody is left.
        let _ = kill_process_group(self.group, signal);
    }

    /// Becomes readable when the leader has ended; where the system has no such thing, ask
    /// [`has_ended`](Self::has_ended) now and then.
    pub(super) fn exit(&self) -> Option<BorrowedFd<'_>> {
        self.exit.as_ref().map(AsFd::as_fd)
    }

    /// Whether the leader has ended.
    pub(super) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // It is our own child and not reaped: an error would mean that there is nothing to wait for.
        !matches!(waitid(WaitId::Pid(self.group), options), Ok(None))
    }

    /// Kills what is left of the group, and then reaps its leader.
    pub(super) fn conclude(mut self) -> io::Result<ExitStatus> {
        self.end()
    }

    /// The order matters: as long as the leader is not reaped, its number, which is the group's, is not given to
    /// anybody else, be it us or the guardian that kills by it.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.concluded = true;
        self.signal(Signal::KILL);
        self.guardian.release(self.group);
        self.leader.wait()
    }
}

#[cfg(target_os = "linux")]
fn exit_of(leader: Pid) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open};
    pidfd_open(leader, PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn exit_of(_leader: Pid) -> Option<OwnedFd> {
    None
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.concluded {
            let _ = self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;

    fn start(command: &[&str], hidden: &[&str]) -> (Process, Pipes, Arc<Guardian>) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let guardian = Arc::new(Guardian::default());
        let (process, pipes) = Process::start(&owned(command), &owned(hidden), &guardian).unwrap();
        (process, pipes, guardian)
    }

    fn blocking(end: impl AsFd + Read) -> impl Read {
        ioctl_fionbio(&end, false).unwrap();
        end
    }

    #[test]
    fn the_gate_passes_arguments_and_input_on_untouched() {
        let script = r#"printf '%s|' "$@"; cat"#;
        let (process, mut pipes, _guardian) =
            start(&["sh", "-c", script, "sh", "a b", "$HOME", "'", ""], &[]);
        pipes.stdin.write_all(b"line\nmore").unwrap();
        drop(pipes.stdin);
        let mut output = String::new();
        blocking(pipes.stdout).read_to_string(&mut output).unwrap();
        assert_eq!(output, "a b|$HOME|'||line\nmore");
        assert_eq!(process.conclude().unwrap().code(), Some(0));
    }

    #[test]
    fn hidden_variables_are_not_inherited() {
        let (_process, pipes, _guardian) = start(&["sh", "-c", r#"echo "${PATH-none}""#], &["PATH"]);
        let mut output = String::new();
        blocking(pipes.stdout).read_to_string(&mut output).unwrap();
        // A shell may set a path of its own, but it is not ours.
        assert_ne!(output.trim(), std::env::var("PATH").unwrap());
    }

    #[test]
    fn nobody_holds_pipes_that_are_not_theirs() {
        let (first, first_pipes, guardian) = start(&["cat"], &[]);
        let (second, _second_pipes, _) = start(&["cat"], &[]);
        let handles = |pid: u32| -> Vec<String> {
            let list = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
            list.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                .map(|target| target.to_string_lossy().into_owned())
                .filter(|target| target.starts_with("pipe:") || target.starts_with("socket:"))
                .collect()
        };
        // Whoever runs the tests may let every process inherit something.
        let mut bystander = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let inherited = handles(bystander.id());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
        let pids = [first.leader.id(), second.leader.id(), guardian.pid().unwrap()];
        let mut all: Vec<String> = pids.iter().flat_map(|pid| handles(*pid)).collect();
        all.retain(|handle| !inherited.contains(handle));
        let mut distinct = all.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(all.len(), 3 + 3 + 1, "{all:?}");
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        drop(first_pipes);
    }

    #[test]
    fn a_dropped_process_takes_its_children_along() {
        let (process, pipes, _guardian) = start(&["sh", "-c", "sleep 1000 & echo $!; wait"], &[]);
        let mut output = [0; 16];
        let count = blocking(pipes.stdout).read(&mut output).unwrap();
        let grandchild: i32 = String::from_utf8_lossy(&output[..count]).trim().parse().unwrap();
        drop(process);
        // Its parent is gone with it: whoever reaps it now may take a moment.
        let gone = || match fs::read_to_string(format!("/proc/{grandchild}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        assert!((0..1_000_000).any(|_| gone() || {
            std::thread::yield_now();
            false
        }));
    }
}
