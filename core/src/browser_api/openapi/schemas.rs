//! The schemas of the document's components, from the types that bodies are read and written as.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::examples;
use crate::error::ErrorKind;

/// Where schemas of replies stand in the document.
const REPLIES: &str = "/components/schemas";

/// Where those of bodies stand until it is known which of them need a name of their own.
const BODIES: &str = "/components/bodies";

/// Collects schemas. A type that is both read and written has two: of what is written, more is known.
pub(super) struct Schemas {
    replies: SchemaGenerator,
    bodies: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = |path: &'static str| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = path.into();
                settings.meta_schema = None;
            })
        };
        Self {
            replies: settings(REPLIES).for_serialize().into_generator(),
            bodies: settings(BODIES).for_deserialize().into_generator(),
        }
    }

    /// The schema of something that the gateway writes.
    pub(super) fn reply<T: JsonSchema>(&mut self) -> Value {
        self.replies.subschema_for::<T>().into()
    }

    /// The schema of something that a client writes.
    pub(super) fn body<T: JsonSchema>(&mut self) -> Value {
        self.bodies.subschema_for::<T>().into()
    }

    /// The document with the schemas that it refers to.
    pub(super) fn complete(mut self, mut document: Value) -> Value {
        let mut schemas = self.replies.take_definitions(true);
        for schema in schemas.values_mut() {
            never_null_where_absent(schema);
        }
        schemas.insert("ProblemCode".to_owned(), problem_code());
        if let Some(problem) = schemas.get_mut("Problem") {
            problem["properties"]["code"] = json!({ "$ref": "#/components/schemas/ProblemCode" });
        }
        for (name, example) in examples::of_replies() {
            if let Some(schema) = schemas.get_mut(name) {
                schema["examples"] = json!([example]);
            }
        }
        let bodies = self.bodies.take_definitions(true);
        let names = names(&schemas, &bodies);
        schemas.extend(bodies.into_iter().map(|(name, schema)| (names[&name].clone(), schema)));
        document["components"]["schemas"] = schemas.into();
        visit(&mut document, &mut |value| refer(value, &names));
        visit(&mut document, &mut describe);
        document
    }
}

fn problem_code() -> Value {
    let mut codes: Vec<&str> = ErrorKind::all().into_iter().map(ErrorKind::code).collect();
    codes.dedup();
    json!({ "type": "string", "description": "The cause of a problem.", "enum": codes })
}

/// What bodies are called in the end: the same as a reply's where there is none of that name, or an equal one.
fn names(replies: &Map<String, Value>, bodies: &Map<String, Value>) -> BTreeMap<String, String> {
    let name = |name: &String, schema: &Value| match replies.get(name) {
        Some(other) if other != schema => format!("{name}Input"),
        _ => name.clone(),
    };
    bodies.iter().map(|(key, schema)| (key.clone(), name(key, schema))).collect()
}

/// Points a reference to a body to where it stands in the end.
fn refer(value: &mut Value, names: &BTreeMap<String, String>) {
    let Some(reference) = value.get_mut("$ref") else { return };
    let name =
        reference.as_str().and_then(|to| to.strip_prefix("#")?.strip_prefix(BODIES)?.strip_prefix('/'));
    if let Some(name) = name.and_then(|name| names.get(name)) {
        *reference = format!("#{REPLIES}/{name}").into();
    }
}

/// What is left out where there is nothing never stands as null.
fn never_null_where_absent(schema: &mut Value) {
    visit(schema, &mut |value| {
        let required = value.get("required").cloned().unwrap_or_default();
        let is_required = |name: &str| required.as_array().is_some_and(|all| all.iter().any(|it| it == name));
        let Some(Value::Object(properties)) = value.get_mut("properties") else { return };
        let optional = properties.iter_mut().filter(|(name, _)| !is_required(name));
        optional.for_each(|(_, property)| without_null(property));
    });
}

fn without_null(property: &mut Value) {
    let Value::Object(property) = property else { return };
    if property.get("default").is_some_and(Value::is_null) {
        property.remove("default");
    }
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            property.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = property.get_mut("anyOf") {
        choices.retain(|it| it.get("type").is_none_or(|it| it != "null"));
        if let [Value::Object(only)] = &choices[..] {
            let only = only.clone();
            property.remove("anyOf");
            property.extend(only);
        }
    }
}

/// Takes the marks of Rust's documentation out of a description, and the line breaks within a paragraph.
fn describe(value: &mut Value) {
    let Some(Value::String(description)) = value.get_mut("description") else { return };
    let paragraphs: Vec<String> =
        description.split("\n\n").map(|paragraph| paragraph.lines().collect::<Vec<_>>().join(" ")).collect();
    *description = without_links(&paragraphs.join("\n\n"));
}

/// `[text](target)` and `[text]` as `text`.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        let Some((label, after)) = after.split_once(']') else { break };
        plain.push_str(label);
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// Shows each value of a document to `see`, those within a value after it.
fn visit(value: &mut Value, see: &mut dyn FnMut(&mut Value)) {
    see(value);
    match value {
        Value::Array(entries) => entries.iter_mut().for_each(|entry| visit(entry, see)),
        Value::Object(fields) => fields.values_mut().for_each(|field| visit(field, see)),
        _ => {}
    }
}
