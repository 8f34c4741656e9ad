//! A worker's events, for people.

use anstyle::Style;
use bytes::Bytes;
use serde_json::Value;

use crate::text::{BAD, FAINT, SAID, WARNING, painted, safe, safe_line};

/// How much of an event is shown that nothing is known of, in characters.
const MAX_UNKNOWN: usize = 160;

/// How many lines of a tool's result are shown.
const MAX_RESULT_LINES: usize = 5;

/// Makes texts of events. It knows what was written before, as pieces of text go on where the last one ended.
#[derive(Debug)]
pub(crate) struct Renderer {
    color: bool,
    /// Whether pieces of text are parts of lines, as they are where the worker says when a text is done, and not lines.
    in_pieces: bool,
    /// Whether the last piece ended within a line.
    within_line: bool,
}

impl Renderer {
    pub(crate) fn new(color: bool) -> Self {
        Self { color, in_pieces: false, within_line: false }
    }

    /// What an event looks like: whole lines, but for pieces of text. May be nothing.
    pub(crate) fn event(&mut self, payload: &Bytes) -> String {
        let payload: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
        let data = &payload["data"];
        let text = |key: &str| data[key].as_str().unwrap_or_default();
        match payload["event"].as_str().unwrap_or_default() {
            "snapshot" => self.snapshot(data),
            "user_message" => self.said("user", &segments(data)),
            "text_delta" => self.piece(text("text")),
            "text_done" => {
                self.in_pieces = true;
                self.end_line()
            }
            "thinking_delta" => self.line(FAINT, text("text")),
            "tool_call_start" => {
                self.line(FAINT, &format!("· {}", first_of(data, &["name", "tool", "tool_name"])))
            }
            "tool_result" => {
                let result = first_of(data, &["result", "output", "content", "text"]);
                let mut lines: Vec<String> = result.lines().map(|line| format!("  {line}")).collect();
                if lines.len() > MAX_RESULT_LINES {
                    let more = lines.len() - MAX_RESULT_LINES;
                    lines.truncate(MAX_RESULT_LINES);
                    lines.push(format!("  … {more} more lines"));
                }
                self.line(FAINT, &lines.join("\n"))
            }
            // Told with every step, and of no interest in a terminal.
            "usage" => String::new(),
            "status" => self.line(FAINT, &format!("— {}", text("status"))),
            "run_end" => self.line(FAINT, &format!("— {}", text("result"))),
            "error" => self.line(BAD, &format!("! {}", first_of(data, &["message", "code"]))),
            "system_item" => {
                let item = &data["item"];
                let style = if item["kind"] == "stderr" { WARNING } else { FAINT };
                self.line(style, item["text"].as_str().unwrap_or_default())
            }
            "sekisho.event_too_large" => {
                self.line(WARNING, &format!("… an event of {} bytes, too large to be shown", data["bytes"]))
            }
            name => {
                let shown: String = format!("· {name} {data}").chars().take(MAX_UNKNOWN).collect();
                self.line(FAINT, &safe_line(&shown))
            }
        }
    }

    /// A line that is none of the worker's.
    pub(crate) fn note(&mut self, style: Style, text: &str) -> String {
        self.line(style, &format!("sekisho: {text}"))
    }

    /// The state of a worker when one comes to it: what was said so far.
    fn snapshot(&mut self, data: &Value) -> String {
        let entries = data["entries"].as_array().map_or(&[][..], Vec::as_slice);
        let mut shown = self.end_line();
        for entry in entries {
            let role = entry["role"].as_str().unwrap_or_default();
            let content = content(entry);
            shown.push_str(&match role {
                "assistant" => self.line(Style::new(), &content),
                role => self.said(role, &content),
            });
        }
        shown
    }

    fn said(&mut self, role: &str, text: &str) -> String {
        let prompt = if role == "user" { "> ".to_owned() } else { format!("{role}> ") };
        self.line(SAID, &format!("{prompt}{text}"))
    }

    fn piece(&mut self, text: &str) -> String {
        if !self.in_pieces {
            return self.line(Style::new(), text);
        }
        if let Some(last) = text.chars().last() {
            self.within_line = last != '\n';
        }
        safe(text)
    }

    fn line(&mut self, style: Style, text: &str) -> String {
        let begun = self.end_line();
        let text = safe(text.strip_suffix('\n').unwrap_or(text));
        format!("{begun}{}\n", painted(self.color, style, &text))
    }

