use super::*;

#[test]
fn every_command_is_found_by_its_path_and_method() {
    for wire in [Wire::Runtime, Wire::Gateway] {
        for operation in Operation::ALL.iter().filter(|operation| **operation != Operation::ObserveEvents) {
            let ids = Captures { runtime_id: Some("r"), worker_id: Some("w"), request_id: Some("q") };
            let path = operation.path(wire).filled("", ids);
            let (found, captures) = Operation::find(wire, &operation.method(), &path).unwrap().unwrap();
            assert_eq!(found, *operation, "{path}");
            assert_eq!(operation.path(wire).filled("", captures), path);
        }
    }
}

#[test]
fn names_are_each_one_operation() {
    let mut names: Vec<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Operation::ALL.len());
}

#[test]
fn what_v1_has_needs_no_feature() {
    use Operation::*;
    let v1 = [
        ReadRuntime,
        ListWorkers,
        GetWorker,
        CreateWorker,
        SendInput,
        StopWorker,
        CancelWorker,
        ReadTranscript,
        ObserveEvents,
    ];
    for operation in Operation::ALL {
        assert_eq!(operation.feature().is_none(), v1.contains(operation), "{operation}");
    }
}

#[test]
fn what_may_be_repeated() {
    use Operation::*;
    let once = [CreateWorker, SendInput, InterruptWorker, ResumeWorker];
    let keyed = [CreateWorker, SendInput, InterruptWorker, AnswerRequest];
    for operation in Operation::ALL {
        assert_eq!(!operation.is_idempotent(), once.contains(operation), "{operation}");
        assert_eq!(operation.takes_key(), keyed.contains(operation), "{operation}");
        assert_eq!(operation.changes_something(), operation.method() != Method::GET, "{operation}");
    }
}

#[test]
fn paths_with_other_methods_and_no_paths() {
    for (wire, method, path, allow) in [
        (Wire::Runtime, Method::PUT, "/v1/workers", "GET,HEAD,POST"),
        (Wire::Gateway, Method::PUT, "/api/runtimes/r/workers", "GET, HEAD, POST"),
        (Wire::Gateway, Method::POST, "/api/runtimes/r/workers/w", "GET, HEAD, DELETE"),
        (Wire::Gateway, Method::GET, "/api/runtimes/r/workers/w/stop", "POST"),
    ] {
        assert_eq!(Operation::find(wire, &method, path), Some(Err(OtherMethods { allow })), "{path}");
    }
    for path in ["/", "", "/v1", "/v1/worker", "/v1/workers/", "/v1/workers/w/", "/api/runtimes/r"] {
        let found = Operation::find(Wire::Runtime, &Method::GET, path);
        let is_worker =
            matches!(found, Some(Ok((Operation::GetWorker, captures))) if captures.worker_id == Some(""));
        assert!(found.is_none() || (path == "/v1/workers/" && is_worker), "{path}");
    }
}
