//! The processes below this one, as `/proc` tells of them.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal};

/// How often the processes are looked for, until a walk finds none that is new: those whose parent ended meanwhile are
/// found by the next. What starts one after the other without end must not keep a walk from its end.
const MAX_WALKS: usize = 4;

/// A process below this one that cannot be mistaken for another.
pub(super) struct Process {
    pid: Pid,
    /// None where the system has no such thing.
    handle: Option<OwnedFd>,
}

impl Process {
    /// The process by this number if its parent is the one by that.
    fn find(pid: Pid, parent: Pid) -> Option<Self> {
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Some(handle),
            Err(rustix::io::Errno::SRCH) => return None,
            Err(_) => None,
        };
        // Asked when the handle is there: what has the number now is what the handle means, or has ended.
        (parent_of(pid)? == parent).then_some(Self { pid, handle })
    }

    pub(super) fn signal(&self, signal: Signal) {
        let _ = match &self.handle {
            Some(handle) => pidfd_send_signal(handle, signal),
            None => kill_process(self.pid, signal),
        };
    }

    pub(super) fn ignores_term(&self) -> bool {
        let pid = self.pid.as_raw_pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask & (1 << (Signal::TERM.as_raw() - 1)) != 0)
    }
}

/// Whether `/proc` is there and of this process's own PID namespace: in another one its numbers mean other processes.
pub(super) fn is_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|own| own.to_str().and_then(pid) == Some(getpid()))
}

pub(super) fn children() -> Vec<Pid> {
    children_of(getpid())
}

/// Everything below this process, parents before their children.
///
/// All are found before any is signalled. A process that ends leaves its children to this one, so that a walk that signals
/// on its way passes by the children of what ended of it.
pub(super) fn descendants() -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    for _ in 0..MAX_WALKS {
        let known = found.len();
        let mut walked = BTreeSet::from([getpid().as_raw_pid()]);
        let mut parents = vec![getpid()];
        while let Some(parent) = parents.pop() {
            for child in children_of(parent).into_iter().filter(|child| walked.insert(child.as_raw_pid())) {
                parents.push(child);
                if found.iter().all(|process| process.pid != child) {
                    found.extend(Process::find(child, parent));
                }
            }
        }
        if found.len() == known {
            break;
        }
    }
    found
}

fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_pid();
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(pid)),
            // The thread has ended, or the kernel has no such files.
            Err(_) if thread.path().exists() => return search_children_of(parent),
            Err(_) => {}
        }
    }
    children
}

fn search_children_of(parent: i32) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| pid(entry.file_name().to_str()?));
    pids.filter(|pid| parent_of(*pid).is_some_and(|found| found.as_raw_pid() == parent)).collect()
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name before the last parenthesis may hold anything. The state is next, then the parent.
    self::pid(stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?)
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}
