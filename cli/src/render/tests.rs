use super::*;

const PLAIN: RenderOptions = RenderOptions { color: false, verbose: false, rewritable: false };

fn with(options: RenderOptions, events: &[&str]) -> String {
    let mut renderer = Renderer::new(options);
    let shown: String =
        events.iter().map(|event| renderer.event(&Bytes::copy_from_slice(event.as_bytes()))).collect();
    shown + &renderer.finish()
}

fn rendered(events: &[&str]) -> String {
    with(PLAIN, events)
}

fn delta(text: &str) -> String {
    serde_json::json!({"event": "text_delta", "data": {"text": text}}).to_string()
}

#[test]
fn what_a_process_says() {
    let shown = rendered(&[
        r#"{"event":"snapshot","data":{"entries":[{"role":"user","content":"ls\n"},{"role":"assistant","content":"a\nb"},{"role":"stderr","content":"x"}],"status":"idle"}}"#,
        r#"{"event":"user_message","data":{"segments":[{"kind":"text","content":"pwd"}]}}"#,
        &delta("/\n"),
        &delta("\u{1b}[2J\n"),
        r#"{"event":"system_item","data":{"item":{"kind":"stderr","text":"oops\n"}}}"#,
        r#"{"event":"status","data":{"status":"idle"}}"#,
        r#"{"event":"run_end","data":{"result":"finished"}}"#,
        r#"{"event":"error","data":{"code":"internal","message":"no"}}"#,
        r#"{"event":"system_item","data":{"item":{"kind":"ended","reason":"exited","exit_code":3}}}"#,
    ]);
    assert_eq!(shown, "> ls\na\nb\nx\n> pwd\n/\n␛[2J\noops\n! no\n— exited, exit status 3\n");
}

#[test]
fn fragments_are_put_together() {
    let shown = rendered(&[
        &delta("a "),
        &delta("b\nc"),
        r#"{"event":"text_done","data":{"text":"a b\nc"}}"#,
        r#"{"event":"thinking_delta","data":{"text":"h"}}"#,
        r#"{"event":"thinking_delta","data":{"text":"m"}}"#,
        &delta("d"),
    ]);
    assert_eq!(shown, "a b\nc\nhm\nd\n");
}

#[test]
fn a_line_is_shown_as_it_grows_where_it_can_be_taken_back() {
    let terminal = RenderOptions { rewritable: true, ..PLAIN };
    let mut renderer = Renderer::new(terminal);
    let mut event = |text: &str| renderer.event(&Bytes::from(delta(text)));
    assert_eq!(event("name? "), "name? ");
    assert_eq!(event("x\n10%"), "x\n10%");
    assert_eq!(event("\r"), "");
    assert_eq!(event("20%\r"), "\r20%");
    assert_eq!(event("100%\r\nd"), "\r100%\nd");
    let events: Vec<String> = ["10%", "\r20%", "\r100%\n", "x"].map(delta).to_vec();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    assert_eq!(rendered(&events), "100%\nx\n");
}

#[test]
fn a_tool_is_one_line_with_its_outcome() {
    let start = r#"{"event":"tool_call_start","data":{"id":"1","name":"grep"}}"#;
    let result = r#"{"event":"tool_result","data":{"id":"1","summary":"3 files","output":null}}"#;
    assert_eq!(rendered(&[start, result]), "· grep … 3 files\n");
    assert_eq!(with(RenderOptions { rewritable: true, ..PLAIN }, &[start, result]), "· grep … 3 files\n");
    let late = r#"{"event":"tool_result","data":{"id":"1","name":"grep","output":"1\n2\n3\n4\n5\n6\n7"}}"#;
    assert_eq!(
        rendered(&[start, &delta("x\n"), late]),
        "· grep …\nx\n· grep … 1\n  2\n  3\n  4\n  5\n  … 2 more lines\n"
    );
    let failed = r#"{"event":"tool_result","data":{"id":"1","is_error":true,"content":[{"type":"text","text":"no"}]}}"#;
    assert_eq!(rendered(&[start, failed]), "· grep … failed: no\n");
}

