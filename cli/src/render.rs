//! A worker's events, for people.

mod agent;
mod line;
mod payload;

use std::collections::VecDeque;

use anstyle::Style;
use bytes::Bytes;
use sekisho_core::frame::payload_value;
use serde_json::Value;

use crate::text::{BAD, FAINT, SAID, WARNING, painted, safe, safe_line};
use line::Line;
use payload::{Data, end, first_of, segments};

pub(crate) use payload::{Entry, end_in_words, entries, message, whole};

/// How much of an event is shown that is not known, in characters.
const MAX_UNKNOWN: usize = 160;

/// How many lines of a tool's result are shown.
const MAX_RESULT_LINES: usize = 5;

/// How many messages are remembered to be shown once, whether they come from this side or on the stream first.
const MAX_ECHOES: usize = 64;

/// How texts are made of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RenderOptions {
    /// With colours.
    pub(crate) color: bool,
    /// With what is of no interest most of the time: states, usage, and events that are not known.
    pub(crate) verbose: bool,
    /// Whether a line can be shown before it is finished, and be taken back: a carriage return in what is rendered then
    /// begins the line again, which is cleared first. Where it cannot, as in a pipe, only finished lines are shown.
    pub(crate) rewritable: bool,
}

/// Makes texts of events. Fragments of a text are put together: it knows the line that is not finished.
#[derive(Debug)]
pub(crate) struct Renderer {
    options: RenderOptions,
    open: Open,
    line: Line,
    /// Messages that were shown when they were sent, and that the stream has not told of yet.
    shown_first: VecDeque<String>,
    /// Messages that the stream has told of, and that have not been acknowledged yet.
    told_first: VecDeque<String>,
}

/// What the line is that is not finished.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Open {
    /// There is none.
    Nothing,
    /// What the worker says.
    Text,
    /// What it says on standard error.
    Stderr,
    /// What it thinks.
    Thinking,
    /// A tool that has no outcome yet, by its id.
    Tool(String),
}

impl Open {
    fn style(&self) -> Style {
        match self {
            Self::Nothing | Self::Text => Style::new(),
            Self::Stderr => WARNING,
            Self::Thinking | Self::Tool(_) => FAINT,
        }
    }
}

impl Renderer {
    pub(crate) fn new(options: RenderOptions) -> Self {
        Self {
            options,
            open: Open::Nothing,
            line: Line::default(),
            shown_first: VecDeque::new(),
            told_first: VecDeque::new(),
        }
    }

    /// How it makes texts.
    pub(crate) fn options(&self) -> RenderOptions {
        self.options
    }

    /// What an event looks like. May be nothing.
    pub(crate) fn event(&mut self, payload: &Bytes) -> String {
        let payload: Value = payload_value(payload);
        let data = Data(&payload["data"]);
        match payload["event"].as_str().unwrap_or_default() {
            "snapshot" => self.entries(&entries(&payload)) + &self.open_requests(&payload),
            "user_message" => self.user_message(&segments(data.0)),
            "text_delta" => self.fragment(Open::Text, &data.text("text")),
            "thinking_delta" => self.fragment(Open::Thinking, &data.text("text")),
            // They repeat what the fragments were.
            "text_done" | "thinking_done" => self.end_line(),
            "tool_call_start" => self.tool_start(data),
            "tool_result" => self.tool_result(data),
            "error" => self.line(BAD, &format!("! {}", first_of(data.0, &["message", "code"]))),
            "system_item" => self.system_item(&data.0["item"]),
            "run_end" if data.text("result") != "finished" => {
                self.line(FAINT, &format!("— {}", data.text("result").replace('_', " ")))
            }
            "sekisho.event_too_large" => {
                self.line(WARNING, &format!("… an event of {} bytes, too large to be shown", data.0["bytes"]))
            }
            "status" if self.options.verbose => self.line(FAINT, &format!("— {}", data.text("status"))),
            "run_end" if self.options.verbose => self.line(FAINT, "— finished"),
            "status" | "run_end" => String::new(),
            name if self.options.verbose => self.unknown(name, data.0),
            _ => String::new(),
        }
    }

