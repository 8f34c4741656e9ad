//! The OpenAPI document of this API, made of what serves it: routes, methods and parameters are those of the tables that
//! requests are read by, schemas those of the types that bodies are read and written as, and problems those of the table of
//! errors.

mod bodies;
mod examples;
mod frames;
mod parameters;
mod problems;
mod routes;
mod schemas;

use serde_json::{Map, Value, json};

use self::routes::Described;
use self::schemas::Schemas;
use super::problem::Typed;
use crate::error::ErrorKind;

/// The name of the security scheme.
const TOKEN: &str = "access_token";

/// What stands before everything else.
const DESCRIPTION: &str = "The API of a sekisho gateway. A worker is named by `runtime_id` and `worker_id` together, and no \
    reply, header or frame tells where a runtime is. Bodies are JSON of at most 1 MiB (`max_request_bytes`). Every route of \
    the method GET takes HEAD as well. Each failure is `application/problem+json`; programs may rely on its `code`, and for \
    commands that change something on its `outcome`. A gateway with `access_token_file` asks for its token on all routes \
    that have the security scheme here; one without it asks for none.";

/// The OpenAPI document, version 3.1.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let problem = schemas.reply::<Typed<'_>>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all(&mut schemas) {
        let methods = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        let method = route.method;
        methods[method] = operation(route, &problem);
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "sekisho gateway",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "tags": routes::tags(),
        "security": [{}, { TOKEN: [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { TOKEN: {
                "type": "http",
                "scheme": "bearer",
                "description": "The access token of the gateway. A page that opens a WebSocket, for which it cannot set \
                    headers, offers the subprotocols `sekisho.v1` and `bearer.TOKEN` instead.",
            } },
            "parameters": parameters::shared(),
        },
    });
    schemas.complete(document)
}

fn operation(route: Described, problem: &Value) -> Value {
    let mut operation = json!({
        "operationId": route.operation_id,
        "tags": [route.tag],
        "summary": route.summary,
        "responses": route.success,
    });
    for (status, response) in problems::responses(&route.problems, problem) {
        operation["responses"][status] = response;
    }
    if !route.description.is_empty() {
        operation["description"] = route.description.into();
    }
    if !route.parameters.is_empty() {
        operation["parameters"] = route.parameters.into();
    }
    if let Some(body) = route.body {
        operation["requestBody"] = body;
    }
    if !route.problems.contains(&ErrorKind::Unauthorized) {
        operation["security"] = json!([]);
    }
    operation
}

#[cfg(test)]
mod tests;