#[test]
fn items_are_shown_by_their_text() {
    let item = |item: &str| format!(r#"{{"event":"system_item","data":{{"item":{item}}}}}"#);
    for (given, shown) in [
        (r#"{"kind":"notice","body":"b","text":"t"}"#, "b\n"),
        (r#"{"kind":"notice","message":"m"}"#, "m\n"),
        (r#"{"kind":"request","title":"May it?"}"#, "? May it?\n"),
        (
            r#"{"kind":"request","request":{"request_id":"r1-1","title":"May it?","options":[{"option_id":"y","name":"Yes"},{"option_id":"n","name":"No"}]}}"#,
            "? May it? (r1-1)\n  1. Yes (y)\n  2. No (n)\n",
        ),
        (r#"{"kind":"request_resolved","request_id":"r1-1","option_id":"y"}"#, "— r1-1: y\n"),
        (
            r#"{"kind":"request_resolved","request_id":"r1-1","dismissed":true,"reason":"turn_ended"}"#,
            "— r1-1: dismissed, turn ended\n",
        ),
        (r#"{"kind":"resumed"}"#, "— resumed\n"),
        (
            r#"{"kind":"acp.plan","update":{"entries":[{"content":"a","status":"completed"},{"content":"b"}]}}"#,
            "  [x] a\n  [ ] b\n",
        ),
        (r#"{"kind":"acp.plan","update":{"entries":[]}}"#, ""),
        (r#"{"kind":"acp.usage","update":{"used":1}}"#, ""),
    ] {
        assert_eq!(rendered(&[&item(given)]), shown, "{given}");
    }
    let segments = r#"{"event":"user_message","data":{"segments":[{"kind":"paste","content":"a\nb"},{"kind":"file_ref","path":"/x"}]}}"#;
    assert_eq!(rendered(&[segments]), "> a\n  b\n  [/x]\n");
}

#[test]
fn what_is_not_known_is_shown_in_short_to_those_who_ask() {
    let long = format!(r#"{{"event":"new","data":{{"x":"{}"}}}}"#, "y".repeat(500));
    let events = [long.as_str(), "[]", "nonsense", r#"{"event":"usage","data":{}}"#];
    assert_eq!(rendered(&events), "");
    let shown = with(RenderOptions { verbose: true, ..PLAIN }, &events);
    assert_eq!(shown.lines().next().unwrap().chars().count(), MAX_UNKNOWN);
    assert_eq!(shown.lines().count(), 4);
}

#[test]
fn a_message_is_shown_once_on_its_ack_or_its_event() {
    let told = r#"{"event":"user_message","data":{"segments":[{"content":"ls"}]}}"#;
    let told = Bytes::from_static(told.as_bytes());
    let mut renderer = Renderer::new(PLAIN);
    assert_eq!(renderer.event(&told), "> ls\n");
    assert_eq!(renderer.acknowledged("ls"), "");
    assert_eq!(renderer.acknowledged("ls"), "> ls\n");
    assert_eq!(renderer.event(&told), "");
    assert_eq!(renderer.event(&told), "> ls\n", "another client said the same");
}

#[test]
fn one_odd_value_costs_that_value() {
    let deep = format!("{}7{}", "[".repeat(300), "]".repeat(300));
    let snapshot = format!(
        r#"{{"event":"snapshot","data":{{"entries":[{{"role":"assistant","content":"cut \ud83d","deep":{deep}}},
        {{"role":"assistant","content":"whole","cost":1e400}}],"status":"idle"}}}}"#
    );
    let delta = r#"{"event":"text_delta","data":{"text":"on\n","at":1e400}}"#;
    assert_eq!(rendered(&[&snapshot, delta]), "cut \u{fffd}\nwhole\non\n");
}
