use super::*;

#[test]
fn a_nested_field_that_is_not_known_is_refused() {
    for json in [
        r#"{"kind":"assistant","colour":"red"}"#,
        r#"{"kind":"task","objective":"x","purpose":"y"}"#,
        r#"{"kind":"task"}"#,
        r#"{"kind":"butler"}"#,
    ] {
        assert!(serde_json::from_str::<Intent>(json).is_err(), "{json}");
    }
    for json in [r#"{"kind":"runtime_default","path":"/bin/sh"}"#, r#"{"kind":"named"}"#] {
        assert!(serde_json::from_str::<Profile>(json).is_err(), "{json}");
    }
}

#[test]
fn profiles_are_tagged() {
    for (profile, json) in [
        (Profile::RuntimeDefault, r#"{"kind":"runtime_default"}"#),
        (Profile::Builtin("builtin:echo".into()), r#"{"kind":"builtin","value":"builtin:echo"}"#),
        (Profile::Named("shell".into()), r#"{"kind":"named","value":"shell"}"#),
    ] {
        assert_eq!(serde_json::to_string(&profile).unwrap(), json);
        assert_eq!(serde_json::from_str::<Profile>(json).unwrap(), profile);
    }
}

#[test]
fn inputs_and_answers_on_the_wire() {
    let plain = Input::new(InputKind::User, "");
    for (input, json) in [
        (plain.clone(), r#"{"kind":"user","content":""}"#),
        (Input { raw: true, ..plain.clone() }, r#"{"kind":"user","content":"","raw":true}"#),
        (Input { secret: true, ..plain }, r#"{"kind":"user","content":"","secret":true}"#),
        (Input::eof(), r#"{"kind":"eof"}"#),
    ] {
        assert_eq!(serde_json::to_string(&input).unwrap(), json);
        assert_eq!(serde_json::from_str::<Input>(json).unwrap(), input);
    }
    for json in [r#"{"kind":"user"}"#, r#"{"kind":"eof","raw":true}"#, r#"{"content":"x"}"#] {
        assert!(serde_json::from_str::<Input>(json).is_err(), "{json}");
    }
    for (answer, json) in
        [(Answer::Option("a".into()), r#"{"option_id":"a"}"#), (Answer::Dismiss, r#"{"dismiss":true}"#)]
    {
        assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        assert_eq!(serde_json::from_str::<Answer>(json).unwrap(), answer);
    }
    for json in ["{}", r#"{"dismiss":false}"#, r#"{"option_id":"a","dismiss":true}"#, r#"{"why":1}"#] {
        assert!(serde_json::from_str::<Answer>(json).is_err(), "{json}");
    }
}

#[test]
fn a_secret_is_not_printed() {
    let input = Input { secret: true, ..Input::new(InputKind::User, "hunter2") };
    assert!(!format!("{input:?}").contains("hunter2"));
    assert!(format!("{:?}", Input::new(InputKind::User, "hello")).contains("hello"));
}

#[test]
fn values_of_tomorrow_are_kept_as_they_are() {
    let end: WorkerEnd = serde_json::from_str(r#"{"reason":"evicted"}"#).unwrap();
    assert_eq!(end.reason, EndReason::Other("evicted".into()));
    assert_eq!(serde_json::to_string(&end).unwrap(), r#"{"reason":"evicted"}"#);
    let activity: WorkerActivity = serde_json::from_str(r#""dreaming""#).unwrap();
    assert_eq!(serde_json::to_string(&activity).unwrap(), r#""dreaming""#);
}

#[test]
fn a_status_of_tomorrow_is_unknown() {
    assert_eq!(serde_json::from_str::<WorkerStatus>(r#""resting""#).unwrap(), WorkerStatus::Unknown);
    assert_eq!(serde_json::from_str::<RuntimeStatus>(r#""resting""#).unwrap(), RuntimeStatus::Unknown);
}

#[test]
fn a_size_is_made_of_whole_numbers_however_they_are_written() {
    let read = |cols| serde_json::from_str::<TerminalSize>(&format!(r#"{{"cols":{cols},"rows":24}}"#));
    for cols in ["80", "80.0", "8e1"] {
        assert_eq!(read(cols).unwrap().cols.get(), 80, "{cols}");
    }
    for cols in ["0", "0.0", "80.5", "65536", "65536.0", "-1", "1e400", "\"80\"", "null"] {
        assert!(read(cols).is_err(), "{cols}");
    }
}
