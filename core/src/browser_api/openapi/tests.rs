use std::collections::BTreeSet;

use bytes::Bytes;
use http::Request;

use super::*;
use crate::browser_api::{Observation, Route};
use crate::runtime_api::Operation;

/// Every route of the document, with an id in place of each name in braces.
fn routes(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
    });
    methods
        .map(|(path, method, operation)| {
            let filled: Vec<&str> = path
                .split('/')
                .map(|segment| if segment.starts_with('{') { "some-id" } else { segment })
                .collect();
            (method.to_uppercase(), filled.join("/"), operation)
        })
        .collect()
}

fn parse(method: &str, uri: &str) -> Result<(), crate::error::Error> {
    let head = Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0;
    match Observation::parse(&head) {
        Some(observation) => observation.and_then(|observation| observation.of).map(drop),
        None => Route::parse(&head).map(drop),
    }
}

/// The value of a parameter, or of one of its entries, that its schema admits.
fn admitted(parameter: &Value) -> &'static str {
    match parameter["name"].as_str().unwrap() {
        "status" => "running",
        "label" => "a=b",
        "limit" | "start" => "1",
        "ignore_case" => "true",
        "after" if parameter["description"].as_str().unwrap().contains("RUNTIME_ID/") => "r/w",
        _ => "some-id",
    }
}

#[test]
fn every_route_of_the_document_is_there_and_takes_its_parameters_and_no_other() {
    let document = document();
    let all = routes(&document);
    assert!(all.len() > Operation::ALL.len(), "{}", all.len());
    let known: BTreeSet<&str> = ["status", "name", "label", "limit", "after", "start", "cursor"].into();
    for (method, path, operation) in all {
        if path.ends_with("/events/ws") {
            // Without a handshake there is no stream, whatever the query.
            assert!(parse(&method, &path).unwrap_err().detail().contains("upgrade"));
            continue;
        }
        assert_eq!(parse(&method, &path), Ok(()), "{method} {path}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let query: Vec<&Value> = parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
        for parameter in &query {
            let uri = format!("{path}?{}={}", parameter["name"].as_str().unwrap(), admitted(parameter));
            assert_eq!(parse(&method, &uri), Ok(()), "{method} {uri}");
            assert_ne!(parameter["description"], "", "{uri}");
        }
        for name in known.iter().filter(|name| query.iter().all(|parameter| parameter["name"] != **name)) {
            let refused = parse(&method, &format!("{path}?{name}=1")).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidRequest, "{method} {path} {name}");
        }
    }
}

#[test]
fn the_examples_are_taken() {
    let document = document();
    let mut examples = 0;
    for (method, path, operation) in routes(&document) {
        let content = &operation["requestBody"]["content"]["application/json"];
        for (name, example) in content["examples"].as_object().into_iter().flatten() {
            let request =
                Request::builder().method(&*method).uri(&path).header("content-type", "application/json");
            let route = Route::parse(&request.body(()).unwrap().into_parts().0).unwrap();
            let body = Bytes::from(serde_json::to_vec(&example["value"]).unwrap());
            assert!(route.action(&body).is_ok(), "{path} {name}: {example}");
            examples += 1;
        }
    }
    assert_eq!(examples, 10);
}

#[test]
fn every_reference_has_its_target_and_every_name_is_used() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Array(entries) => entries.iter().for_each(|entry| references(entry, found)),
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| references(field, found));
            }
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(found.contains(&*format!("#/components/schemas/{name}")), "{name}");
    }
}

#[test]
fn every_problem_that_can_be_answered_is_told_of() {
    let document = document().to_string();
    // What the document lacks is unknown to it: a path, or a method. The others end a WebSocket alone.
    let elsewhere = ["unknown_route", "method_not_allowed", "observation_only", "viewer_lagged"];
    for kind in ErrorKind::all().into_iter().filter(|kind| !elsewhere.contains(&kind.code())) {
        assert!(document.contains(&format!("`{}`: {}", kind.code(), kind.title())), "{kind:?}");
    }
}

#[test]
fn descriptions_are_plain_text() {
    let text = document().to_string();
    for mark in ["crate::", "](", "super::", "Self::"] {
        assert!(!text.contains(mark), "{mark}");
    }
    assert!(text.len() < 256 << 10, "{}", text.len());
}

#[test]
fn what_is_left_out_is_never_null() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["WorkerView"]["properties"]["name"]["type"], "string");
    assert_eq!(schemas["RuntimeView"]["properties"]["last_seen_at"]["type"], json!(["string", "null"]));
    assert_eq!(schemas["Create"]["properties"]["name"]["type"], json!(["string", "null"]));
}