    fn end_line(&mut self) -> String {
        if std::mem::take(&mut self.within_line) { "\n".into() } else { String::new() }
    }
}

/// What the user says in an event, or has said before a snapshot; nothing for other events.
pub(crate) fn said_by_user(payload: &Bytes) -> Vec<String> {
    let payload: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
    let data = &payload["data"];
    match payload["event"].as_str() {
        Some("snapshot") => {
            let entries = data["entries"].as_array().map_or(&[][..], Vec::as_slice);
            entries.iter().filter(|entry| entry["role"] == "user").map(content).collect()
        }
        Some("user_message") => vec![segments(data)],
        _ => Vec::new(),
    }
}

/// What an entry of a snapshot says.
fn content(entry: &Value) -> String {
    match &entry["content"] {
        Value::String(content) => content.clone(),
        _ => segments(entry),
    }
}

/// The texts of a message.
fn segments(message: &Value) -> String {
    let segments = message["segments"].as_array().map_or(&[][..], Vec::as_slice);
    let texts: Vec<&str> = segments
        .iter()
        .filter_map(|segment| segment["content"].as_str().or_else(|| segment["text"].as_str()))
        .collect();
    texts.join("\n")
}

/// The first of these that is there, as text.
fn first_of(data: &Value, keys: &[&str]) -> String {
    match keys.iter().map(|key| &data[*key]).find(|value| !value.is_null()) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(events: &[&str]) -> String {
        let mut renderer = Renderer::new(false);
        events.iter().map(|event| renderer.event(&Bytes::copy_from_slice(event.as_bytes()))).collect()
    }

    #[test]
    fn lines_of_a_process() {
        let shown = rendered(&[
            r#"{"event":"snapshot","data":{"entries":[{"role":"user","content":"ls"},{"role":"assistant","content":"a\nb"}],"status":"idle"}}"#,
            r#"{"event":"user_message","data":{"segments":[{"kind":"text","content":"pwd"}]}}"#,
            r#"{"event":"text_delta","data":{"text":"/"}}"#,
            r#"{"event":"text_delta","data":{"text":"\u001b[2J"}}"#,
            r#"{"event":"system_item","data":{"item":{"kind":"stderr","text":"oops"}}}"#,
            r#"{"event":"run_end","data":{"result":"finished"}}"#,
            r#"{"event":"error","data":{"code":"internal","message":"no"}}"#,
        ]);
        assert_eq!(shown, "> ls\na\nb\n> pwd\n/\n␛[2J\noops\n— finished\n! no\n");
    }

    #[test]
    fn what_the_user_said() {
        let snapshot = r#"{"event":"snapshot","data":{"entries":[{"role":"user","content":"ls"},{"role":"assistant","content":"a"},{"role":"user","segments":[{"text":"b"}]}]}}"#;
        let said = |event: &'static str| said_by_user(&Bytes::from_static(event.as_bytes()));
        assert_eq!(said(snapshot), ["ls", "b"]);
        assert_eq!(said(r#"{"event":"user_message","data":{"segments":[{"content":"pwd"}]}}"#), ["pwd"]);
        assert!(said("[]").is_empty());
    }

    #[test]
    fn pieces_of_text_go_on_once_it_is_known_that_they_are_pieces() {
        let delta = |text: &str| format!(r#"{{"event":"text_delta","data":{{"text":"{text}"}}}}"#);
        let done = r#"{"event":"text_done","data":{}}"#;
        let shown = rendered(&[
            &delta("a"),
            done,
            &delta("b "),
            &delta("c"),
            done,
            &delta("d"),
            r#"{"event":"status","data":{"status":"idle"}}"#,
        ]);
        assert_eq!(shown, "a\nb c\nd\n— idle\n");
    }

    #[test]
    fn what_nobody_has_heard_of_is_shown_in_short() {
        let long = format!(r#"{{"event":"new","data":{{"x":"{}"}}}}"#, "y".repeat(500));
        assert_eq!(rendered(&[&long]).chars().count(), MAX_UNKNOWN + 1);
        assert_eq!(rendered(&["[]", "nonsense"]), "·  null\n·  null\n");
        assert_eq!(rendered(&[r#"{"event":"usage","data":{}}"#]), "");
    }
}
