use serde_json::json;

use super::*;

#[test]
fn messages_are_told_apart() {
    for (line, expected) in [
        (r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":1}}"#, r#"request 7 m {"a":1}"#),
        (r#"{"jsonrpc":"2.0","id":"x","method":"m"}"#, r#"request "x" m"#),
        (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, "request null m"),
        (r#"{"method":"m","jsonrpc":"2.0"}"#, "notification m"),
        (r#"{"jsonrpc":"2.0","id":3,"result":null}"#, "response Some(3) null"),
        (r#"{"jsonrpc":"2.0","id":3,"result":{"a":"\ud83d"}}"#, r#"response Some(3) {"a":"\ud83d"}"#),
        (r#"{"jsonrpc":"2.0","id":"3","result":1}"#, "response None 1"),
        (r#"{"jsonrpc":"2.0","id":3,"error":{"code":-1,"message":"oh"}}"#, "error Some(3) -1 oh"),
        (r#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"a","data":"b"}}"#, "error Some(3) 1 a: b"),
        (
            r#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"a","data":{"details":"b"}}}"#,
            "error Some(3) 1 a: b",
        ),
        (r#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"a","data":{"x":1}}}"#, "error Some(3) 1 a"),
        (r#"{"jsonrpc":"2.0","id":3,"error":"no"}"#, "error Some(3) -32603 an error without a message"),
    ] {
        let raw = |raw: Option<&RawValue>| raw.map(|raw| format!(" {}", raw.get())).unwrap_or_default();
        let shown = match read(line).unwrap() {
            Message::Request { id, method, params } => format!("request {} {method}{}", id.0, raw(params)),
            Message::Notification { method, params } => format!("notification {method}{}", raw(params)),
            Message::Response { id, result: Ok(result) } => format!("response {id:?} {}", result.get()),
            Message::Response { id, result: Err(RpcError { code, message }) } => {
                format!("error {id:?} {code} {message}")
            }
        };
        assert_eq!(shown, expected);
    }
}

#[test]
fn what_is_no_json_rpc_is_no_message() {
    for line in [
        "",
        "{}",
        "[]",
        r#"{"level":"info","msg":"listening"}"#,
        r#"{"method":"GET","path":"/"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":[],"method":"m"}"#,
        r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"m""#,
        r#"{"jsonrpc":"2.0","method":"m"} {}"#,
    ] {
        assert!(read(line).is_none(), "{line}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#, "x".repeat(MAX_RPC_ID));
    assert!(read(&long).is_none());
}

#[test]
fn a_beginning_tells_what_a_notification_is() {
    for (head, expected) in [
        (r#"{"jsonrpc":"2.0","method":"session/update","params":{"a":"xx"#, Some("session/update")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"xx"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"a":"xx"#, None),
        (r#"{"jsonrpc":"2.0","params":{"method":"m"#, None),
        ("{x", None),
    ] {
        assert_eq!(notification_of_head(head.as_bytes()).as_deref(), expected, "{head}");
    }
}

#[test]
fn lines_are_json_rpc() {
    let id = RpcId(r#""a\"b""#.into());
    for (line, expected) in [
        (request(1, "m", &json!({"a": 1})), r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1}}"#),
        (notification("m", &json!({})), r#"{"jsonrpc":"2.0","method":"m","params":{}}"#),
        (result(&id, &json!(null)), r#"{"jsonrpc":"2.0","id":"a\"b","result":null}"#),
        (error(&id, -1, "a\nb"), r#"{"jsonrpc":"2.0","id":"a\"b","error":{"code":-1,"message":"a\nb"}}"#),
    ] {
        assert_eq!(line, format!("{expected}\n"));
    }
}
