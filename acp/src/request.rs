//! Questions of an agent: how they are read, which are open, and what was answered.

use std::collections::VecDeque;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::config::Permissions;
use crate::error::AnswerError;
use crate::event::{Request, RequestKind, RequestOption};
use crate::limits::{MAX_DETAIL, MAX_ID, MAX_OPEN_REQUESTS, MAX_OPTIONS, MAX_REMEMBERED_ANSWERS, MAX_TITLE};
use crate::rpc::RpcId;
use crate::schema::{Elicitation, PermissionToolCall, RequestPermission, read};
use crate::text::{Text, cut};
use crate::tool::text_of;

/// The option of a choice that declines to choose.
const DECLINE: &str = "decline";

/// A question that was read, and how its answer is told to the agent.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) request: Request,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Permission,
    /// The property that is asked for, and the value that each option stands for.
    Choice {
        property: String,
        values: Vec<Value>,
    },
}

impl Question {
    /// The result that says which option was chosen; `None` dismisses the question.
    pub(crate) fn result(&self, option_id: Option<&str>) -> Value {
        match (&self.form, option_id) {
            (Form::Permission, Some(id)) => json!({ "outcome": { "outcome": "selected", "optionId": id } }),
            (Form::Permission, None) => json!({ "outcome": { "outcome": "cancelled" } }),
            (Form::Choice { property, values }, Some(id)) => {
                let index = self.request.options.iter().position(|option| option.option_id == id);
                match index.and_then(|index| values.get(index)) {
                    Some(value) => {
                        let content: Map<String, Value> =
                            [(property.clone(), value.clone())].into_iter().collect();
                        json!({ "action": "accept", "content": content })
                    }
                    None => json!({ "action": "decline" }),
                }
            }
            (Form::Choice { .. }, None) => json!({ "action": "cancel" }),
        }
    }

    /// The option by which the profile answers, if it does and there is one.
    pub(crate) fn answer_of_profile(&self, permissions: Permissions) -> Option<String> {
        let kind = match (&self.form, permissions) {
            (Form::Choice { .. }, _) | (_, Permissions::Ask) => return None,
            (Form::Permission, Permissions::Allow) => "allow_once",
            (Form::Permission, Permissions::Reject) => "reject_once",
        };
        self.request.options.iter().find(|option| option.kind == kind).map(|option| option.option_id.clone())
    }
}

/// Reads `session/request_permission`; `title_of` knows the tool calls that were told before.
pub(crate) fn permission(
    params: Option<&RawValue>,
    title_of: impl Fn(&str) -> Option<String>,
) -> Result<Question, &'static str> {
    let asked: RequestPermission<'_> = read(params).ok_or("these are not the parameters of a permission")?;
    let call: Option<PermissionToolCall<'_>> = read(asked.tool_call);
    let options = asked.options.into_iter().map(|option| {
        let name = option.name.0.map_or_else(|| option.option_id.0.clone(), |Text(name)| name);
        let kind = option.kind.0.map_or_else(|| "other".to_owned(), |Text(kind)| kind);
        (option.option_id.0, name, kind)
    });
    let options = checked(options.collect())?;
    let tool_call_id = call.as_ref().and_then(|call| call.tool_call_id.as_str()).map(str::to_owned);
    let title = call.as_ref().and_then(|call| call.title.as_str()).map(str::to_owned);
    let title = title.or_else(|| title_of(tool_call_id.as_deref()?));
    let detail = call.as_ref().and_then(|call| {
        text_of(call.content).or_else(|| call.raw_input.map(|input| input.get().to_owned()))
    });
    Ok(Question {
        request: Request {
            request_id: String::new(),
            kind: RequestKind::Permission,
            title: cut(&title.unwrap_or_else(|| "a tool call".into()), MAX_TITLE),
            detail: detail.filter(|detail| !detail.is_empty()).map(|detail| cut(&detail, MAX_DETAIL)),
            tool_call_id: tool_call_id.filter(|id| id.len() <= MAX_ID),
            options,
        },
        form: Form::Permission,
    })
}

/// Reads `elicitation/create`, where it is a choice: of the form's properties one is required, or there is only one,
/// and it is a string with given values, or a boolean.
pub(crate) fn choice(params: Option<&RawValue>) -> Result<Question, &'static str> {
    const NO_CHOICE: &str = "this client takes forms that are one choice";
    let asked: Elicitation = read(params).ok_or("these are not the parameters of an elicitation")?;
    if asked.mode.as_str().is_some_and(|mode| mode != "form") {
        return Err("this client takes elicitations of the mode form");
    }
    let schema = asked.requested_schema.0.ok_or(NO_CHOICE)?;
    let required = schema.required.0.unwrap_or_default();
    let property = match (required.as_slice(), schema.properties.len()) {
        ([only], _) => schema.properties.get_key_value(only),
        ([], 1) => schema.properties.iter().next(),
        _ => None,
    };
    let (property, shape) = property.ok_or(NO_CHOICE)?;
    let choices = values(shape).ok_or(NO_CHOICE)?;
    let values = choices.iter().map(|(value, _)| value.clone()).collect();
    let mut options: Vec<(String, String, String)> = choices
        .into_iter()
        .map(|(value, name)| {
            let id = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (id, name, "choice".to_owned())
        })
        .collect();
    if !options.iter().any(|(id, ..)| id == DECLINE) {
        options.push((DECLINE.into(), "Decline".into(), DECLINE.into()));
    }
    let text = |key: &str| shape.get(key).and_then(Value::as_str);
    let detail: Vec<&str> = [text("title"), text("description")].into_iter().flatten().collect();
    Ok(Question {
        request: Request {
            request_id: String::new(),
            kind: RequestKind::Choice,
            title: cut(&asked.message.0, MAX_TITLE),
            detail: (!detail.is_empty()).then(|| cut(&detail.join("\n"), MAX_DETAIL)),
            tool_call_id: asked.tool_call_id.0.map(|Text(id)| id).filter(|id| id.len() <= MAX_ID),
            options: checked(options)?,
        },
        form: Form::Choice { property: property.clone(), values },
    })
}

