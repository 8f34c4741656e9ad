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
