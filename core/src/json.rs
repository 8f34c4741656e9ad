//! Reading JSON that other programs wrote, so that one odd thing costs that thing alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// What can be read of a list, and how many of its entries cannot.
pub(crate) struct Readable<T> {
    pub(crate) entries: Vec<T>,
    pub(crate) left_out: usize,
}

/// Reads each entry of a list by itself.
pub(crate) fn readable<T: DeserializeOwned>(entries: &[&RawValue]) -> Readable<T> {
    let read: Vec<T> = entries.iter().filter_map(|entry| serde_json::from_str(entry.get()).ok()).collect();
    Readable { left_out: entries.len() - read.len(), entries: read }
}

/// How deep values are that [`value`] takes apart. What is deeper stands as its text.
const MAX_DEPTH: usize = 64;

/// The value of a JSON text, as far as it can be held: what is nested too deeply, or a number out of range, stands as the
/// text that it is, and U+FFFD for half a surrogate pair. `None` where the text is not JSON.
pub(crate) fn value(text: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(text) {
        return Some(value);
    }
    let whole = with_whole_characters(std::str::from_utf8(text).ok()?);
    let raw: &RawValue = serde_json::from_str(&whole).ok()?;
    Some(part(raw, 0))
}

fn part(raw: &RawValue, depth: usize) -> Value {
    let text = raw.get();
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    let as_text = || Value::String(text.to_owned());
    match text.bytes().next() {
        _ if depth == MAX_DEPTH => as_text(),
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(entries) => Value::Array(entries.into_iter().map(|entry| part(entry, depth + 1)).collect()),
            Err(_) => as_text(),
        },
        Some(b'{') => match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
            Ok(fields) => Value::Object(
                fields.into_iter().map(|(name, field)| (name, part(field, depth + 1))).collect(),
            ),
            Err(_) => as_text(),
        },
        _ => as_text(),
    }
}

/// A JSON text in which U+FFFD stands for each half of a surrogate pair that lacks the other (RFC 8259, section 8.2).
///
/// Programs that count in UTF-16 cut texts within a pair. Rust's strings have no such halves, so JSON with one of them
/// cannot be read at all.
pub(crate) fn with_whole_characters(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    // Most texts have no escape at all, and what looks for a single byte is the fastest to see it.
    if memchr::memchr(b'\\', bytes).is_none() || !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut whole = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        // Any escape but one of four digits is two bytes long.
        let length = match escaped(bytes, at) {
            None => 2,
            Some(0xD800..=0xDBFF) if matches!(escaped(bytes, at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                whole.push_str(&text[copied..at]);
                whole.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            Some(_) => 6,
        };
        at += length;
    }
    match copied {
        0 => Cow::Borrowed(text),
        _ => {
            whole.push_str(&text[copied..]);
            Cow::Owned(whole)
        }
    }
}

/// The unit of UTF-16 that is written as `\uXXXX` here.
fn escaped(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    escape.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        u16::try_from(digit).ok().map(|digit| unit * 16 + digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_pairs() {
        for (text, whole) in [
            (r#""cut \ud83d""#, r#""cut \ufffd""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00 \udE00""#, r#""\uD83D\uDE00 \ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\ud83dx\udc00関""#, r#""\ufffdx\ufffd関""#),
            (r#""\u00e9 plain""#, r#""\u00e9 plain""#),
            (r#""\ud83""#, r#""\ud83""#),
            ("", ""),
        ] {
            assert_eq!(with_whole_characters(text), whole, "{text}");
        }
    }

    #[test]
    fn a_value_is_held_as_far_as_it_can_be() {
        assert_eq!(value(br#"{"a":[1,"x"]}"#), Some(serde_json::json!({"a": [1, "x"]})));
        assert_eq!(
            value(br#"{"a":1e400,"b":"cut \ud83d"}"#),
            Some(serde_json::json!({"a": "1e400", "b": "cut \u{fffd}"}))
        );
        assert_eq!(value(b"{\"a\":"), None);
        assert_eq!(value(b"\xff"), None);
        let deep = format!(r#"{{"deep":{}7{},"flat":1}}"#, "[".repeat(300), "]".repeat(300));
        let held = value(deep.as_bytes()).unwrap();
        assert_eq!(held["flat"], 1);
        let (mut inner, mut depth) = (&held["deep"], 1);
        while let Value::Array(entries) = inner {
            (inner, depth) = (&entries[0], depth + 1);
        }
        assert_eq!(depth, MAX_DEPTH);
        let rest = inner.as_str().unwrap();
        assert!(rest.starts_with("[[") && rest.ends_with("]]") && rest.contains('7'), "{rest}");
    }

    #[test]
    fn an_odd_entry_costs_itself() {
        let entries: Vec<&RawValue> = serde_json::from_str(r#"[1, "two", 3, -4, null, 1e400]"#).unwrap();
        let Readable { entries, left_out } = readable::<u8>(&entries);
        assert_eq!((entries, left_out), (vec![1, 3], 4));
    }
}
