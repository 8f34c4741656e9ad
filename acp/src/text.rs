//! Text that an agent wrote, and how it is cut.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A JSON string. Half of a surrogate pair, which programs write that cut UTF-16 anywhere, becomes U+FFFD; a strict
/// reader would refuse the whole message for it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(readable(bytes).into_owned()))
            }
        }
        deserializer.deserialize_bytes(TextVisitor)
    }
}

/// Bytes as text, with one U+FFFD for each half of a surrogate pair and for each other part that is not UTF-8.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut mended = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = match rest {
            [0xED, 0xA0..=0xBF, 0x80..=0xBF, after @ ..] => {
                mended.extend_from_slice("\u{FFFD}".as_bytes());
                after
            }
            _ => {
                mended.push(*first);
                tail
            }
        };
    }
    Cow::Owned(String::from_utf8_lossy(&mended).into_owned())
}

/// The beginning of a text: at most `max` bytes, whole characters.
pub(crate) fn beginning(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// A text of at most `max` bytes, the mark of a cut included.
pub(crate) fn cut(text: &str, max: usize) -> String {
    const MARK: &str = "…";
    match text.len() <= max {
        true => text.to_owned(),
        false => format!("{}{MARK}", beginning(text, max.saturating_sub(MARK.len()))),
    }
}

/// The text without the characters that would end its line, for what is shown on one.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let line = text.trim();
    let first = line.lines().next().unwrap_or_default();
    match first.len() < line.len() {
        true => cut(&format!("{} …", first.trim_end()), max),
        false => cut(first, max),
    }
}

#[cfg(test)]
mod tests;
