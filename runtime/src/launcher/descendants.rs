//! The processes below this one: which there are, and how to end them.

use rustix::process::{Pid, Signal};

/// Kills the children of this process that are not among these, and tells how many it found.
///
/// A child is not reaped by anything but this process, which has one thread: until then its number means no other.
/// For a process that is a subreaper that is enough to end everything below it, since the children of what is killed
/// become its own.
pub(super) fn kill_children(spared: impl Fn(Pid) -> bool) -> usize {
    let children: Vec<Pid> = system::children().into_iter().filter(|child| !spared(*child)).collect();
    for child in &children {
        // What can fail is that it has ended, or that it became another user's by a set-user-ID program.
        let _ = system::kill(*child);
    }
    children.len()
}

/// Takes note of a child that leads a process group of its own, for systems that can find nothing else.
pub(super) fn remember(leader: Pid) {
    system::remember(leader);
}

/// Asks everything below this process to end: SIGTERM, and SIGCONT for what is stopped. On a terminal, what ignores
/// SIGTERM is hung up on (SIGHUP), as when its window is closed: interactive shells do.
pub(super) fn ask_to_end(has_terminal: bool) {
    system::each_descendant(|process| {
        process.signal(Signal::TERM);
        if has_terminal && process.ignores_term() {
            process.signal(Signal::HUP);
        }
        process.signal(Signal::CONT);
    });
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::fd::OwnedFd;

    use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal};

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

    pub(super) fn remember(_leader: Pid) {}

    pub(super) fn kill(child: Pid) -> rustix::io::Result<()> {
        kill_process(child, Signal::KILL)
    }

    pub(super) fn children() -> Vec<Pid> {
        children_of(getpid())
    }

    /// Parents before their children.
    pub(super) fn each_descendant(visit: impl Fn(&Process)) {
        let mut seen = BTreeSet::new();
        let mut parents = vec![getpid()];
        while let Some(parent) = parents.pop() {
            for child in children_of(parent) {
                if let Some(process) =
                    Process::find(child, parent).filter(|_| seen.insert(child.as_raw_pid()))
                {
                    parents.push(child);
                    visit(&process);
                }
            }
        }
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

    #[cfg(test)]
    mod tests {
        use std::process::{Command, Stdio};

        use super::*;

        #[test]
        fn children_are_found_in_either_way() {
            let mut child = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap();
            let pid = Pid::from_child(&child);
            // Other tests have children of their own in this process.
            assert!(children().contains(&pid));
            assert!(search_children_of(getpid().as_raw_pid()).contains(&pid));
            let process = Process::find(pid, getpid()).unwrap();
            assert!(Process::find(pid, pid).is_none());
            assert!(!process.ignores_term());
            process.signal(Signal::TERM);
            assert!(!child.wait().unwrap().success());
            assert!(Process::find(pid, getpid()).is_none());
        }
    }
}

/// Where neither subreapers nor `/proc` are, what is known is the process group of each child.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::Mutex;

    use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

    /// The leaders of the groups that were started.
    static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

    pub(super) struct Process(Pid);

    impl Process {
        pub(super) fn signal(&self, signal: Signal) {
            let _ = kill_process_group(self.0, signal);
        }

        pub(super) fn ignores_term(&self) -> bool {
            true
        }
    }

    pub(super) fn remember(leader: Pid) {
        if let Ok(mut groups) = GROUPS.lock() {
            groups.push(leader);
        }
    }

    pub(super) fn kill(leader: Pid) -> rustix::io::Result<()> {
        kill_process_group(leader, Signal::KILL)
    }

    pub(super) fn children() -> Vec<Pid> {
        let Ok(groups) = GROUPS.lock() else { return Vec::new() };
        groups.iter().copied().filter(|group| test_kill_process_group(*group).is_ok()).collect()
    }

    pub(super) fn each_descendant(visit: impl Fn(&Process)) {
        children().into_iter().for_each(|leader| visit(&Process(leader)));
    }
}
