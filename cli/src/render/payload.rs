//! What is read of the payload of an event. Runtimes differ in the names of fields.

use sekisho_core::runtime_api::WorkerEnd;
use serde_json::Value;

/// The data of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data<'a>(pub(super) &'a Value);

impl Data<'_> {
    /// A text, empty where there is none.
    pub(super) fn text(&self, key: &str) -> String {
        self.0[key].as_str().unwrap_or_default().to_owned()
    }
}

/// Something that was said before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Who said it.
    pub(crate) role: String,
    pub(crate) content: String,
    /// Whether it continues the entry before it.
    pub(crate) continues: bool,
}

/// The entries of a snapshot; none for other events.
pub(crate) fn entries(payload: &Value) -> Vec<Entry> {
    let entries = match payload["event"].as_str() {
        Some("snapshot") => payload["data"]["entries"].as_array().map_or(&[][..], Vec::as_slice),
        _ => &[],
    };
    let entry = |entry: &Value| Entry {
        role: entry["role"].as_str().unwrap_or_default().to_owned(),
        content: match &entry["content"] {
            Value::String(content) => content.clone(),
            _ => segments(entry),
        },
        continues: entry["cont"] == true,
    };
    whole(entries.iter().map(entry))
}

/// Entries with what continues them.
pub(crate) fn whole(entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let mut whole: Vec<Entry> = Vec::new();
    for entry in entries {
        match whole.last_mut() {
            Some(last) if entry.continues && last.role == entry.role => last.content.push_str(&entry.content),
            _ => whole.push(entry),
        }
    }
    whole
}

/// What the user says in an event, if it is one of that.
pub(crate) fn message(payload: &Value) -> Option<String> {
    (payload["event"] == "user_message").then(|| segments(&payload["data"]))
}

/// The texts of a message.
pub(super) fn segments(message: &Value) -> String {
    let segments = message["segments"].as_array().map_or(&[][..], Vec::as_slice);
    let texts: Vec<String> = segments
        .iter()
        .filter_map(|segment| match segment["path"].as_str() {
            Some(path) => Some(format!("[{path}]")),
            None => ["content", "text"].iter().find_map(|key| segment[*key].as_str()).map(str::to_owned),
        })
        .collect();
    texts.join("\n")
}

/// The first of these that is there and not empty, as text.
pub(super) fn first_of(data: &Value, keys: &[&str]) -> String {
    let there = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    match keys.iter().map(|key| &data[*key]).find(there) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) if parts.iter().all(|part| part["text"].is_string()) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// What an `ended` item says, in words.
pub(super) fn end(item: &Value) -> String {
    let how = match (item["exit_code"].as_i64(), item["signal"].as_i64()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => String::new(),
    };
    let reason = item["reason"].as_str().unwrap_or("ended").replace('_', " ");
    let message = item["message"].as_str().unwrap_or_default();
    let parts = [reason.as_str(), how.as_str(), message];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// How a worker ended, in words.
pub(crate) fn end_in_words(worker_end: Option<&WorkerEnd>) -> String {
    match worker_end.and_then(|worker_end| serde_json::to_value(worker_end).ok()) {
        Some(value) => end(&value),
        None => "ended".into(),
    }
}
