use super::*;
use crate::records::tests::record;

fn end(reason: EndReason, exit_code: Option<i32>, signal: Option<i32>) -> WorkerEnd {
    WorkerEnd { reason, exit_code, signal, message: None }
}

#[test]
fn an_order_says_what_ended_a_process() {
    let ordered = |cancel| {
        let ordered = Ordered { cancel, reason: Some("enough".into()), event_id: 3 };
        WorkerRecord { phase: Phase::Stopping(ordered), ..record("w", 1) }
    };
    let told = |reason| WorkerEnd { message: Some("enough".into()), ..end(reason, Some(0), None) };
    let exited = || end(EndReason::Exited, Some(0), None);
    assert_eq!(with_order(exited(), &record("w", 1)), exited());
    assert_eq!(with_order(exited(), &ordered(false)), told(EndReason::Stopped));
    assert_eq!(with_order(exited(), &ordered(true)), told(EndReason::Cancelled));
    let lost = plain(EndReason::RuntimeLost);
    assert_eq!(with_order(lost.clone(), &ordered(true)), lost);
}

#[test]
fn clients_of_v1_hear_of_ends_that_nothing_ordered() {
    let failure = |message: &str| Some(Event::failure(ErrorCode::ProviderError, message));
    for (end, event) in [
        (end(EndReason::Exited, Some(0), None), Some(Event::RunEnd { result: RunResult::Finished })),
        (end(EndReason::Exited, Some(3), None), failure("the worker exited with status 3")),
        (end(EndReason::Exited, Some(127), None), failure("the worker exited with status 127")),
        (end(EndReason::Signalled, None, Some(9)), failure("the worker ended by signal 9")),
        (end(EndReason::NotStarted, None, None), failure("the worker could not start")),
        (end(EndReason::Stopped, Some(1), None), None),
        (end(EndReason::Cancelled, None, Some(9)), None),
        (
            end(EndReason::RuntimeLost, None, None),
            Some(Event::failure(ErrorCode::Internal, "the worker ended with its runtime")),
        ),
    ] {
        assert_eq!(told_before(&end), event);
    }
}
