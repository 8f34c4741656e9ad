//! As much of JSON Schema (draft 2020-12) as the replies of the OpenAPI document use. A keyword that is not known is an error,
//! so that none is passed over.

use sekisho_core::id::RuntimeId;
use serde_json::Value;

/// The schemas of a document. An object of them has the properties that it lists, and no other.
pub(super) struct Schemas {
    components: Value,
}

/// Keywords that admit and forbid nothing.
const REMARKS: [&str; 6] = ["description", "default", "examples", "format", "title", "$schema"];

impl Schemas {
    pub(super) fn new(document: &Value) -> Self {
        Self { components: document["components"]["schemas"].clone() }
    }

    /// Whether a value is of a schema; what is wrong with it otherwise.
    pub(super) fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let Value::Object(keywords) = schema else { return Ok(()) };
        for (keyword, wanted) in keywords {
            let holds = self.holds(schema, keyword, wanted, value)?;
            if !holds {
                return Err(format!("{value:.300} against {keyword}: {wanted:.300}"));
            }
        }
        Ok(())
    }

    fn is(&self, schema: &Value, value: &Value) -> bool {
        self.check(schema, value).is_ok()
    }

    fn holds(&self, schema: &Value, keyword: &str, wanted: &Value, value: &Value) -> Result<bool, String> {
        let mut schemas = wanted.as_array().into_iter().flatten();
        Ok(match keyword {
            "$ref" => {
                let name = wanted.as_str().and_then(|to| to.strip_prefix("#/components/schemas/"));
                let component = name.and_then(|name| self.components.get(name));
                return self.check(component.ok_or_else(|| format!("no {wanted}"))?, value).map(|()| true);
            }
            "type" if wanted.is_array() => schemas.any(|wanted| is_of_type(wanted, value)),
            "type" => is_of_type(wanted, value),
            "const" => wanted == value,
            "enum" => schemas.any(|wanted| wanted == value),
            "allOf" => {
                return schemas.try_for_each(|schema| self.check(schema, value)).map(|()| true);
            }
            "anyOf" => schemas.any(|schema| self.is(schema, value)),
            "oneOf" => schemas.filter(|schema| self.is(schema, value)).count() == 1,
            "minimum" => value.as_f64().is_none_or(|number| Some(number) >= wanted.as_f64()),
            "maximum" => value.as_f64().is_none_or(|number| Some(number) <= wanted.as_f64()),
            "maxLength" => {
                value.as_str().is_none_or(|text| Some(text.chars().count() as u64) <= wanted.as_u64())
            }
            // The only pattern in a reply is that of ids.
            "pattern" => value.as_str().is_none_or(|text| text.parse::<RuntimeId>().is_ok()),
            "required" => schemas.all(|name| value.get(name.as_str().unwrap()).is_some()),
            "items" => {
                let mut entries = value.as_array().into_iter().flatten();
                return entries.try_for_each(|entry| self.check(wanted, entry)).map(|()| true);
            }
            "properties" => return self.properties(schema, value).map(|()| true),
            "additionalProperties" if schema.get("properties").is_some() || wanted.is_boolean() => true,
            "additionalProperties" => {
                let mut fields = value.as_object().into_iter().flatten();
                return fields.try_for_each(|(_, field)| self.check(wanted, field)).map(|()| true);
            }
            remark if REMARKS.contains(&remark) => true,
            unknown => return Err(format!("the keyword {unknown} is not known here")),
        })
    }

    fn properties(&self, schema: &Value, value: &Value) -> Result<(), String> {
        for (name, field) in value.as_object().into_iter().flatten() {
            match schema["properties"].get(name) {
                Some(schema) => self.check(schema, field).map_err(|lack| format!("{name}: {lack}"))?,
                // A schema without a type narrows another one, which lists the rest.
                None if schema.get("type").is_none() => {}
                None => return Err(format!("there is no field {name}")),
            }
        }
        Ok(())
    }
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_of_its_schema_is_found_out() {
        let document = json!({ "components": { "schemas": { "Row": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": { "type": "string", "maxLength": 3, "pattern": "^x$" },
                "at": { "type": ["string", "null"] },
                "kind": { "oneOf": [{ "const": "a" }, { "const": "b" }] },
                "rows": { "type": "array", "items": { "$ref": "#/components/schemas/Row" } },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "count": { "type": "integer", "minimum": 1 },
            },
        } } } });
        let schemas = Schemas::new(&document);
        let row = json!({ "$ref": "#/components/schemas/Row" });
        for right in [
            json!({ "id": "r" }),
            json!({ "id": "r", "at": null, "kind": "b", "rows": [{ "id": "s" }], "labels": { "a": "b" }, "count": 1 }),
        ] {
            assert_eq!(schemas.check(&row, &right), Ok(()), "{right}");
        }
        for wrong in [
            json!([]),
            json!({}),
            json!({ "id": "" }),
            json!({ "id": "long" }),
            json!({ "id": "r", "more": 1 }),
            json!({ "id": "r", "at": 1 }),
            json!({ "id": "r", "kind": "c" }),
            json!({ "id": "r", "rows": [{}] }),
            json!({ "id": "r", "labels": { "a": 1 } }),
            json!({ "id": "r", "count": 0 }),
            json!({ "id": "r", "count": 1.5 }),
        ] {
            assert!(schemas.check(&row, &wrong).is_err(), "{wrong}");
        }
        assert!(schemas.check(&json!({ "not": {} }), &json!(1)).is_err(), "an unknown keyword");
    }
}
