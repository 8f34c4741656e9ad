//! JSON that is passed on as the agent wrote it: cleaned, and bounded in size and depth.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::{MAX_RAW, MAX_RAW_DEPTH};
use crate::text::Text;

/// How many levels of an update that is too large are looked into for what makes it so.
const LEVELS: usize = 3;

/// The share of the room that one field of an update that is too large may take: one in this many.
const SHARE: usize = 4;

/// The value as others can read it, in at most [`MAX_RAW`] bytes.
pub(crate) fn bounded(raw: &RawValue) -> Box<RawValue> {
    from_json(fit(raw.get(), MAX_RAW, LEVELS))
}

/// JSON that this crate has put together.
pub(crate) fn from_json(json: String) -> Box<RawValue> {
    // What gets here is always JSON; where it is not, nothing is what is passed on.
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// What stands for a value that is left out.
fn omitted(bytes: usize) -> String {
    format!(r#"{{"omitted_bytes":{bytes}}}"#)
}

fn fit(json: &str, room: usize, levels: usize) -> String {
    if depth(json) > MAX_RAW_DEPTH {
        return omitted(json.len());
    }
    if json.len() <= room {
        return whole_characters(json).into_owned();
    }
    let fields = match serde_json::from_str::<Fields<'_>>(json) {
        Ok(Fields(fields)) if levels > 0 => fields,
        _ => return omitted(json.len()),
    };
    let mut fitted = String::from("{");
    for (key, value) in fields {
        if fitted.len() > 1 {
            fitted.push(',');
        }
        // A string is always JSON.
        fitted.push_str(&serde_json::to_string(&key.0).unwrap_or_default());
        fitted.push(':');
        fitted.push_str(&fit(value.get(), room / SHARE, levels - 1));
        if fitted.len() >= room {
            return omitted(json.len());
        }
    }
    fitted.push('}');
    fitted
}

/// The fields of an object, in their order.
struct Fields<'a>(Vec<(Text, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// How deep arrays and objects nest.
fn depth(json: &str) -> usize {
    let (mut deepest, mut depth) = (0, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The same JSON with U+FFFD for each half of a surrogate pair: strict readers refuse those.
fn whole_characters(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u") {
        return Cow::Borrowed(json);
    }
    let mut whole = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        // An escape is two characters, but for those of code units, which are six.
        let (first, after) = escape.split_at_checked(6).unwrap_or((escape, ""));
        rest = match (code_unit(first), code_unit(after.get(..6).unwrap_or_default())) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => {
                let (pair, after) = escape.split_at(12);
                whole.push_str(pair);
                after
            }
            (Some(0xD800..=0xDFFF), _) => {
                whole.push_str("\\ufffd");
                after
            }
            (Some(_), _) => {
                whole.push_str(first);
                after
            }
            (None, _) => {
                let (simple, after) = escape.split_at_checked(2).unwrap_or((escape, ""));
                whole.push_str(simple);
                after
            }
        };
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// The code unit that `\uXXXX` stands for.
fn code_unit(escape: &str) -> Option<u16> {
    u16::from_str_radix(escape.strip_prefix("\\u")?, 16).ok()
}

#[cfg(test)]
mod tests;
