//! What this program does as process 1: it is the parent of all that has lost its own, and has to reap it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

/// What the program is told when it has the signal.
const PASSED_ON: [i32; 8] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT];

/// Runs this program once more as a child, until it ends; the exit code that it ended with, or 128 and its signal.
pub(super) fn run() -> i32 {
    let _ = super::conceal_process();
    match run_as_child() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sekisho: process 1 cannot start its program: {error}");
            super::FAILED
        }
    }
}

fn run_as_child() -> io::Result<i32> {
    let mut signals = Signals::new(PASSED_ON.into_iter().chain([SIGCHLD]))?;
    let mut arguments = std::env::args_os();
    let mut program = Command::new(super::Helper::itself()?.path);
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    // In a group of its own, so that what a terminal sends to the group of process 1 comes once.
    let process = program.args(arguments).process_group(0).spawn()?;
    let child = Pid::from_child(&process);
    if rustix::termios::tcgetpgrp(rustix::stdio::stdin()).is_ok() {
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), child);
    }
    loop {
        // Before it waits: the child may have ended before the signals were heeded.
        if let Some(status) = reap(child) {
            let signalled = || status.terminating_signal().map(|signal| 128 + signal);
            return Ok(status.exit_status().or_else(signalled).unwrap_or(super::FAILED));
        }
        for signal in signals.wait() {
            if let Some(signal) = Signal::from_named_raw(signal).filter(|signal| *signal != Signal::CHILD) {
                let _ = kill_process(child, signal);
            }
        }
    }
}

/// Reaps what has ended, and tells how the child did, if it is among that.
fn reap(child: Pid) -> Option<WaitStatus> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => return Some(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}
