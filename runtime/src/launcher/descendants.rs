//! The processes below this one: which there are, and how to end them.

mod groups;
#[cfg(target_os = "linux")]
mod proc;

use rustix::process::{Pid, Signal};

pub(super) use groups::remember;

/// Kills the children of this process that are not spared, and tells how many it found.
///
/// A child is not reaped by anything but this process, which has one thread: until then its number means no other.
/// For a process that is a subreaper that is enough to end everything below it, since the children of what is killed
/// become its own. Where there is no `/proc` to find them in, the process groups that it started are killed.
pub(super) fn kill_children(is_spared: impl Fn(Pid) -> bool) -> usize {
    #[cfg(target_os = "linux")]
    if proc::is_ours() {
        let children: Vec<Pid> = proc::children().into_iter().filter(|child| !is_spared(*child)).collect();
        for child in &children {
            // What can fail is that it has ended, or that it became another user's by a set-user-ID program.
            let _ = rustix::process::kill_process(*child, Signal::KILL);
        }
        return children.len();
    }
    let _ = is_spared;
    groups::signal(Signal::KILL)
}

/// Hangs up on what is still there and ignores SIGTERM. A shell may be found without its being ignored for the moment in
/// which it changes what it does with signals, so that this is for a second look, too.
pub(super) fn hang_up_again() {
    #[cfg(target_os = "linux")]
    if proc::is_ours() {
        hang_up(&proc::descendants());
    }
}

#[cfg(target_os = "linux")]
fn hang_up(processes: &[proc::Process]) {
    processes.iter().filter(|process| process.ignores_term()).for_each(|process| process.signal(Signal::HUP));
}

/// Asks everything below this process to end: SIGTERM, and SIGCONT for what is stopped. On a terminal, what ignores
/// SIGTERM is hung up on (SIGHUP), as when its window is closed: interactive shells do.
pub(super) fn ask_to_end(has_terminal: bool) {
    #[cfg(target_os = "linux")]
    if proc::is_ours() {
        let descendants = proc::descendants();
        descendants.iter().for_each(|process| process.signal(Signal::TERM));
        if has_terminal {
            hang_up(&descendants);
        }
        descendants.iter().for_each(|process| process.signal(Signal::CONT));
        return;
    }
    groups::signal(Signal::TERM);
    if has_terminal {
        groups::signal(Signal::HUP);
    }
    groups::signal(Signal::CONT);
}
