//! The bodies that clients write. A field that is not known is refused, and what is wrong is named in our own words.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::invalid;
use crate::error::{Error, ErrorKind};
use crate::runtime_api::{
    Capability, CreateWorker, Input, InputKind, Intent, Profile, ReadBody, Reference, to_json,
};

/// The longest name of a field that is repeated in an error, in characters.
const MAX_NAME: usize = 64;

/// A text without control characters, as a regular expression. The bounds of a create are those of sekisho's own runtime;
/// a gateway checks none of them.
#[cfg(feature = "pages")]
const NO_CONTROL: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// A body that a client wrote.
pub(super) struct BodyOfClient<'a>(pub(super) &'a Bytes);

/// A create: what a runtime takes but for mount references and a configuration bundle.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "pages", schemars(rename = "Create"))]
pub(in crate::browser_api) struct CreateBody {
    /// What it is for.
    intent: Intent,
    /// What it runs.
    #[serde(default)]
    profile: Profile,
    /// What it is meant to be able to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requested_capabilities: Vec<Capability>,
    /// The workspaces that it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    workspace_refs: Vec<Reference>,
    /// What to call it; for runtimes with the feature `names`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "pages", schemars(extend("minLength" = 1, "maxLength" = 128, "pattern" = NO_CONTROL)))]
    name: Option<String>,
    /// What to file it under; for runtimes with the feature `names`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "pages", schemars(extend(
        "maxProperties" = 16,
        "propertyNames" = { "pattern": "^[A-Za-z0-9._/-]{1,63}$" },
        "additionalProperties" = { "type": "string", "maxLength": 128, "pattern": NO_CONTROL },
    )))]
    labels: BTreeMap<String, String>,
    /// In which directory its process starts, if its profile allows that; for runtimes with the feature `placement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    /// Variables for its process, if its profile allows them; for runtimes with the feature `placement`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "pages", schemars(extend("maxProperties" = 64)))]
    env: BTreeMap<String, String>,
}

/// An input: words, or the end of them.
#[derive(Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "pages", schemars(rename = "Input", extend("oneOf" = [
    { "required": ["content"], "properties": { "content": { "type": "string" }, "kind": { "enum": ["user", "system"] } } },
    { "required": ["kind"], "properties": {
        "content": { "type": "null" }, "kind": { "const": "eof" }, "raw": { "const": false }, "secret": { "const": false },
    } },
])))]
pub(in crate::browser_api) struct InputBody {
    /// What is said; nothing at the end of input.
    content: Option<String>,
    /// Whose words it is, or that no more will come.
    #[serde(default)]
    kind: InputKind,
    /// Whether it goes to the worker's terminal as it is; for runtimes with the feature `raw_input`.
    #[serde(default)]
    raw: bool,
    /// Whether it is kept out of transcript, events and logs; for runtimes with the feature `secret_input`.
    #[serde(default)]
    secret: bool,
}

/// The body of a create, as a client writes it.
pub(super) fn create_body(worker: &CreateWorker) -> Bytes {
    let CreateWorker {
        intent, profile, requested_capabilities, workspace_refs, name, labels, cwd, env, ..
    } = worker.clone();
    to_json(&CreateBody { intent, profile, requested_capabilities, workspace_refs, name, labels, cwd, env })
}

impl ReadBody for BodyOfClient<'_> {
    type Error = Error;

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(self.0).map_err(|error| invalid(explained::<T>(self.0, &error)))
    }

    fn create(&self) -> Result<CreateWorker, Error> {
        let CreateBody { intent, profile, requested_capabilities, workspace_refs, name, labels, cwd, env } =
            self.json()?;
        let worker = CreateWorker::new(intent, profile);
        Ok(CreateWorker { requested_capabilities, workspace_refs, name, labels, cwd, env, ..worker })
    }

    fn input(&self) -> Result<Input, Error> {
        let InputBody { content, kind, raw, secret } = self.json()?;
        Input::of_parts(kind, content, raw, secret).map_err(invalid)
    }

    fn unknown_route(&self) -> Error {
        Error::new(ErrorKind::UnknownRoute)
    }
}

/// What is wrong with a body that cannot be read. No word of the parser's is repeated, which would change with it.
fn explained<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof if body.is_empty() => return "The body is empty".to_owned(),
        Category::Eof => return "The body ends within its JSON".to_owned(),
        Category::Syntax | Category::Io => return "The body is not JSON".to_owned(),
        Category::Data => {}
    }
    // The field is looked for in a second reading, which only bodies that are refused need.
    let parsed = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(body));
    let Err(error) = parsed else { return "The body is not what this route takes".to_owned() };
    let path: String = error.path().to_string().chars().take(MAX_NAME).collect();
    let words = error.into_inner().to_string();
    // These words are serde's own, the same for every format: its trait has them as defaults.
    let named = |prefix| Some(words.strip_prefix(prefix)?.split_once('`')?.0);
    if let Some(missing) = named("missing field `") {
        return match &*path {
            "." => format!("The body lacks the field `{missing}`"),
            parent => format!("The field `{parent}` lacks the field `{missing}`"),
        };
    }
    if let Some(unknown) = named("unknown field `") {
        let unknown: String = unknown.chars().take(MAX_NAME).collect();
        return format!("There is no field `{unknown}` here");
    }
    if let Some(twice) = named("duplicate field `") {
        return format!("The field `{twice}` is given twice");
    }
    match &*path {
        "." => "The body is not what this route takes".to_owned(),
        field => format!("The field `{field}` has a value that it does not take"),
    }
}
