use std::io::Read;
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

#[test]
fn descendants_are_found_before_any_of_them_can_end_of_it() {
    let script = "sleep 1000 & sleep 1000 & echo ready; wait";
    let mut parent = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    parent.stdout.take().unwrap().read_exact(&mut ready).unwrap();
    let pid = Pid::from_child(&parent);
    let children = children_of(pid);
    assert_eq!(children.len(), 2);
    let found = descendants();
    let place = |pid: Pid| found.iter().position(|process| process.pid == pid);
    for child in &children {
        assert!(place(pid).unwrap() < place(*child).unwrap());
    }
    // The parent's end hides its children from a walk from here, which is no subreaper; what was found is still there.
    let signal = |pid: Pid| found[place(pid).unwrap()].signal(Signal::TERM);
    signal(pid);
    parent.wait().unwrap();
    assert!(children.iter().all(|child| parent_of(*child).is_some_and(|parent| parent != pid)));
    children.iter().for_each(|child| signal(*child));
    for child in children {
        while parent_of(child).is_some_and(|parent| parent != getpid()) && !is_zombie(child) {
            std::thread::yield_now();
        }
    }
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}
