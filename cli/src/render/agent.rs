//! What agents ask and plan, in lines.

use serde_json::Value;

use crate::text::safe_line;

/// How many entries of a plan are shown.
const MAX_ENTRIES: usize = 20;

/// A question: its title with its name, and its options with the number of each.
pub(super) fn question(request: &Value) -> Vec<String> {
    let text = |value: &Value| safe_line(value.as_str().unwrap_or_default());
    let mut lines = vec![format!("? {} ({})", text(&request["title"]), text(&request["request_id"]))];
    let options = request["options"].as_array().map_or(&[][..], Vec::as_slice);
    for (number, option) in options.iter().enumerate() {
        let (name, option_id) = (text(&option["name"]), text(&option["option_id"]));
        lines.push(format!("  {}. {name} ({option_id})", number + 1));
    }
    lines
}

/// The end of a question.
pub(super) fn resolved(item: &Value) -> String {
    let text = |key: &str| safe_line(item[key].as_str().unwrap_or_default());
    match item["option_id"].as_str() {
        Some(option_id) => format!("— {}: {}", text("request_id"), safe_line(option_id)),
        None => format!("— {}: dismissed, {}", text("request_id"), text("reason").replace('_', " ")),
    }
}

/// A plan, one line for each entry.
pub(super) fn plan(update: &Value) -> Vec<String> {
    let entries = update["entries"].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines: Vec<String> = entries
        .iter()
        .take(MAX_ENTRIES)
        .map(|entry| {
            let mark = match entry["status"].as_str() {
                Some("completed") => 'x',
                Some("in_progress") => '>',
                _ => ' ',
            };
            format!("  [{mark}] {}", safe_line(entry["content"].as_str().unwrap_or_default()))
        })
        .collect();
    if entries.len() > MAX_ENTRIES {
        lines.push(format!("  … {} more", entries.len() - MAX_ENTRIES));
    }
    lines
}
