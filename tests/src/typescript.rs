//! The schemas of the OpenAPI document as declarations of TypeScript, for `clients/js`.

use std::fmt::Write;

use serde_json::Value;

const HEAD: &str = "\
// What bodies, replies and frames are made of. Made from the OpenAPI document of a gateway, and not to be edited:
// SEKISHO_UPDATE_DOCS=1 cargo test -p sekisho-tests --test javascript
";

/// The declarations of all schemas of a document.
pub fn declarations(document: &Value) -> String {
    let mut text = HEAD.to_owned();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        text.push('\n');
        comment(&mut text, schema, "");
        let is_plain_object =
            schema.get("properties").is_some() || schema.get("type") == Some(&"object".into());
        let declared = kind(schema, "");
        match is_plain_object && declared.starts_with('{') {
            true => writeln!(text, "export interface {name} {declared}").unwrap(),
            false => writeln!(text, "export type {name} = {declared};").unwrap(),
        }
    }
    text
}

fn comment(text: &mut String, schema: &Value, indent: &str) {
    if let Some(description) = schema["description"].as_str() {
        writeln!(text, "{indent}/** {} */", description.replace("\n\n", " ").replace("*/", "* /")).unwrap();
    }
}

/// The type of a schema. What restricts values further than by their kind is left to the gateway.
fn kind(schema: &Value, indent: &str) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if schema.get("properties").is_some() {
        return object(schema, indent);
    }
    if let Some(choices) = ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array()) {
        // A text of any kind beside known ones: the known ones are still offered by editors.
        let has_known = choices.iter().any(|choice| choice.get("const").is_some());
        let choice = |choice: &Value| match kind(choice, indent) {
            any if any == "string" && has_known => "(string & {})".to_owned(),
            known => known,
        };
        return choices.iter().map(choice).collect::<Vec<_>>().join(" | ");
    }
    match &schema["type"] {
        Value::Array(types) => {
            types.iter().map(|one| of_type(one, schema, indent)).collect::<Vec<_>>().join(" | ")
        }
        one => of_type(one, schema, indent),
    }
}

fn of_type(name: &Value, schema: &Value, indent: &str) -> String {
    match name.as_str() {
        Some("integer" | "number") => "number".to_owned(),
        Some("array") => format!("Array<{}>", kind(&schema["items"], indent)),
        Some("object") => match &schema["additionalProperties"] {
            Value::Bool(false) => "Record<string, never>".to_owned(),
            values => format!("Record<string, {}>", kind(values, indent)),
        },
        Some(name) => name.to_owned(),
        None => "unknown".to_owned(),
    }
}

fn object(schema: &Value, indent: &str) -> String {
    let required = schema["required"].as_array();
    let deeper = format!("{indent}    ");
    let mut text = "{\n".to_owned();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        comment(&mut text, field, &deeper);
        let mark = if required.is_some_and(|names| names.iter().any(|it| it == name)) { "" } else { "?" };
        writeln!(text, "{deeper}{name}{mark}: {};", kind(field, &deeper)).unwrap();
    }
    text + indent + "}"
}
