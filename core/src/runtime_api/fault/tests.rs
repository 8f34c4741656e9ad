use super::*;

/// What v1 says of a code: deployed runtimes rely on nothing but these names and statuses.
const TABLE: &[(u16, &[&str])] = &[
    (
        400,
        &[
            "invalid_json",
            "invalid_query",
            "invalid_request",
            "invalid_worker_id",
            "limit_too_large",
            "wrong_runtime",
            "wrong_runtime_cursor",
            "unknown_profile",
        ],
    ),
    (401, &["unauthorized"]),
    (403, &["not_allowed"]),
    (404, &["worker_not_found", "request_gone"]),
    (
        409,
        &[
            "runtime_stopped",
            "worker_busy",
            "worker_not_running",
            "worker_running",
            "no_terminal",
            "request_already_answered",
            "idempotency_conflict",
        ],
    ),
    (500, &["store_io", "store_missing", "store_corrupt", "state_poisoned", "not_started"]),
    (503, &["runtime_full"]),
];

#[test]
fn every_code_has_the_status_of_v1() {
    let expected: Vec<(u16, &str)> =
        TABLE.iter().flat_map(|(status, codes)| codes.iter().map(|code| (*status, *code))).collect();
    let found: Vec<(u16, &str)> =
        FaultCode::ALL.iter().map(|code| (code.status().as_u16(), code.code())).collect();
    assert_eq!(found, expected);
    for code in FaultCode::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.code());
        assert_eq!(FaultCode::from_code(code.code()), Some(*code));
        assert_eq!(Fault::new(*code, "x").response().status(), code.status());
    }
    assert_eq!(FaultCode::from_code("of_tomorrow"), None);
}

#[test]
fn a_fault_says_how_long_to_wait() {
    let full =
        Fault::new(FaultCode::RuntimeFull, "128 workers run").with_retry_after(Duration::from_millis(1500));
    assert_eq!(full.response().headers()["retry-after"], "2");
    assert!(!Fault::new(FaultCode::RuntimeFull, "x").response().headers().contains_key("retry-after"));
}

#[test]
fn a_fault_says_where_nothing_was_done() {
    let body = |fault: &Fault| String::from_utf8(fault.response().into_body().to_vec()).unwrap();
    let fault = Fault::new(FaultCode::StoreIo, "x");
    assert_eq!(body(&fault), r#"{"error":{"code":"store_io","message":"x"}}"#);
    let refused = r#"{"error":{"code":"store_io","message":"x","outcome":"not_applied"}}"#;
    assert_eq!(body(&fault.with_nothing_done()), refused);
}
