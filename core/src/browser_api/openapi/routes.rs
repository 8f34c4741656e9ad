//! Every route, from the tables that requests are read by.

use serde_json::{Value, json};

use super::bodies;
use super::frames::FrameView;
use super::parameters::{self, Part};
use super::problems::{self, Asks};
use super::schemas::Schemas;
use crate::browser_api::FleetFrame;
use crate::browser_api::asset::Asset;
use crate::browser_api::observation::Form;
use crate::browser_api::request::Overview;
use crate::browser_api::view::{HealthReply, Items, RequestsReply, RuntimeView, WorkerView};
use crate::error::ErrorKind;
use crate::runtime_api::{self, FILTER, Operation, Wire};

/// A route with all that the document says of it.
pub(super) struct Described {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) operation_id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: String,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    /// The responses that are no problems, by their status.
    pub(super) success: Value,
    pub(super) problems: Vec<ErrorKind>,
}

const TAGS: [(&str, &str); 6] = [
    ("runtimes", "What holds workers."),
    ("workers", "Programs that run in a runtime and are spoken to."),
    ("requests", "Questions of workers that a person has to answer."),
    ("streams", "What happens to a worker, as it happens."),
    ("gateway", "The gateway itself."),
    ("documentation", "This document, and the page that shows it."),
];

/// What the routes are grouped by.
pub(super) fn tags() -> Value {
    TAGS.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect()
}

/// Every route, in the order of its table.
pub(super) fn all(schemas: &mut Schemas) -> Vec<Described> {
    let mut all: Vec<Described> =
        Overview::ALL.into_iter().map(|overview| of_overview(schemas, overview)).collect();
    let commands = Operation::ALL.iter().filter(|operation| **operation != Operation::ObserveEvents);
    all.extend(commands.map(|operation| of_operation(schemas, *operation)));
    all.extend(Form::ALL.into_iter().map(|form| of_stream(schemas, form)));
    all.extend(Form::ALL.into_iter().map(|form| of_fleet(schemas, form)));
    all.extend(Asset::ALL.into_iter().map(of_asset));
    all
}

/// The name, the tag, the summary, and the schema of the reply.
fn told_of_overview(
    schemas: &mut Schemas,
    overview: Overview,
) -> (&'static str, &'static str, &'static str, Value) {
    match overview {
        Overview::Live => ("livez", "gateway", "Whether the process lives.", schemas.reply::<HealthReply>()),
        Overview::Health => (
            "healthz",
            "gateway",
            "The same, for probes that ask under this name.",
            schemas.reply::<HealthReply>(),
        ),
        Overview::Ready => {
            ("readyz", "gateway", "Whether the gateway takes requests.", schemas.reply::<HealthReply>())
        }
        Overview::Metrics => (
            "metrics",
            "gateway",
            "What the gateway counts, as Prometheus reads it. Not here where the gateway has an `admin_listen`.",
            json!({ "type": "string" }),
        ),
        Overview::Runtimes => (
            "list_runtimes",
            "runtimes",
            "Every configured runtime, reachable or not.",
            schemas.reply::<Items<RuntimeView>>(),
        ),
        Overview::Workers => (
            "list_all_workers",
            "workers",
            "The workers of all runtimes.",
            schemas.reply::<Items<WorkerView>>(),
        ),
        Overview::Requests => (
            "list_every_request",
            "requests",
            "The open requests of all workers of all runtimes, oldest first.",
            schemas.reply::<RequestsReply>(),
        ),
    }
}

fn of_overview(schemas: &mut Schemas, overview: Overview) -> Described {
    let (operation_id, tag, summary, schema) = told_of_overview(schemas, overview);
    let reply = match overview {
        Overview::Metrics => {
            json!({ "description": "The metrics.", "content": { "text/plain; version=0.0.4": { "schema": schema } } })
        }
        _ => bodies::json_response("The reply.", schema.clone()),
    };
    let mut success = json!({ "200": reply });
    if overview == Overview::Ready {
        success["503"] = bodies::json_response("The gateway is shutting down.", schema);
    }
    let query: &[&str] = if overview == Overview::Workers { &FILTER } else { &[] };
    Described {
        method: "get",
        path: overview.path(),
        operation_id,
        tag,
        summary,
        description: match tag {
            "gateway" => String::new(),
            _ => "A runtime that fails or is slow costs its own rows and one diagnostic, never the reply."
                .to_owned(),
        },
        parameters: query.iter().map(|name| parameters::of_query(name, Part::AllWorkers)).collect(),
        body: None,
        success,
        problems: problems::of(match overview {
            Overview::Live | Overview::Health | Overview::Ready => Asks::Gateway,
            Overview::Metrics | Overview::Runtimes | Overview::Workers | Overview::Requests => Asks::All,
        }),
    }
}

