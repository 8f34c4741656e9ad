//! Tool calls: which there are, and how their updates become results.

use std::collections::VecDeque;

use serde_json::value::RawValue;

use crate::event::{AgentEvent, Item, ItemKind, ToolResult};
use crate::limits::{MAX_ID, MAX_SUMMARY, MAX_TITLE, MAX_TOOL_OUTPUT, MAX_TOOLS};
use crate::raw;
use crate::schema::{Lenient, ToolContent, Update, read, says_something};
use crate::text::{Text, beginning, cut, one_line};

/// The tool calls of one agent, oldest first.
#[derive(Default)]
pub(crate) struct Tools(VecDeque<Tool>);

struct Tool {
    id: String,
    title: String,
    /// What it gave so far: updates repeat only what changed.
    output: Option<String>,
    finished: bool,
}

impl Tools {
    /// The title of a tool call that was told before.
    pub(crate) fn title(&self, id: &str) -> Option<String> {
        self.0.iter().find(|tool| tool.id == id).map(|tool| tool.title.clone())
    }

    /// Takes a `tool_call` or a `tool_call_update`, and says what becomes of it.
    pub(crate) fn update(&mut self, update: &Update<'_>, raw: &RawValue) -> Vec<AgentEvent> {
        let item = |kind| AgentEvent::Item(Item { kind, update: raw::bounded(raw) });
        let Some(id) = update.tool_call_id.as_str().filter(|id| (1..=MAX_ID).contains(&id.len())) else {
            return vec![item(ItemKind::Other)];
        };
        let mut events = Vec::new();
        let is_over = matches!(update.status.as_str(), Some("completed" | "failed"));
        if update.session_update.0 == "tool_call" && !is_over {
            // Some agents number the calls of each turn anew.
            self.0.retain(|tool| tool.id != id || !tool.finished);
        }
        let known = self.0.iter().position(|tool| tool.id == id);
        if known.is_none() {
            let title = update.title.as_str().filter(|title| !title.is_empty()).unwrap_or(id);
            let title = cut(title, MAX_TITLE);
            self.remember(Tool { id: id.to_owned(), title: title.clone(), output: None, finished: false });
            events.push(AgentEvent::ToolCallStart { id: id.to_owned(), name: title });
        }
        // One that was not there is the newest now.
        let tool = match known {
            Some(index) => self.0.get_mut(index),
            None => self.0.back_mut(),
        };
        let Some(tool) = tool else { return events };
        if let Some(title) = update.title.as_str().filter(|title| !title.is_empty()) {
            tool.title = cut(title, MAX_TITLE);
        }
        if !tool.finished && update.content.is_some() {
            tool.output = text_of(update.content);
        }
        match update.status.as_str() {
            Some(status @ ("completed" | "failed")) if !tool.finished => {
                if says_more(update) && !is_all_text(update.content) {
                    events.push(item(ItemKind::ToolCall));
                }
                events.push(AgentEvent::ToolResult(tool.finish(status == "failed", update.raw_output)));
            }
            status => {
                let is_news = known.is_some() || !matches!(status, None | Some("pending"));
                if is_news || says_more(update) {
                    events.push(item(ItemKind::ToolCall));
                }
            }
        }
        events
    }

    /// Forgets those that have their result.
    pub(crate) fn forget_finished(&mut self) {
        self.0.retain(|tool| !tool.finished);
    }

    /// The results of those that will have no other.
    pub(crate) fn abandon(&mut self) -> Vec<AgentEvent> {
        let unfinished = self.0.iter_mut().filter(|tool| !tool.finished);
        let results = unfinished.map(|tool| {
            tool.finished = true;
            AgentEvent::ToolResult(ToolResult {
                id: tool.id.clone(),
                summary: "cancelled".into(),
                output: tool.output.take(),
                is_error: true,
            })
        });
        results.collect()
    }

    fn remember(&mut self, tool: Tool) {
        if self.0.len() >= MAX_TOOLS {
            let finished = self.0.iter().position(|tool| tool.finished);
            self.0.remove(finished.unwrap_or_default());
        }
        self.0.push_back(tool);
    }
}

impl Tool {
    fn finish(&mut self, is_error: bool, raw_output: Option<&RawValue>) -> ToolResult {
        self.finished = true;
        let output = self.output.take().or_else(|| {
            let raw = raw_output.filter(|raw| says_something(Some(raw)))?;
            let text = read::<Text>(Some(raw)).map_or_else(|| raw.get().to_owned(), |Text(text)| text);
            Some(bounded_output(&text))
        });
        let outcome = if is_error { "failed" } else { "done" };
        let summary = output.as_deref().map(|output| one_line(output, MAX_SUMMARY));
        let summary = summary.filter(|summary| !summary.is_empty()).unwrap_or_else(|| outcome.into());
        ToolResult { id: self.id.clone(), summary, output, is_error }
    }
}

/// Whether an update says more than which tool call it is, its title, its status and its output.
fn says_more(update: &Update<'_>) -> bool {
    [update.kind, update.content, update.locations, update.raw_input].into_iter().any(says_something)
}

/// The text of what a tool call gives; nothing where there is none.
pub(crate) fn text_of(content: Option<&RawValue>) -> Option<String> {
    let content: Vec<Lenient<ToolContent>> = read(content)?;
    let mut text = String::new();
    for part in content.into_iter().filter_map(|part| part.0) {
        let shown = match (part.r#type.as_str(), part.content.0, part.path.as_str()) {
            (Some("content"), Some(block), _) => block.into_text(),
            (Some("diff"), _, Some(path)) => Some(format!("changes {path}")),
            _ => None,
        };
        let Some(shown) = shown else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&shown);
        if text.len() > MAX_TOOL_OUTPUT {
            break;
        }
    }
    (!text.is_empty()).then(|| bounded_output(&text))
}

/// Whether there is nothing in it but text.
fn is_all_text(content: Option<&RawValue>) -> bool {
    let parts: Option<Vec<Lenient<ToolContent>>> = read(content);
    parts
        .unwrap_or_default()
        .iter()
        .all(|part| part.0.as_ref().is_some_and(|part| part.r#type.as_str() == Some("content")))
}

fn bounded_output(text: &str) -> String {
    match text.len() <= MAX_TOOL_OUTPUT {
        true => text.to_owned(),
        false => {
            // The note has room in what is left.
            let kept = beginning(text, MAX_TOOL_OUTPUT - 64);
            format!("{kept}\n… {} more bytes", text.len() - kept.len())
        }
    }
}

#[cfg(test)]
mod tests;
