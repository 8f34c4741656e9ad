//! Every answer of a gateway is held against its OpenAPI document: that the document has the route, the status, the media
//! type and the shape. What asks in tests does so without being told to, so that a route, a field or a status that the
//! document lacks fails the test that first comes upon it.

mod schema;

use std::sync::LazyLock;

use sekisho_core::browser_api::openapi::document;
use serde_json::Value;

use self::schema::Schemas;
use crate::client::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| Schemas::new(&DOCUMENT));

/// Problems of requests that the document knows nothing of: the path, the method, or who may ask at all.
const ELSEWHERE: [&str; 5] =
    ["unknown_route", "invalid_identifier", "method_not_allowed", "host_not_allowed", "origin_not_allowed"];

/// Holds an answer of a gateway against the document.
///
/// # Panics
///
/// Where the document has no such answer.
pub fn check(method: &str, uri: &str, answer: &Answer) {
    let path = uri.split('?').next().unwrap_or_default();
    // Benchmarks measure the gateway and not this.
    let is_checked = cfg!(debug_assertions) && (path.starts_with("/api/") || route(path).is_some());
    // A preflight is no request of the API, and what is no HTTP is refused before there is a route.
    if !is_checked
        || method == "OPTIONS"
        || answer.head.contains("content-length: 0\r\n") && answer.status >= 400
    {
        return;
    }
    if let Err(lack) = lack(method, path, answer) {
        panic!("the OpenAPI document has no such answer to {method} {path:.200}: {lack}: {answer:.2000?}");
    }
}

/// Holds a frame of a stream against the document.
///
/// # Panics
///
/// Where it is no frame of the document's.
pub fn check_frame(frame: &Value) {
    let lack = SCHEMAS.check(&DOCUMENT["components"]["schemas"]["Frame"], frame);
    assert_eq!(lack, Ok(()), "no frame of the OpenAPI document: {frame}");
}

fn lack(method: &str, path: &str, answer: &Answer) -> Result<(), String> {
    let code = || answer.text("code");
    let Some(methods) = route(path) else {
        return if answer.status >= 400 && ELSEWHERE.contains(&&*code()) {
            problem(answer)
        } else {
            Err("path".into())
        };
    };
    let documented = if method == "HEAD" { "get" } else { &method.to_lowercase() };
    let Some(operation) = methods.get(documented) else {
        return if answer.status == 405 || answer.status < 500 && ELSEWHERE.contains(&&*code()) {
            problem(answer)
        } else {
            Err("method".into())
        };
    };
    let response = operation["responses"].get(answer.status.to_string());
    let response = response.ok_or_else(|| format!("status {}", answer.status))?;
    let Some(content) = response["content"].as_object() else {
        return if answer.body.is_empty() { Ok(()) } else { Err("there should be no body".into()) };
    };
    let media_type = answer.header("content-type").unwrap_or_default();
    let content = content.get(media_type).ok_or_else(|| format!("media type {media_type:?}"))?;
    match media_type.ends_with("json") && method != "HEAD" {
        true => SCHEMAS.check(&content["schema"], &answer.json()),
        false => Ok(()),
    }
}

fn problem(answer: &Answer) -> Result<(), String> {
    if answer.body.is_empty() {
        return Ok(());
    }
    SCHEMAS.check(&DOCUMENT["components"]["schemas"]["Problem"], &answer.json())
}

/// The methods of the path that this one is.
fn route(path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object()?;
    let is = |template: &str| {
        template.split('/').count() == path.split('/').count()
            && template
                .split('/')
                .zip(path.split('/'))
                .all(|(name, found)| name.starts_with('{') || name == found)
    };
    paths.iter().find(|(template, _)| is(template)).map(|(_, methods)| methods)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_a_create_are_those_of_the_runtime() {
        let create = &DOCUMENT["components"]["schemas"]["Create"]["properties"];
        assert_eq!(create["name"]["maxLength"], sekisho_runtime::MAX_NAME);
        assert_eq!(create["labels"]["maxProperties"], sekisho_runtime::MAX_LABELS);
        assert_eq!(create["labels"]["additionalProperties"]["maxLength"], sekisho_runtime::MAX_LABEL_VALUE);
        let name = create["labels"]["propertyNames"]["pattern"].as_str().unwrap();
        assert!(name.contains(&format!("{{1,{}}}", sekisho_runtime::MAX_LABEL_NAME)), "{name}");
        assert_eq!(create["env"]["maxProperties"], sekisho_runtime::MAX_VARIABLES);
    }

    #[test]
    fn the_examples_of_replies_are_of_their_schemas() {
        let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
        let mut examples = 0;
        for (name, schema) in schemas {
            for example in schema["examples"].as_array().into_iter().flatten() {
                assert_eq!(SCHEMAS.check(schema, example), Ok(()), "{name}");
                examples += 1;
            }
        }
        assert_eq!(examples, 5);
    }

    #[test]
    fn an_answer_that_the_document_does_not_have_is_found_out() {
        let answer = |status, media_type: &str, body: &str| Answer {
            status,
            head: format!("HTTP/1.1 {status} -\r\ncontent-type: {media_type}"),
            body: body.to_owned(),
        };
        let list = r#"{"requests":[],"diagnostics":[]}"#;
        let json = "application/json";
        assert_eq!(lack("GET", "/api/requests", &answer(200, json, list)), Ok(()));
        for (method, path, answer) in [
            ("GET", "/api/new", answer(200, json, list)),
            ("PUT", "/api/requests", answer(200, json, list)),
            ("GET", "/api/requests", answer(202, json, list)),
            ("GET", "/api/requests", answer(200, "text/plain", list)),
            ("GET", "/api/requests", answer(200, json, r#"{"requests":[],"diagnostics":[],"new":1}"#)),
            ("DELETE", "/api/runtimes/r/workers/w", answer(204, json, "{}")),
        ] {
            assert!(lack(method, path, &answer).is_err(), "{method} {path}: {answer:?}");
        }
    }
}
