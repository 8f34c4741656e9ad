//! The process groups that this process started, for systems without `/proc` or another one to tell of what is below it.

use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// The leaders. A number is not given to another process while there is a group by it.
static LEADERS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Takes note of a child that leads a group.
pub(in crate::launcher) fn remember(leader: Pid) {
    LEADERS.lock().unwrap_or_else(PoisonError::into_inner).push(leader);
}

/// Signals every group, and tells how many there are.
pub(super) fn signal(signal: Signal) -> usize {
    let mut leaders = LEADERS.lock().unwrap_or_else(PoisonError::into_inner);
    leaders.retain(|leader| test_kill_process_group(*leader).is_ok());
    for leader in &*leaders {
        let _ = kill_process_group(*leader, signal);
    }
    leaders.len()
}
