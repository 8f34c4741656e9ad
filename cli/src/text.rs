//! Texts that are safe to print, and their styles.

use anstyle::{AnsiColor, Style};

/// Names.
pub(crate) const STRONG: Style = Style::new().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What is in order.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What needs attention.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// What is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What was said to a worker.
pub(crate) const SAID: Style = AnsiColor::Cyan.on_default();

/// A text in a style, where there are colours.
pub(crate) fn painted(color: bool, style: Style, text: &str) -> String {
    match color && style != Style::new() {
        true => format!("{style}{text}{style:#}"),
        false => text.to_owned(),
    }
}

/// A text that does nothing to a terminal: what controls one, or turns the direction of writing, is shown instead.
/// Line ends and tabs stay.
pub(crate) fn safe(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            // The pictures of the control characters stand in their order.
            '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            '\u{80}'..='\u{9f}' => '\u{fffd}',
            character if turns_direction(character) => '\u{fffd}',
            _ => character,
        })
        .collect()
}

/// The same on one line.
pub(crate) fn safe_line(text: &str) -> String {
    safe(text).replace(['\n', '\t'], " ")
}

/// Whether a character changes the direction in which a terminal shows text (Unicode's bidirectional controls).
fn turns_direction(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON on one line that does nothing to a terminal: in its texts, control characters (C1 too) and bidirectional controls
/// are written as escapes, which mean the same. Line ends between its tokens become spaces.
pub(crate) fn json_safe(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            // In a text of valid JSON they cannot be.
            '\n' | '\r' | '\t' => safe.push(' '),
            character if character.is_control() || turns_direction(character) => {
                safe.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            character => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(safe("a\tb\nc 関所 é"), "a\tb\nc 関所 é");
        assert_eq!(safe("\u{1b}]0;title\u{7}\r\u{0}\u{7f}"), "␛]0;title␇␍␀␡");
        assert_eq!(safe("\u{9b}31m\u{202e}x"), "\u{fffd}31m\u{fffd}x");
        assert_eq!(safe_line("two\nlines\t!"), "two lines !");
    }

    #[test]
    fn json_stays_the_same_value() {
        let json = "{\"a\":\"x\u{9b}31m\u{7f}\u{202e}é\\u001b\"}";
        let shown = json_safe(json);
        assert!(shown.is_ascii() || !shown.chars().any(|character| character.is_control()));
        assert_eq!(shown, r#"{"a":"x\u009b31m\u007f\u202eé\u001b"}"#);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(json));
        assert_eq!(json_safe("{\n \"a\": 1\n}\u{1b}"), "{  \"a\": 1 }\\u001b");
    }
}
