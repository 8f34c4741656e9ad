use serde_json::{Value, json};

use super::*;

fn bounded_text(json: &str) -> String {
    bounded(serde_json::from_str::<&RawValue>(json).unwrap()).get().to_owned()
}

#[test]
fn what_is_small_is_passed_on_as_it_is() {
    for json in [r#"{"b":1,"a":[true,null,"x\n"]}"#, "[]", "1.50", r#""\u00e9 \\ud83d""#, r#""\ud83d\ude00""#]
    {
        assert_eq!(bounded_text(json), json);
    }
}

#[test]
fn halves_of_surrogate_pairs_are_replaced() {
    for (json, expected) in [
        (r#""\ud83d""#, r#""\ufffd""#),
        (r#""\ude00\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
        (r#""\\\ud83dx""#, r#""\\\ufffdx""#),
        (r#""\ud83d関""#, r#""\ufffd関""#),
        (r#""\ud83d\n""#, r#""\ufffd\n""#),
    ] {
        assert_eq!(bounded_text(json), expected, "{json}");
        serde_json::from_str::<Value>(expected).unwrap();
    }
}

#[test]
fn large_fields_are_left_out_and_small_ones_kept() {
    let large = "x".repeat(MAX_RAW);
    let value = json!({"id": "a", "content": {"type": "image", "data": large}, "more": [large]});
    let bounded: Value = serde_json::from_str(&bounded_text(&value.to_string())).unwrap();
    assert_eq!(
        bounded,
        json!({
            "id": "a",
            "content": {"type": "image", "data": {"omitted_bytes": MAX_RAW + 2}},
            "more": {"omitted_bytes": MAX_RAW + 4},
        })
    );
}

#[test]
fn an_object_of_very_many_fields_is_left_out() {
    let fields: serde_json::Map<String, Value> = (0..20_000).map(|n| (n.to_string(), json!(n))).collect();
    let json = Value::Object(fields).to_string();
    assert_eq!(bounded_text(&json), omitted(json.len()));
}

#[test]
fn what_nests_too_deep_is_left_out() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(bounded_text(&nested(MAX_RAW_DEPTH)), nested(MAX_RAW_DEPTH));
    assert_eq!(bounded_text(&nested(MAX_RAW_DEPTH + 1)), omitted(2 * MAX_RAW_DEPTH + 2));
    assert_eq!(depth(r#"{"a":"[[[\"[["}"#), 1);
}