/// The values that a property can have, and their names.
fn values(shape: &Value) -> Option<Vec<(Value, String)>> {
    match shape.get("type")?.as_str()? {
        "boolean" => Some(vec![(true.into(), "Yes".into()), (false.into(), "No".into())]),
        "string" => {
            let plain = shape.get("enum").and_then(Value::as_array).map(|values| {
                values.iter().map(|value| Some((value.clone(), value.as_str()?.to_owned()))).collect()
            });
            let titled = shape.get("oneOf").and_then(Value::as_array).map(|values| {
                let named = values.iter().map(|value| {
                    let constant = value.get("const")?;
                    let name = value.get("title").and_then(Value::as_str).or(constant.as_str())?;
                    Some((constant.is_string().then(|| constant.clone())?, name.to_owned()))
                });
                named.collect()
            });
            plain.or(titled)?
        }
        _ => None,
    }
}

/// Options that a person can be shown and that can be told apart.
fn checked(options: Vec<(String, String, String)>) -> Result<Vec<RequestOption>, &'static str> {
    if options.is_empty() || options.len() > MAX_OPTIONS {
        return Err("a request needs between 1 and 64 options");
    }
    let mut checked: Vec<RequestOption> = Vec::with_capacity(options.len());
    for (option_id, name, kind) in options {
        if option_id.is_empty() || option_id.len() > MAX_ID {
            return Err("the id of an option needs between 1 and 256 bytes");
        }
        if checked.iter().any(|option| option.option_id == option_id) {
            return Err("two options have the same id");
        }
        checked.push(RequestOption { option_id, name: cut(&name, MAX_TITLE), kind: cut(&kind, 64) });
    }
    Ok(checked)
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) rpc_id: RpcId,
    pub(crate) question: Question,
    /// Whether it was asked within the turn under way.
    in_turn: bool,
}

/// An answer that is the first.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) rpc_id: RpcId,
    pub(crate) result: Value,
}

/// The requests of one agent.
pub(crate) struct Requests {
    starts_before: u32,
    count: u64,
    open: Vec<Open>,
    /// What persons answered last: the request, and the option or `None`.
    answered: VecDeque<(String, Option<String>)>,
}

impl Requests {
    pub(crate) fn new(starts_before: u32) -> Self {
        Self { starts_before, count: 0, open: Vec::new(), answered: VecDeque::new() }
    }

    /// Gives a question its name.
    pub(crate) fn name(&mut self, question: &mut Question) {
        self.count += 1;
        question.request.request_id = format!("r{}-{}", self.starts_before + 1, self.count);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= MAX_OPEN_REQUESTS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Those that are open, oldest first.
    pub(crate) fn open(&self) -> impl ExactSizeIterator<Item = &Request> {
        self.open.iter().map(|open| &open.question.request)
    }

    pub(crate) fn push(&mut self, rpc_id: RpcId, question: Question, in_turn: bool) {
        self.open.push(Open { rpc_id, question, in_turn });
    }

    /// Takes a person's answer: the option, or `None` to dismiss. `Ok(None)` is the same answer again.
    pub(crate) fn answer(
        &mut self,
        request_id: &str,
        option_id: Option<&str>,
    ) -> Result<Option<Answered>, AnswerError> {
        if let Some((_, before)) = self.answered.iter().find(|(answered, _)| answered == request_id) {
            return match before.as_deref() == option_id {
                true => Ok(None),
                false => Err(AnswerError::AlreadyAnswered),
            };
        }
        let index = self.open.iter().position(|open| open.question.request.request_id == request_id);
        let open = index.and_then(|index| self.open.get(index)).ok_or(AnswerError::Gone)?;
        let known = |id: &str| open.question.request.options.iter().any(|option| option.option_id == id);
        if option_id.is_some_and(|id| !known(id)) {
            return Err(AnswerError::UnknownOption);
        }
        let answered = Answered { rpc_id: open.rpc_id.clone(), result: open.question.result(option_id) };
        self.open.retain(|open| open.question.request.request_id != request_id);
        self.answered.push_back((request_id.to_owned(), option_id.map(str::to_owned)));
        if self.answered.len() > MAX_REMEMBERED_ANSWERS {
            self.answered.pop_front();
        }
        Ok(Some(answered))
    }

    /// Takes all that are open.
    pub(crate) fn take_all(&mut self) -> Vec<Open> {
        std::mem::take(&mut self.open)
    }

    /// Takes those that were asked within the turn under way.
    pub(crate) fn take_of_turn(&mut self) -> Vec<Open> {
        self.open.extract_if(.., |open| open.in_turn).collect()
    }

    /// Takes the one that the agent asks no longer.
    pub(crate) fn take_withdrawn(&mut self, rpc_id: &RpcId) -> Option<Open> {
        let index = self.open.iter().position(|open| open.rpc_id == *rpc_id)?;
        Some(self.open.remove(index))
    }
}