fn of_operation(schemas: &mut Schemas, operation: Operation) -> Described {
    let path = operation.path(Wire::Gateway).as_str();
    let part = match operation {
        Operation::ReadTranscript => Part::Transcript,
        _ => Part::Workers,
    };
    let query = runtime_api::parameters(operation).iter().map(|name| parameters::of_query(name, part));
    let key = operation.takes_key().then(parameters::idempotency_key);
    let feature = operation.feature().map(|feature| {
        format!("Needs the feature `{}`: of a runtime without it the answer is `unsupported`, and nothing is sent.", feature.name())
    });
    Described {
        method: match operation.method() {
            http::Method::POST => "post",
            http::Method::DELETE => "delete",
            _ => "get",
        },
        path,
        operation_id: operation.name(),
        tag: match operation {
            Operation::ReadRuntime | Operation::ListProfiles => "runtimes",
            Operation::ListRequests | Operation::ListAllRequests | Operation::AnswerRequest => "requests",
            _ => "workers",
        },
        summary: operation.summary(),
        description: feature.unwrap_or_default(),
        parameters: parameters::of_path(path).chain(query).chain(key).collect(),
        body: bodies::request(schemas, operation),
        success: bodies::success(schemas, operation),
        problems: problems::of(Asks::One(operation)),
    }
}

fn of_stream(schemas: &mut Schemas, form: Form) -> Described {
    let path = form.template();
    let frame = schemas.reply::<FrameView>();
    let query = runtime_api::parameters(Operation::ObserveEvents);
    let mut parameters: Vec<Value> = parameters::of_path(path).collect();
    parameters.extend(query.iter().map(|name| parameters::of_query(name, Part::Stream)));
    let (operation_id, summary, description, success) = match form {
        Form::WebSocket => (
            Operation::ObserveEvents.name(),
            "A worker's stream as a WebSocket.",
            "Each message is a text, one Frame as JSON. What keeps a viewer out is told by a last diagnostic and the close \
             code, the range of which tells whether to come back.",
            json!({ "101": { "description": "The stream: see the schema `Frame`." } }),
        ),
        Form::ServerSentEvents => {
            parameters.push(parameters::last_event_id());
            let description = "The stream: the `data` of each event is a Frame, and its `id` the cursor.";
            let stream = event_stream(description, &frame);
            ("stream_events", "A worker's stream as server-sent events.", "", stream)
        }
    };
    Described {
        method: "get",
        path,
        operation_id,
        tag: "streams",
        summary,
        description: description.to_owned(),
        parameters,
        body: None,
        success,
        problems: problems::of(Asks::Stream(form)),
    }
}

fn of_fleet(schemas: &mut Schemas, form: Form) -> Described {
    let frame = schemas.reply::<FleetFrame>();
    let (operation_id, summary, success) = match form {
        Form::WebSocket => (
            "observe_all_workers",
            "All workers of all runtimes, as they are and as they change, as a WebSocket.",
            json!({ "101": { "description": "The stream: see the schema `FleetFrame`." } }),
        ),
        Form::ServerSentEvents => (
            "stream_all_workers",
            "The same as server-sent events.",
            event_stream("The stream: the `data` of each event is a FleetFrame.", &frame),
        ),
    };
    Described {
        method: "get",
        path: form.fleet_template(),
        operation_id,
        tag: "streams",
        summary,
        description: "A frame `snapshot` says how many frames `runtime` follow; then each change follows once, in order. A \
            viewer that is too slow, or comes back, is shown another snapshot."
            .to_owned(),
        parameters: Vec::new(),
        body: None,
        success,
        problems: problems::of(Asks::Fleet(form)),
    }
}

/// The response that is a stream of such frames.
fn event_stream(description: &str, frame: &Value) -> Value {
    // OpenAPI 3.1 has no word for what a stream is made of; 3.2 calls it `itemSchema`.
    let content = json!({ "schema": { "type": "string" }, "x-itemSchema": frame });
    json!({ "200": { "description": description, "content": { "text/event-stream": content } } })
}

fn of_asset(asset: Asset) -> Described {
    let (operation_id, summary) = match asset {
        Asset::Home => ("home", "A page that says what this is, and watches a worker."),
        Asset::HomeScript => ("home_script", "The script of that page."),
        Asset::HomeStyle => ("home_style", "The style of that page."),
        Asset::WatchScript => {
            ("watch_script", "The client for a worker's stream that the page uses, and shows.")
        }
        Asset::OpenApi => ("openapi", "This document."),
        Asset::Reference => ("reference", "The page that shows this document."),
        Asset::ReferenceScript => ("reference_script", "The script of that page."),
        Asset::ReferenceStyle => ("reference_style", "The style of that page."),
    };
    let schema =
        if asset == Asset::OpenApi { json!({ "type": "object" }) } else { json!({ "type": "string" }) };
    let content = json!({ asset.media_type(): { "schema": schema } });
    Described {
        method: "get",
        path: asset.path(),
        operation_id,
        tag: "documentation",
        summary,
        description: String::new(),
        parameters: Vec::new(),
        body: None,
        success: json!({ "200": { "description": "The file.", "content": content } }),
        problems: problems::of(if asset.is_public() { Asks::File } else { Asks::All }),
    }
}
