use super::*;
use crate::records::tests::record;

fn end(reason: EndReason, exit_code: Option<i32>, signal: Option<i32>, message: Option<&str>) -> WorkerEnd {
    WorkerEnd { reason, exit_code, signal, message: message.map(str::to_owned) }
}

#[test]
fn a_status_is_true() {
    let ordered = |cancel| Phase::Stopping(Ordered { cancel, reason: None, event_id: 7 });
    let ended = |reason| Phase::Ended {
        end: end(reason, None, None, None),
        at: Timestamp::from_millis(9),
        event_id: 7,
    };
    for (phase, status, stopping, closed_by) in [
        (Phase::Running, WorkerStatus::Running, false, None),
        (ordered(false), WorkerStatus::Running, true, Some(7)),
        (ordered(true), WorkerStatus::Running, true, Some(7)),
        (ended(EndReason::Exited), WorkerStatus::Stopped, false, Some(7)),
        (ended(EndReason::Stopped), WorkerStatus::Stopped, false, Some(7)),
        (ended(EndReason::Cancelled), WorkerStatus::Cancelled, false, Some(7)),
        (ended(EndReason::RuntimeLost), WorkerStatus::Stopped, false, Some(7)),
    ] {
        let record = WorkerRecord { phase, ..record("w", 1) };
        assert_eq!((record.status(), record.closed_by()), (status, closed_by));
        let facts = record.facts();
        assert_eq!(facts.stopping, stopping);
        assert_eq!((facts.end.is_some(), facts.ended_at.is_some()), (record.has_ended(), record.has_ended()));
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<WorkerRecord>(&json).unwrap(), record);
    }
}

#[test]
fn ends_have_words() {
    for (end, text) in [
        (end(EndReason::Exited, Some(3), None, None), "exited with status 3"),
        (end(EndReason::Signalled, None, Some(9), None), "ended by signal 9"),
        (end(EndReason::NotStarted, None, None, Some("no such file")), "could not start: no such file"),
        (end(EndReason::Stopped, Some(0), None, Some("enough")), "stopped, with exit status 0: enough"),
        (end(EndReason::Stopped, None, Some(15), None), "stopped by signal 15"),
        (end(EndReason::Cancelled, None, Some(9), None), "cancelled"),
        (end(EndReason::RuntimeLost, None, None, None), "ended with its runtime"),
    ] {
        assert_eq!(words(&end), text);
    }
}
