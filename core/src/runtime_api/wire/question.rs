//! Requests: questions of a worker that a person has to answer.

use serde::{Deserialize, Serialize};

use super::WireRef;

/// A question of a worker that waits for an answer: a permission, or a choice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerRequest {
    /// Whose it is; absent only in a list that is one worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_ref: Option<WireRef>,
    /// Names it among the worker's requests.
    pub request_id: String,
    /// What is asked for: `permission`, `choice`, or another kind.
    pub kind: String,
    /// The question in one line.
    pub title: String,
    /// What there is to know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The tool call that waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The answers that there are.
    pub options: Vec<RequestOption>,
    /// When it was asked: RFC 3339, UTC, with milliseconds.
    pub opened_at: String,
    /// When it will be dismissed, if its profile says so: RFC 3339, UTC, with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// One of the answers to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct RequestOption {
    /// Names it among the options of the request.
    pub option_id: String,
    /// What people read.
    pub name: String,
    /// What it means: `allow_once`, `reject_once`, or another kind.
    pub kind: String,
}

/// Open requests, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RequestList {
    /// The requests.
    pub requests: Vec<WorkerRequest>,
    /// How many more there are that could not be read.
    #[serde(skip)]
    pub left_out: usize,
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(try_from = "AnswerBody", into = "AnswerBody")]
pub enum Answer {
    /// One of its [options](RequestOption::option_id).
    Option(String),
    /// None of them.
    Dismiss,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "pages", schemars(rename = "Answer", extend("oneOf" = [
    { "required": ["option_id"], "properties": { "option_id": { "type": "string" }, "dismiss": { "enum": [false, null] } } },
    { "required": ["dismiss"], "properties": { "option_id": { "type": "null" }, "dismiss": { "const": true } } },
])))]
struct AnswerBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    option_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dismiss: Option<bool>,
}

impl TryFrom<AnswerBody> for Answer {
    type Error = &'static str;

    fn try_from(body: AnswerBody) -> Result<Self, &'static str> {
        match body {
            AnswerBody { option_id: Some(option_id), dismiss: None | Some(false) } => {
                Ok(Self::Option(option_id))
            }
            AnswerBody { option_id: None, dismiss: Some(true) } => Ok(Self::Dismiss),
            _ => Err("an answer is either `option_id` or `dismiss`"),
        }
    }
}

impl From<Answer> for AnswerBody {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Option(option_id) => Self { option_id: Some(option_id), dismiss: None },
            Answer::Dismiss => Self { option_id: None, dismiss: Some(true) },
        }
    }
}
