use std::os::unix::process::ExitStatusExt;

use super::*;

#[test]
fn ends_are_told_as_they_were() {
    let exit = |code: i32| End::Exited(ExitStatus::from_raw(code << 8));
    let told = |reason, exit_code, signal, message: Option<&str>| WorkerEnd {
        reason,
        exit_code,
        signal,
        message: message.map(str::to_owned),
    };
    let not_started = |step, errno| End::NotStarted(NotStarted { step, errno });
    for (end, expected) in [
        (exit(0), told(EndReason::Exited, Some(0), None, None)),
        (exit(127), told(EndReason::Exited, Some(127), None, None)),
        (End::Exited(ExitStatus::from_raw(9)), told(EndReason::Signalled, None, Some(9), None)),
        (
            not_started(Step::Program, 2),
            told(
                EndReason::NotStarted,
                None,
                None,
                Some("its program could not be executed: No such file or directory"),
            ),
        ),
        (
            not_started(Step::Helper, 0),
            told(EndReason::NotStarted, None, None, Some("a helper process could not start it")),
        ),
        (End::StoreFailed, told(EndReason::StoreFailed, None, None, None)),
    ] {
        assert_eq!(worker_end(end), expected);
    }
}
