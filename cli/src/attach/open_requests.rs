//! The questions of the worker that wait for an answer, and which of their options a line means.

use std::collections::VecDeque;

use bytes::Bytes;
use sekisho_core::error::ErrorKind;
use sekisho_core::gateway_client::Problem;
use sekisho_core::id::RequestId;
use serde_json::Value;

use crate::failure::Failure;

/// How many open questions are known at once. A runtime of ours lets an agent have fewer.
const MAX_OPEN: usize = 64;

/// The open questions, oldest first, as the stream tells of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct OpenRequests {
    open: VecDeque<OpenRequest>,
}

/// A question with options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct OpenRequest {
    pub(super) request_id: RequestId,
    /// The ids of its options, in the order in which they are numbered.
    options: Vec<String>,
}

/// What a line means to an open question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    /// The option of this id.
    Option(String),
    /// It is a digit, and there is no such option.
    NoSuchOption,
    /// Nothing: the line is a message.
    Nothing,
}

impl OpenRequests {
    /// Takes an event of the stream; whether the open questions are others now.
    pub(super) fn handle(&mut self, payload: &Value) -> bool {
        let data = &payload["data"];
        match payload["event"].as_str() {
            Some("snapshot") => {
                let requests = data["requests"].as_array().map_or(&[][..], Vec::as_slice);
                let open = requests.iter().filter_map(OpenRequest::of).take(MAX_OPEN).collect();
                let before = std::mem::replace(&mut self.open, open);
                self.open != before
            }
            Some("system_item") => self.item(&data["item"]),
            _ => false,
        }
    }

    fn item(&mut self, item: &Value) -> bool {
        match item["kind"].as_str() {
            Some("request") => {
                let Some(request) = OpenRequest::of(&item["request"]) else { return false };
                let known = self.open.iter().any(|open| open.request_id == request.request_id);
                if known || self.open.len() >= MAX_OPEN {
                    return false;
                }
                self.open.push_back(request);
                true
            }
            Some("request_resolved") => {
                let resolved = item["request_id"].as_str().unwrap_or_default();
                let before = self.open.len();
                self.open.retain(|open| open.request_id.as_str() != resolved);
                self.open.len() != before
            }
            _ => false,
        }
    }

    /// The one that a digit answers.
    pub(super) fn oldest(&self) -> Option<&OpenRequest> {
        self.open.front()
    }
}

impl OpenRequest {
    /// A question as events tell it. One without options cannot be answered by a number.
    fn of(request: &Value) -> Option<Self> {
        let request_id = request["request_id"].as_str()?.parse().ok()?;
        // One that has no id keeps its number: the numbers are those that are shown.
        let option_id = |option: &Value| option["option_id"].as_str().unwrap_or_default().to_owned();
        let options: Vec<String> = request["options"].as_array()?.iter().map(option_id).collect();
        (!options.is_empty()).then_some(Self { request_id, options })
    }

    /// What a line means: a digit is always meant for the question, a longer number where there are that many options.
    pub(super) fn choice(&self, line: &str) -> Choice {
        if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_digit()) {
            return Choice::Nothing;
        }
        let number = line.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match number.and_then(|index| self.options.get(index)) {
            Some(option_id) if !line.starts_with('0') => Choice::Option(option_id.clone()),
            _ if line.len() == 1 => Choice::NoSuchOption,
            _ => Choice::Nothing,
        }
    }

    /// The numbers that answer it, and its name.
    pub(super) fn hint(&self) -> String {
        match self.options.len() {
            1 => format!("1 answers {}", self.request_id),
            options => format!("1-{options} answers {}", self.request_id),
        }
    }
}

/// What is told of an answer that was sent. That another one was first is no failure of this one.
pub(super) fn told(
    request_id: &RequestId,
    option_id: &str,
    answer: Result<Bytes, Box<Problem>>,
) -> Result<String, Failure> {
    match answer {
        Ok(_) => Ok(format!("{request_id} is answered: {option_id}")),
        Err(problem) if problem.code == ErrorKind::RequestAlreadyAnswered.code() => {
            Ok(format!("{request_id} is not answered by this: another answer was first ({})", problem.code))
        }
        Err(problem) => Err(problem.into()),
    }
}

#[cfg(test)]
mod tests;