    /// Entries of a history.
    pub(crate) fn entries(&mut self, entries: &[Entry]) -> String {
        entries.iter().map(|entry| self.entry(entry)).collect()
    }

    /// The questions of a snapshot that wait for an answer.
    pub(crate) fn open_requests(&mut self, snapshot: &Value) -> String {
        let requests = snapshot["data"]["requests"].as_array().map_or(&[][..], Vec::as_slice);
        requests.iter().map(|request| self.line(WARNING, &agent::question(request).join("\n"))).collect()
    }

    /// A message that was sent from here and is acknowledged: shown unless the stream has told of it, which it need not.
    pub(crate) fn acknowledged(&mut self, message: &str) -> String {
        if take(&mut self.told_first, message) {
            return String::new();
        }
        remember(&mut self.shown_first, message);
        self.said("user", message)
    }

    /// A line about this program.
    pub(crate) fn note(&mut self, style: Style, text: &str) -> String {
        self.line(style, &format!("sekisho: {text}"))
    }

    /// What is still to be shown when nothing more comes.
    pub(crate) fn finish(&mut self) -> String {
        self.end_line()
    }

    fn entry(&mut self, entry: &Entry) -> String {
        let content = entry.content.as_str();
        match &*entry.role {
            "assistant" => self.lines(Style::new(), content),
            "stderr" => self.lines(WARNING, content),
            role => self.said(role, content),
        }
    }

    fn user_message(&mut self, message: &str) -> String {
        if take(&mut self.shown_first, message) {
            return String::new();
        }
        remember(&mut self.told_first, message);
        self.said("user", message)
    }

    fn said(&mut self, role: &str, text: &str) -> String {
        let prompt = if role == "user" { "> ".to_owned() } else { format!("{role}> ") };
        // Rows of one message must not look like several messages.
        let text = text.strip_suffix('\n').unwrap_or(text).replace('\n', "\n  ");
        let style = if role == "user" { SAID } else { FAINT };
        self.line(style, &format!("{prompt}{text}"))
    }

    fn tool_start(&mut self, data: Data<'_>) -> String {
        let name = first_of(data.0, &["name", "tool", "tool_name", "title"]);
        let begun = self.end_line();
        self.line.write(&safe_line(&format!("· {name} …")));
        self.open = Open::Tool(first_of(data.0, &["id", "tool_call_id", "call_id", "tool_use_id"]));
        begun + &self.show_unfinished(0)
    }

    fn tool_result(&mut self, data: Data<'_>) -> String {
        let name = first_of(data.0, &["name", "tool", "tool_name", "title"]);
        let id = first_of(data.0, &["id", "tool_call_id", "call_id", "tool_use_id"]);
        let outcome = first_of(data.0, &["summary", "output", "result", "content", "text"]);
        let failed =
            ["is_error", "failed"].iter().any(|key| data.0[*key] == true) || !data.0["error"].is_null();
        let outcome = match failed && outcome.is_empty() {
            true => first_of(data.0, &["error"]),
            false => outcome,
        };
        let mut rows = outcome.lines();
        let first = rows.next().unwrap_or("done");
        let first = if failed { format!("failed: {first}") } else { first.to_owned() };
        let mut shown = match &self.open {
            Open::Tool(open) if *open == id => {
                let length = self.line.write(&format!(" {}", safe_line(&first)));
                self.show_unfinished(length)
            }
            _ => self.line(FAINT, format!("· {name} … {first}").replace("  ", " ").as_str()),
        };
        let rest: Vec<&str> = rows.collect();
        for row in rest.iter().take(MAX_RESULT_LINES - 1) {
            shown += &self.line(FAINT, &format!("  {row}"));
        }
        if rest.len() >= MAX_RESULT_LINES {
            shown += &self.line(FAINT, &format!("  … {} more lines", rest.len() + 1 - MAX_RESULT_LINES));
        }
        shown + &self.end_line()
    }

