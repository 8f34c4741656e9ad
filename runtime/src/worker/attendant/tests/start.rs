use std::os::unix::ffi::OsStrExt;

use super::super::super::{START_TIMEOUT, Step};
use super::*;

const NOT_FOUND: i32 = 2;
const NO_PERMISSION: i32 = 13;

#[test]
fn what_cannot_be_started_is_told_apart() {
    let refused = |spec: ProgramSpec| match run(spec).end() {
        (End::NotStarted(NotStarted { step, errno }), noted) => {
            assert_eq!((noted.pid, noted.fragments), (None, 0));
            (step, errno)
        }
        (end, _) => panic!("{end:?}"),
    };
    assert_eq!(refused(spec(&["/no/such/program"])), (Step::Program, NOT_FOUND));
    assert_eq!(refused(spec(&["no-such-program-on-any-path"])), (Step::Program, NOT_FOUND));
    assert_eq!(refused(spec(&["/dev/null"])), (Step::Program, NO_PERMISSION));
    assert_eq!(refused(on_terminal(spec(&["/no/such/program"]))), (Step::Program, NOT_FOUND));
    let elsewhere = ProgramSpec { directory: Some("/no/such/directory".into()), ..sh("true") };
    assert_eq!(refused(elsewhere), (Step::Directory, NOT_FOUND));
}

#[test]
fn the_exit_codes_of_a_shell_that_ran_are_its_own() {
    assert_eq!(run(sh("/no/such/program")).end().0, exited(127));
    assert_eq!(run(sh("/dev/null")).end().0, exited(126));
}

#[test]
fn a_launcher_that_is_no_helper_is_told_of() {
    for program in ["/no/such/helper", "/bin/true"] {
        let supervisor = Arc::new(Supervisor::new(Some(program.into())));
        let begun = Instant::now();
        let (end, _) = run_under(&supervisor, sh("true"), Notes::default()).end();
        assert!(matches!(end, End::NotStarted(NotStarted { step: Step::Helper, .. })), "{program}: {end:?}");
        assert!(begun.elapsed() < START_TIMEOUT, "{program}");
    }
    // This program never said that it can be one.
    let (end, _) = run_under(&Arc::new(Supervisor::new(None)), sh("true"), Notes::default()).end();
    assert_eq!(end, End::NotStarted(NotStarted { step: Step::Embedding, errno: 0 }));
}

#[test]
fn arguments_and_input_pass_untouched() {
    let running = run(spec(&["sh", "-c", r#"printf '%s|' "$@"; cat"#, "sh", "a b", "$HOME", "'", ""]));
    running.say("line");
    running.handle.write_raw(Bytes::from_static(b"mo\xFFre\0")).unwrap();
    running.handle.close_input().unwrap();
    let (end, noted) = running.end();
    assert_eq!((end, noted.output.as_str()), (exited(0), "a b|$HOME|'||line\nmo\u{FFFD}re\0"));
}

#[test]
fn the_environment_is_exactly_what_is_said() {
    let odd = std::ffi::OsStr::from_bytes(b"\xFFODD");
    let program = ProgramSpec {
        clear_environment: true,
        environment: vec![("A".into(), "one two".into()), ("B".into(), String::new())],
        directory: Some("/".into()),
        ..spec(&["env"])
    };
    assert_eq!(run(program).end().1.output, "A=one two\nB=\n");
    // By hand, since the environment of this process is not a test's to change.
    let start = spec(&["env"]).program([(odd.to_owned(), odd.to_owned())].into_iter());
    assert_eq!(start.environment, [(odd.to_owned(), odd.to_owned())]);
}

#[test]
fn a_process_has_a_session_of_its_own_and_nothing_that_is_not_its_own() {
    let running = run(sh("echo ready; exec sleep 1000"));
    running.hear("ready");
    let pid = running.pid();
    let fds = |pid: i32| -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let mut own = fds(pid);
    own.sort();
    assert_eq!(own, ["0", "1", "2"]);
    let of = |pid: i32| Some(rustix::process::Pid::from_raw(pid).unwrap());
    assert_eq!(rustix::process::getsid(of(pid)), Ok(of(pid).unwrap()));
    assert_eq!(rustix::process::getpgid(of(pid)), Ok(of(pid).unwrap()));
    // Its pipes are held by nothing but itself and this process.
    let pipes: Vec<_> = (0..3).map(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap()).collect();
    for helper in [running.launcher(), parent_of(running.launcher()).unwrap()] {
        for fd in fds(helper) {
            let target = fs::read_link(format!("/proc/{helper}/fd/{fd}")).unwrap_or_default();
            assert!(!pipes.contains(&target), "{helper} holds {target:?}");
        }
    }
}

#[test]
fn helpers_cannot_be_read_and_what_they_start_can() {
    let running = run(sh("echo ready; exec sleep 1000"));
    running.hear("ready");
    let owner = |pid: i32| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid()
    };
    // As root everything is root's: there is no difference to be seen.
    if !rustix::process::getuid().is_root() {
        assert_eq!(owner(running.launcher()), 0);
        assert_ne!(owner(running.pid()), 0);
    }
    let environment = fs::read(format!("/proc/{}/environ", running.launcher())).unwrap_or_default();
    let variables = environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
    assert!(variables.into_iter().all(|variable| variable.starts_with(b"LD_")), "{environment:?}");
}

#[test]
fn another_user_is_one_in_every_respect() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root may start processes of other users");
        return;
    }
    let Ok(user) = crate::user::User::find("nobody") else {
        println!("skipped: there is no user nobody");
        return;
    };
    let identity = user.identity.clone();
    let running = run(ProgramSpec {
        user: Some(user),
        directory: Some("/".into()),
        ..sh(r#"id -u; id -g; echo "$USER"; setsid sleep 1000 & read -r _"#)
    });
    running.hear("nobody");
    until("what it starts", || running.is_running("sleep"));
    let processes = running.processes();
    let launcher = running.launcher();
    let begins = format!("{}\n{}\nnobody\n", identity.uid, identity.gid);
    running.notes.until("its identity", |noted| (noted.output == begins).then_some(()));
    // A change of user takes back what ties the program to its launcher: it has to be asked for again.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(launcher).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert_eq!(running.end().0, End::HelperLost);
    assert!(processes.len() >= 2 && !processes.iter().any(|pid| is_alive(*pid)), "{processes:?}");
}

#[test]
fn an_order_that_comes_first_starts_nothing() {
    let supervisor = Arc::new(Supervisor::new(Some(helper())));
    let handle = Handle::new(false).unwrap();
    handle.stop(LONG);
    let launch = Launch { program: sh("echo x"), supervisor };
    let notes = Arc::new(Notes::default());
    assert_eq!(attend(&launch, &handle, &notes), End::NeverWanted);
    assert_eq!(notes.inside.lock().unwrap().fragments, 0);
}
