//! The part of ACP's types that the machine looks into. A field that is not what it should be counts as absent; what
//! is not named here is passed on as it is, or ignored.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::value::RawValue;

use crate::text::Text;

/// A field that is absent where it is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lenient<T>(pub(crate) Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str::<Option<T>>(raw.get()).ok().flatten()))
    }
}

impl Lenient<Text> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        self.0.as_ref().map(|Text(text)| text.as_str())
    }
}

/// Reads a value, or finds that it is not what it should be.
pub(crate) fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// Whether a field says anything.
pub(crate) fn says_something(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| !matches!(raw.get(), "null" | "[]" | "{}" | "\"\""))
}

/// The parameters of `session/update`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionUpdate<'a> {
    pub(crate) session_id: Text,
    #[serde(borrow)]
    pub(crate) update: &'a RawValue,
}

/// An update of any kind, with the fields of all kinds that are looked into.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Update<'a> {
    pub(crate) session_update: Text,
    #[serde(borrow)]
    pub(crate) content: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) message_id: Lenient<Text>,
    #[serde(default)]
    pub(crate) tool_call_id: Lenient<Text>,
    #[serde(default)]
    pub(crate) title: Lenient<Text>,
    #[serde(default)]
    pub(crate) status: Lenient<Text>,
    #[serde(borrow)]
    pub(crate) kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) locations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) raw_input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) raw_output: Option<&'a RawValue>,
}

/// A content block.
#[derive(Deserialize)]
pub(crate) struct Block {
    #[serde(default)]
    r#type: Lenient<Text>,
    #[serde(default)]
    text: Lenient<Text>,
}

impl Block {
    /// Its text, where it is text.
    pub(crate) fn into_text(self) -> Option<String> {
        self.text.0.filter(|_| self.r#type.as_str() == Some("text")).map(|Text(text)| text)
    }
}

/// A piece of what a tool call gives.
#[derive(Deserialize)]
pub(crate) struct ToolContent {
    #[serde(default)]
    pub(crate) r#type: Lenient<Text>,
    #[serde(default)]
    pub(crate) content: Lenient<Block>,
    /// The file that a diff is of.
    #[serde(default)]
    pub(crate) path: Lenient<Text>,
}

/// The parameters of `session/request_permission`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestPermission<'a> {
    #[serde(borrow)]
    pub(crate) tool_call: Option<&'a RawValue>,
    pub(crate) options: Vec<PermissionOption>,
}

/// The tool call within them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermissionToolCall<'a> {
    #[serde(default)]
    pub(crate) tool_call_id: Lenient<Text>,
    #[serde(default)]
    pub(crate) title: Lenient<Text>,
    #[serde(borrow)]
    pub(crate) content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) raw_input: Option<&'a RawValue>,
}

/// An option of a permission.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermissionOption {
    pub(crate) option_id: Text,
    #[serde(default)]
    pub(crate) name: Lenient<Text>,
    #[serde(default)]
    pub(crate) kind: Lenient<Text>,
}

/// The parameters of `elicitation/create`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Elicitation {
    pub(crate) message: Text,
    #[serde(default)]
    pub(crate) mode: Lenient<Text>,
    #[serde(default)]
    pub(crate) requested_schema: Lenient<ElicitationSchema>,
    #[serde(default)]
    pub(crate) tool_call_id: Lenient<Text>,
}

/// The form of an elicitation: a JSON Schema of one level.
#[derive(Deserialize)]
pub(crate) struct ElicitationSchema {
    pub(crate) properties: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(crate) required: Lenient<Vec<String>>,
}

/// The answer to `session/prompt`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PromptAnswer {
    pub(crate) stop_reason: Text,
}

/// The parameters of `$/cancel_request`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CancelRequest<'a> {
    #[serde(borrow)]
    pub(crate) request_id: &'a RawValue,
}

/// The answer to `initialize`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Initialized<'a> {
    #[serde(borrow)]
    pub(crate) protocol_version: &'a RawValue,
    #[serde(default)]
    pub(crate) agent_capabilities: Lenient<Capabilities>,
    #[serde(default)]
    pub(crate) auth_methods: Lenient<Vec<Lenient<AuthMethod>>>,
    #[serde(default)]
    pub(crate) agent_info: Lenient<Implementation>,
}

/// What an agent can do.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capabilities {
    #[serde(default)]
    pub(crate) load_session: Lenient<bool>,
    #[serde(default)]
    pub(crate) session_capabilities: Lenient<SessionCapabilities>,
}

/// What it can do with sessions.
#[derive(Deserialize, Default)]
pub(crate) struct SessionCapabilities {
    #[serde(default)]
    pub(crate) resume: Lenient<serde::de::IgnoredAny>,
}

/// A method of authentication.
#[derive(Deserialize)]
pub(crate) struct AuthMethod {
    pub(crate) id: Text,
    #[serde(default)]
    pub(crate) name: Lenient<Text>,
    #[serde(default)]
    pub(crate) r#type: Lenient<Text>,
}

/// Who an agent is.
#[derive(Deserialize)]
pub(crate) struct Implementation {
    pub(crate) name: Text,
    #[serde(default)]
    pub(crate) version: Lenient<Text>,
}

/// The answer to `session/new`, and to `session/load` and `session/resume` but for the id.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Opened<'a> {
    #[serde(default)]
    pub(crate) session_id: Lenient<Text>,
    #[serde(borrow)]
    pub(crate) modes: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) models: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) config_options: Option<&'a RawValue>,
}

/// The modes of a session.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Modes {
    #[serde(default)]
    pub(crate) current_mode_id: Lenient<Text>,
    #[serde(default)]
    pub(crate) available_modes: Lenient<Vec<Named>>,
}

/// The models of a session, as agents told them before there were options.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Models {
    #[serde(default)]
    pub(crate) current_model_id: Lenient<Text>,
    #[serde(default)]
    pub(crate) available_models: Lenient<Vec<Named>>,
}

/// A mode or a model.
#[derive(Deserialize)]
pub(crate) struct Named {
    #[serde(alias = "modelId")]
    pub(crate) id: Text,
}

/// An option of a session.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigOption {
    pub(crate) id: Text,
    #[serde(default)]
    pub(crate) category: Lenient<Text>,
    #[serde(default)]
    pub(crate) current_value: Lenient<Text>,
    #[serde(default)]
    pub(crate) options: Lenient<Vec<ConfigValue>>,
}

/// A value of such an option, or a group of them.
#[derive(Deserialize)]
pub(crate) struct ConfigValue {
    #[serde(default)]
    pub(crate) value: Lenient<Text>,
    #[serde(default)]
    pub(crate) options: Lenient<Vec<ConfigValue>>,
}
