use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// Starts processes of every kind that is hard to end, and says how many there are with the shell.
const TREE: &str = r#"
trap "" HUP INT
setsid sleep 1000 &
(setsid sh -c 'trap "" TERM HUP; sleep 1000 & sleep 1000 & wait; wait' &)
(sleep 1000 &)
sh -c 'kill -STOP $$' &
nohup sleep 1000 >/dev/null 2>&1 &
i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i + 1)); done
echo ready
while :; do sleep 1000; done
"#;

const PROCESSES: usize = 1 + 1 + 3 + 1 + 1 + 1 + 60 + 1;

fn tree_of(running: &Running) -> Vec<i32> {
    running.hear("ready");
    until("the tree", || running.processes().len() == PROCESSES);
    running.processes()
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn nothing_is_left_however_it_ends() {
    type Ending = fn(&Running);
    let endings: [(&str, End, Ending); 6] = [
        ("cancel", signalled(9), |running| running.handle.cancel()),
        ("stop", signalled(15), |running| running.handle.stop(Duration::from_millis(300))),
        ("its own end", signalled(9), |running| kill(running.pid(), Signal::KILL)),
        ("SIGTERM for its launcher", signalled(9), |running| kill(running.launcher(), Signal::TERM)),
        ("SIGKILL for its launcher", End::HelperLost, |running| kill(running.launcher(), Signal::KILL)),
        ("SIGKILL for the supervisor", signalled(9), |running| {
            kill(parent_of(running.launcher()).unwrap(), Signal::KILL);
        }),
    ];
    for (what, expected, end) in endings {
        let running = run(sh(TREE));
        let tree = tree_of(&running);
        end(&running);
        // Its end is told when nothing is left, and not before.
        let (ended, _) = running.end();
        let left: Vec<_> = tree.iter().filter(|pid| stat(**pid).is_some()).collect();
        assert_eq!((ended, left.len()), (expected, 0), "{what}: {left:?}");
    }
}

#[test]
fn a_worker_ends_only_when_what_it_started_has() {
    // What has its own time of grace may use it, though the program has ended.
    let running = run(sh(
        r#"(trap "sleep 0.3; echo late; exit" TERM; echo ready; while :; do sleep 0.05; done) & wait"#,
    ));
    running.hear("ready");
    running.handle.stop(LONG);
    let (end, noted) = running.end();
    assert_eq!((end, noted.output.as_str()), (signalled(15), "ready\nlate\n"));
    // A program that ends by itself takes it along.
    let (end, noted) = run(sh("sleep 1000 & echo done")).end();
    assert_eq!((end, noted.lines), (exited(0), vec!["done".into()]));
}

#[test]
fn last_words_are_heard_and_the_exit_code_is_its_own() {
    let script = r#"trap 'for i in 1 2 3 4 5; do echo "bye $i"; sleep 0.2; done; exit 7' TERM; echo ready; while :; do sleep 0.05; done"#;
    let running = run(sh(script));
    running.hear("ready");
    running.handle.stop(LONG);
    let (end, noted) = running.end();
    assert_eq!(end, exited(7));
    assert_eq!(noted.output, "ready\nbye 1\nbye 2\nbye 3\nbye 4\nbye 5\n");
}

#[test]
fn a_process_that_ignores_being_asked_is_killed() {
    let stubborn = r#"trap "" TERM; echo ready; while :; do sleep 1000; done"#;
    let running = run(sh(stubborn));
    running.hear("ready");
    running.handle.stop(Duration::from_millis(100));
    assert_eq!(running.end().0, signalled(9));
    // The stronger order does not wait for the grace of the weaker.
    let running = run(sh(stubborn));
    running.hear("ready");
    running.handle.stop(LONG);
    running.handle.cancel();
    assert_eq!(running.end().0, signalled(9));
}

#[test]
fn others_go_on_when_a_launcher_is_killed() {
    let supervisor = Arc::new(Supervisor::new(Some(helper())));
    let (one, other) = (
        run_under(&supervisor, sh(TREE), Notes::default()),
        run_under(&supervisor, sh("read -r line; echo \"$line\""), Notes::default()),
    );
    let tree = tree_of(&one);
    kill(one.launcher(), Signal::KILL);
    assert_eq!(one.end().0, End::HelperLost);
    assert!(!tree.iter().any(|pid| stat(*pid).is_some()));
    other.say("still here");
    let (end, noted) = other.end();
    assert_eq!((end, noted.output.as_str()), (exited(0), "still here\n"));
}

#[test]
fn a_supervisor_that_was_killed_has_a_successor() {
    let supervisor = Arc::new(Supervisor::new(Some(helper())));
    let first = run_under(&supervisor, sh("echo ready; exec sleep 1000"), Notes::default());
    first.hear("ready");
    kill(parent_of(first.launcher()).unwrap(), Signal::KILL);
    assert_eq!(first.end().0, signalled(9));
    let (end, noted) = run_under(&supervisor, sh("echo again"), Notes::default()).end();
    assert_eq!((end, noted.output.as_str()), (exited(0), "again\n"));
}

#[test]
fn starts_and_ends_leave_no_process_and_no_descriptor() {
    let supervisor = Arc::new(Supervisor::new(Some(helper())));
    let first = run_under(&supervisor, sh("echo ready; exec sleep 1000"), Notes::default());
    first.hear("ready");
    let its_supervisor = parent_of(first.launcher()).unwrap();
    let descriptors = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = descriptors(its_supervisor);
    // Ten at a time, in every way to end.
    let rounds = if std::env::var_os("SEKISHO_LONG").is_some() { 50 } else { 10 };
    for round in 0..rounds {
        let workers: Vec<Running> = (0..10)
            .map(|_| run_under(&supervisor, sh("sleep 1000 & echo ready; wait"), Notes::default()))
            .collect();
        for (number, worker) in workers.iter().enumerate() {
            match (number + round) % 4 {
                0 => worker.handle.cancel(),
                1 => worker.handle.stop(Duration::from_secs(5)),
                2 => {
                    worker.hear("ready");
                    worker.handle.stop(Duration::from_secs(5));
                }
                _ => {
                    worker.hear("ready");
                    kill(worker.pid(), Signal::KILL);
                }
            }
        }
        workers.into_iter().for_each(|worker| drop(worker.end()));
    }
    until("no process is left but the first", || descendants(its_supervisor).len() == 2);
    assert_eq!(descriptors(its_supervisor), before);
    drop(first);
    drop(supervisor);
    until("the end of the supervisor", || stat(its_supervisor).is_none());
}