    fn system_item(&mut self, item: &Value) -> String {
        let kind = item["kind"].as_str().unwrap_or_default();
        let text = first_of(item, &["body", "message", "text", "title"]);
        match kind {
            "stderr" => self.fragment(Open::Stderr, &text),
            "ended" => self.line(FAINT, &format!("— {}", end(item))),
            "request" if item["request"].is_object() => {
                self.line(WARNING, &agent::question(&item["request"]).join("\n"))
            }
            "request" => self.line(WARNING, &format!("? {text}")),
            "request_resolved" => self.line(FAINT, &agent::resolved(item)),
            "resumed" => self.line(FAINT, "— resumed"),
            "acp.plan" => {
                let plan = agent::plan(&item["update"]);
                if plan.is_empty() { String::new() } else { self.line(FAINT, &plan.join("\n")) }
            }
            _ if !text.is_empty() => self.line(FAINT, &text),
            _ if self.options.verbose => self.unknown(&format!("system_item {kind}"), item),
            _ => String::new(),
        }
    }

    fn unknown(&mut self, name: &str, data: &Value) -> String {
        let shown: String = format!("· {name} {data}").chars().take(MAX_UNKNOWN).collect();
        self.line(FAINT, &safe_line(&shown))
    }

    /// A piece of a text, with the line ends that belong to it.
    fn fragment(&mut self, open: Open, text: &str) -> String {
        let mut shown = if self.open == open { String::new() } else { self.end_line() };
        let style = open.style();
        let mut shown_before = self.line.shown_length();
        let mut rest = text;
        while let Some((row, after)) = rest.split_once('\n') {
            self.line.write(row.strip_suffix('\r').unwrap_or(row));
            shown.push_str(&self.painted_from(style, shown_before));
            shown.push('\n');
            self.line = Line::default();
            (rest, shown_before) = (after, 0);
        }
        self.open = Open::Nothing;
        if !rest.is_empty() {
            self.line.write(rest);
        }
        if !self.line.is_empty() {
            self.open = open;
            shown.push_str(&self.show_unfinished(shown_before));
        }
        shown
    }

    /// The unfinished line, from what was already shown of it on, where it is shown at all.
    fn show_unfinished(&mut self, shown_before: usize) -> String {
        if !self.options.rewritable {
            return String::new();
        }
        let shown = self.painted_from(self.open.style(), shown_before);
        self.line.mark_shown();
        shown
    }

    /// The line, as far as it was not shown yet; all of it after a carriage return where what was shown has changed.
    fn painted_from(&self, style: Style, shown_before: usize) -> String {
        match self.line.since_shown(shown_before) {
            Ok(added) => painted(self.options.color, style, &safe(&added)),
            Err(whole) => format!("\r{}", painted(self.options.color, style, &safe(&whole))),
        }
    }

    /// Whole lines, as a terminal would have shown them last.
    fn lines(&mut self, style: Style, text: &str) -> String {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text: Vec<String> = text.split('\n').map(line::as_shown).collect();
        self.line(style, &text.join("\n"))
    }

    fn line(&mut self, style: Style, text: &str) -> String {
        let begun = self.end_line();
        let text = safe(text.strip_suffix('\n').unwrap_or(text));
        format!("{begun}{}\n", painted(self.options.color, style, &text))
    }

    /// Ends the line that is not finished.
    fn end_line(&mut self) -> String {
        let style = self.open.style();
        if std::mem::replace(&mut self.open, Open::Nothing) == Open::Nothing {
            return String::new();
        }
        let shown = self.painted_from(style, self.line.shown_length());
        self.line = Line::default();
        shown + "\n"
    }
}

/// Takes a message out, if it is there.
fn take(messages: &mut VecDeque<String>, message: &str) -> bool {
    let found = messages.iter().position(|other| other == message);
    found.and_then(|at| messages.remove(at)).is_some()
}

fn remember(messages: &mut VecDeque<String>, message: &str) {
    messages.push_back(message.to_owned());
    if messages.len() > MAX_ECHOES {
        messages.pop_front();
    }
}

#[cfg(test)]
mod tests;
