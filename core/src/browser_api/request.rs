//! What browsers ask.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, bounded};
use crate::id::{IdError, RuntimeId, WorkerId};
use crate::query;
use crate::runtime_api::{
    Capability, Command, CreateWorker, IdempotencyKey, Input, InputKind, Intent, Profile, Reason, Reference,
    to_json,
};

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
    /// `GET /api/runtimes`
    Runtimes,
    /// `GET /api/runtimes/{runtime_id}`
    Runtime(RuntimeId),
    /// `GET /api/workers`
    AllWorkers,
    /// Everything that is one command to one runtime.
    Command {
        /// To which runtime.
        runtime_id: RuntimeId,
        /// Which command.
        command: Command,
    },
}

impl Action {
    /// Whether it changes something, rather than only look.
    pub fn changes_something(&self) -> bool {
        match self {
            Self::Command { command, .. } => command.operation().changes_something(),
            _ => false,
        }
    }

    /// The request that asks for it, in origin form and without what an address adds. [`Route::parse`] and
    /// [`Route::action`] read it back as the same action, but for mount references and a configuration bundle, which
    /// this API does not have.
    pub fn request(&self) -> Request<Bytes> {
        let worker = |runtime_id: &RuntimeId, worker_id: &WorkerId, last: &str| {
            format!("/api/runtimes/{runtime_id}/workers/{worker_id}{last}")
        };
        let (path, key, body) = match self {
            Self::Health => ("/healthz".to_owned(), None, None),
            Self::Ready => ("/readyz".to_owned(), None, None),
            Self::Runtimes => ("/api/runtimes".to_owned(), None, None),
            Self::Runtime(id) => (format!("/api/runtimes/{id}"), None, None),
            Self::AllWorkers => ("/api/workers".to_owned(), None, None),
            Self::Command { runtime_id, command } => match command {
                Command::Runtime => (format!("/api/runtimes/{runtime_id}"), None, None),
                Command::Workers => (format!("/api/runtimes/{runtime_id}/workers"), None, None),
                Command::Worker(id) => (worker(runtime_id, id, ""), None, None),
                Command::Create { worker, key } => {
                    let body = CreateBody {
                        intent: worker.intent.clone(),
                        profile: worker.profile.clone(),
                        requested_capabilities: worker.requested_capabilities.clone(),
                        workspace_refs: worker.workspace_refs.clone(),
                    };
                    (format!("/api/runtimes/{runtime_id}/workers"), key.as_ref(), Some(to_json(&body)))
                }
                Command::Input { worker_id, input, key } => {
                    (worker(runtime_id, worker_id, "/input"), key.as_ref(), Some(to_json(input)))
                }
                Command::Stop { worker_id, reason } => {
                    (worker(runtime_id, worker_id, "/stop"), None, Some(to_json(reason)))
                }
                Command::Cancel { worker_id, reason } => {
                    (worker(runtime_id, worker_id, "/cancel"), None, Some(to_json(reason)))
                }
                Command::Transcript { worker_id, start, limit } => {
                    let path = worker(runtime_id, worker_id, "/transcript");
                    (query::with_numbers(path, [("start", *start), ("limit", *limit)]), None, None)
                }
            },
        };
        let mut request = Request::new(Bytes::new());
        // Constants, ids and numbers: each was checked to be made of characters of a path.
        *request.uri_mut() = path.try_into().expect("made of checked parts");
        if let Some(key) = key {
            request.headers_mut().insert(IdempotencyKey::HEADER, key.header_value());
        }
        if let Some(body) = body {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.method_mut() = Method::POST;
            *request.body_mut() = body;
        }
        request
    }

    /// Whether this runtime is asked about it.
    pub fn concerns(&self, runtime_id: &RuntimeId) -> bool {
        match self {
            Self::Health | Self::Ready => false,
            Self::Runtimes | Self::AllWorkers => true,
            Self::Runtime(asked) | Self::Command { runtime_id: asked, .. } => asked == runtime_id,
        }
    }
}

/// A request whose head has been understood and whose body has not been read.
#[derive(Debug)]
pub struct Route {
    template: &'static str,
    /// Whether the head says that the body is JSON. Where it says anything else, there is no route.
    declares_json: bool,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Whole(Action),
    Create { runtime_id: RuntimeId, key: Option<IdempotencyKey> },
    Input { runtime_id: RuntimeId, worker_id: WorkerId, key: Option<IdempotencyKey> },
    Stop { runtime_id: RuntimeId, worker_id: WorkerId },
    Cancel { runtime_id: RuntimeId, worker_id: WorkerId },
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    intent: Intent,
    #[serde(default)]
    profile: Profile,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requested_capabilities: Vec<Capability>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    workspace_refs: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputBody {
    content: String,
    #[serde(default)]
    kind: InputKind,
}

const READ: &str = "GET, HEAD";

impl Route {
    /// What the head of a request asks for.
    pub fn parse(head: &Parts) -> Result<Self, Error> {
        Self::understand(head).map_err(|error| error.refusing(&head.method))
    }

    fn understand(head: &Parts) -> Result<Self, Error> {
        let segments: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let method = match head.method {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        let unread = |template, action| (template, READ, Step::Whole(action));
        let (template, allow, step) = match (&segments[..], method) {
            (["healthz"], _) => unread("/healthz", Action::Health),
            (["readyz"], _) => unread("/readyz", Action::Ready),
            (["api", "runtimes"], _) => unread("/api/runtimes", Action::Runtimes),
            (["api", "workers"], _) => unread("/api/workers", Action::AllWorkers),
            (["api", "runtimes", runtime], _) => {
                unread("/api/runtimes/{runtime_id}", Action::Runtime(runtime_id(runtime)?))
            }
            (["api", "runtimes", runtime, "workers"], method) => {
                let runtime_id = runtime_id(runtime)?;
                let step = match *method {
                    Method::POST => Step::Create { runtime_id, key: key(&head.headers)? },
                    _ => Step::Whole(Action::Command { runtime_id, command: Command::Workers }),
                };
                ("/api/runtimes/{runtime_id}/workers", "GET, HEAD, POST", step)
            }
            (["api", "runtimes", runtime, "workers", worker], _) => {
                let (runtime_id, worker_id) = (runtime_id(runtime)?, worker_id(worker)?);
                let action = Action::Command { runtime_id, command: Command::Worker(worker_id) };
                unread("/api/runtimes/{runtime_id}/workers/{worker_id}", action)
            }
            (["api", "runtimes", runtime, "workers", worker @ .., last], _) if LAST.contains(last) => {
                let runtime_id = runtime_id(runtime)?;
                let worker_id = match worker {
                    [worker] => worker_id(worker)?,
                    // A slash that was meant to be part of an id.
                    [first, ..] => {
                        return Err(invalid_id("worker_id", IdError::Character { position: first.len() }));
                    }
                    [] => return Err(Error::new(ErrorKind::UnknownRoute)),
                };
                match *last {
                    "input" => (
                        "/api/runtimes/{runtime_id}/workers/{worker_id}/input",
                        "POST",
                        Step::Input { runtime_id, worker_id, key: key(&head.headers)? },
                    ),
                    "stop" => (
                        "/api/runtimes/{runtime_id}/workers/{worker_id}/stop",
                        "POST",
                        Step::Stop { runtime_id, worker_id },
                    ),
                    "cancel" => (
                        "/api/runtimes/{runtime_id}/workers/{worker_id}/cancel",
                        "POST",
                        Step::Cancel { runtime_id, worker_id },
                    ),
                    _ => {
                        let [start, limit] =
                            query::numbers(head.uri.query(), ["start", "limit"]).map_err(invalid)?;
                        let command = Command::Transcript { worker_id, start, limit };
                        unread(
                            "/api/runtimes/{runtime_id}/workers/{worker_id}/transcript",
                            Action::Command { runtime_id, command },
                        )
                    }
                }
            }
            _ => return Err(Error::new(ErrorKind::UnknownRoute)),
        };
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Err(Error::new(ErrorKind::MethodNotAllowed { allow }));
        }
        if !matches!(step, Step::Whole(Action::Command { command: Command::Transcript { .. }, .. })) {
            query::parameters(head.uri.query(), []).map_err(invalid)?;
        }
        Ok(Self { template, declares_json: declares_json(&head.headers)?, step })
    }

    /// The route as BROWSER-API.md writes it: fit for logs and metrics, whatever the request.
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// Whether there is a body to be read before [`Route::action`].
    pub fn takes_body(&self) -> bool {
        !matches!(self.step, Step::Whole(_))
    }

    /// What head and body together ask for.
    pub fn action(self, body: &Bytes) -> Result<Action, Error> {
        let Self { step, declares_json, .. } = self;
        let (runtime_id, command) = match step {
            Step::Whole(action) => return Ok(action),
            _ if !declares_json && !body.is_empty() => {
                return Err(Error::new(ErrorKind::UnsupportedMediaType).refusing(&Method::POST));
            }
            Step::Create { runtime_id, key } => {
                let CreateBody { intent, profile, requested_capabilities, workspace_refs } =
                    from_json(body, &runtime_id, None)?;
                let worker = CreateWorker {
                    requested_capabilities,
                    workspace_refs,
                    ..CreateWorker::new(intent, profile)
                };
                (runtime_id, Command::Create { worker: Box::new(worker), key })
            }
            Step::Input { runtime_id, worker_id, key } => {
                let InputBody { content, kind } = from_json(body, &runtime_id, Some(&worker_id))?;
                (runtime_id, Command::Input { worker_id, input: Input { kind, content }, key })
            }
            Step::Stop { runtime_id, worker_id } => {
                let reason = reason(body, &runtime_id, &worker_id)?;
                (runtime_id, Command::Stop { worker_id, reason })
            }
            Step::Cancel { runtime_id, worker_id } => {
                let reason = reason(body, &runtime_id, &worker_id)?;
                (runtime_id, Command::Cancel { worker_id, reason })
            }
        };
        Ok(Action::Command { runtime_id, command })
    }

    /// The error of a body over the server's limit.
    pub fn body_too_large(limit: usize) -> Error {
        let detail = format!("The body is larger than {limit} bytes");
        Error::with_detail(ErrorKind::PayloadTooLarge, detail).refusing(&Method::POST)
    }

    /// The error of a body that broke off, or did not come to its end in time.
    pub fn body_incomplete() -> Error {
        let detail = "The body did not come to its end, or not in time";
        Error::with_detail(ErrorKind::InvalidRequest, detail).refusing(&Method::POST)
    }
}

/// What may follow a worker's id.
const LAST: [&str; 4] = ["input", "stop", "cancel", "transcript"];

pub(super) fn invalid(error: impl std::fmt::Display) -> Error {
    Error::with_detail(ErrorKind::InvalidRequest, bounded(&error.to_string()))
}

fn invalid_id(what: &str, error: IdError) -> Error {
    Error::with_detail(ErrorKind::InvalidIdentifier, format!("The {what} {error}"))
}

pub(super) fn runtime_id(segment: &str) -> Result<RuntimeId, Error> {
    percent_decode_str(segment).decode_utf8_lossy().parse().map_err(|error| invalid_id("runtime_id", error))
}

pub(super) fn worker_id(segment: &str) -> Result<WorkerId, Error> {
    percent_decode_str(segment).decode_utf8_lossy().parse().map_err(|error| invalid_id("worker_id", error))
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Error> {
    IdempotencyKey::from_headers(headers).map_err(invalid)
}

fn declares_json(headers: &HeaderMap) -> Result<bool, Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    match essence.trim_ascii().eq_ignore_ascii_case(b"application/json") {
        true => Ok(true),
        false => Err(Error::new(ErrorKind::UnsupportedMediaType)),
    }
}

fn reason(body: &Bytes, runtime_id: &RuntimeId, worker_id: &WorkerId) -> Result<Reason, Error> {
    match body.is_empty() {
        true => Ok(Reason::default()),
        false => from_json(body, runtime_id, Some(worker_id)),
    }
}

fn from_json<T: DeserializeOwned>(
    body: &Bytes,
    runtime_id: &RuntimeId,
    worker_id: Option<&WorkerId>,
) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        invalid(format_args!("The body: {error}"))
            .of_runtime(runtime_id)
            .of_worker(worker_id)
            .refusing(&Method::POST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Outcome;

    fn ask(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Result<Action, Error> {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Route::parse(&head)?.action(&Bytes::copy_from_slice(body.as_bytes()))
    }

    fn get(uri: &str) -> Result<Action, ErrorKind> {
        ask("GET", uri, &[], "").map_err(|error| error.kind())
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    fn post(uri: &str, body: &str) -> Result<Action, ErrorKind> {
        ask("POST", uri, &[JSON], body).map_err(|error| error.kind())
    }

    fn command(command: Command) -> Action {
        Action::Command { runtime_id: "r".parse().unwrap(), command }
    }

    fn w() -> WorkerId {
        "w:1".parse().unwrap()
    }

    #[test]
    fn routes() {
        assert_eq!(get("/healthz"), Ok(Action::Health));
        assert_eq!(get("/readyz"), Ok(Action::Ready));
        assert_eq!(get("/api/runtimes"), Ok(Action::Runtimes));
        assert_eq!(get("/api/workers"), Ok(Action::AllWorkers));
        assert_eq!(get("/api/runtimes/r"), Ok(Action::Runtime("r".parse().unwrap())));
        assert_eq!(get("/api/runtimes/r/workers"), Ok(command(Command::Workers)));
        assert_eq!(get("/api/runtimes/r/workers/w%3A1"), Ok(command(Command::Worker(w()))));
        assert_eq!(
            get("/api/runtimes/r/workers/w:1/transcript?limit=2"),
            Ok(command(Command::Transcript { worker_id: w(), start: None, limit: Some(2) }))
        );
        let reason = Reason { reason: Some("done".into()) };
        assert_eq!(
            post("/api/runtimes/r/workers/w:1/stop", r#"{"reason":"done"}"#),
            Ok(command(Command::Stop { worker_id: w(), reason }))
        );
        let cancel = command(Command::Cancel { worker_id: w(), reason: Reason::default() });
        assert_eq!(ask("POST", "/api/runtimes/r/workers/w:1/cancel", &[], ""), Ok(cancel));
        assert_eq!(ask("HEAD", "/api/runtimes", &[], ""), Ok(Action::Runtimes));
    }

    #[test]
    fn bodies() {
        let created = post(
            "/api/runtimes/r/workers",
            r#"{"intent":{"kind":"task","objective":"x"},"requested_capabilities":[{"name":"read"}]}"#,
        );
        let Ok(Action::Command { command: Command::Create { worker, key: None }, .. }) = created else {
            panic!("{created:?}");
        };
        assert_eq!(worker.profile, Profile::RuntimeDefault);
        assert_eq!(worker.requested_capabilities.len(), 1);

        let headers = [JSON, ("idempotency-key", "k-1")];
        let input =
            ask("POST", "/api/runtimes/r/workers/w:1/input", &headers, r#"{"content":"hi"}"#).unwrap();
        let said = Input { kind: InputKind::User, content: "hi".into() };
        assert_eq!(input, command(Command::Input { worker_id: w(), input: said, key: "k-1".parse().ok() }));
    }

    #[test]
    fn ids_that_are_none() {
        let long = "x".repeat(10_000);
        for id in ["..", ".", "%2e%2e", "a%2Fb", "", &long, "a%00b", "%E9%96%A2", "関所", "a%20b", "%", "%FF"]
        {
            for uri in [
                format!("/api/runtimes/{id}"),
                format!("/api/runtimes/{id}/workers"),
                format!("/api/runtimes/r/workers/{id}"),
                format!("/api/runtimes/r/workers/{id}/transcript"),
            ] {
                assert_eq!(get(&uri), Err(ErrorKind::InvalidIdentifier), "{uri:.60}");
            }
            let uri = format!("/api/runtimes/r/workers/{id}/input");
            let error = ask("POST", &uri, &[JSON], "{}").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidIdentifier, "{uri:.60}");
            assert_eq!(error.outcome(), Some(Outcome::NotApplied));
            assert!(error.detail().len() < 200);
        }
        assert_eq!(get("/api/runtimes/r/workers/a/b/transcript"), Err(ErrorKind::InvalidIdentifier));
    }

    #[test]
    fn routes_that_are_none() {
        for uri in [
            "/",
            "/api",
            "/api/",
            "/API/runtimes",
            "/api/runtime",
            "/v1/workers",
            "/healthz/",
            "//",
            "/api/runtimes/r/worker",
            "/api/runtimes/r/workers/w/pause",
            "/api/workers/w",
        ] {
            assert_eq!(get(uri), Err(ErrorKind::UnknownRoute), "{uri}");
        }
        for (method, uri, allow) in [
            ("POST", "/healthz", "GET, HEAD"),
            ("DELETE", "/api/runtimes/r/workers", "GET, HEAD, POST"),
            ("PUT", "/api/runtimes/r/workers/w", "GET, HEAD"),
            ("GET", "/api/runtimes/r/workers/w/input", "POST"),
            ("HEAD", "/api/runtimes/r/workers/w/stop", "POST"),
            ("OPTIONS", "/api/runtimes", "GET, HEAD"),
        ] {
            let kind = ask(method, uri, &[], "").unwrap_err().kind();
            assert_eq!(kind, ErrorKind::MethodNotAllowed { allow }, "{method} {uri}");
        }
    }

    #[test]
    fn what_is_asked_is_understood() {
        let (runtime_id, worker_id) = ("r".parse::<RuntimeId>().unwrap(), "w".parse::<WorkerId>().unwrap());
        let key: Option<IdempotencyKey> = "k-1".parse().ok();
        let reason = |text: &str| Reason { reason: Some(text.into()) };
        let intent = Intent::Role { role: "reviewer".into(), purpose: None };
        let worker = CreateWorker {
            requested_capabilities: vec![Capability { name: "net".into(), reason: None }],
            workspace_refs: vec![Reference { name: "repo".into(), reference: "main".into() }],
            ..CreateWorker::new(intent, Profile::Named("shell".into()))
        };
        let worker = Box::new(worker);
        let input = Input { kind: InputKind::System, content: "a \"b\"\n関".into() };
        let page = |start, limit| Command::Transcript { worker_id: worker_id.clone(), start, limit };
        let commands = [
            Command::Workers,
            Command::Worker(worker_id.clone()),
            Command::Create { worker: worker.clone(), key: None },
            Command::Create { worker, key: key.clone() },
            Command::Input { worker_id: worker_id.clone(), input, key },
            Command::Stop { worker_id: worker_id.clone(), reason: reason("enough") },
            Command::Cancel { worker_id: worker_id.clone(), reason: Reason { reason: None } },
            page(None, None),
            page(Some(3), None),
            page(Some(3), Some(4)),
        ];
        let commands = commands.map(|command| Action::Command { runtime_id: runtime_id.clone(), command });
        let others = [
            Action::Health,
            Action::Ready,
            Action::Runtimes,
            Action::AllWorkers,
            Action::Runtime(runtime_id),
        ];
        for action in others.into_iter().chain(commands) {
            let (head, body) = action.request().into_parts();
            assert_eq!(Route::parse(&head).unwrap().action(&body).unwrap(), action);
        }
    }

    #[test]
    fn which_actions_change_something_and_which_routes_take_a_body() {
        for (method, uri, changes) in [
            ("GET", "/healthz", false),
            ("GET", "/api/runtimes", false),
            ("GET", "/api/runtimes/r", false),
            ("GET", "/api/workers", false),
            ("GET", "/api/runtimes/r/workers/w", false),
            ("GET", "/api/runtimes/r/workers/w/transcript", false),
            ("POST", "/api/runtimes/r/workers/w/stop", true),
            ("POST", "/api/runtimes/r/workers/w/cancel", true),
        ] {
            let head = http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0;
            let route = Route::parse(&head).unwrap();
            assert_eq!(route.takes_body(), changes, "{uri}");
            assert_eq!(route.action(&Bytes::new()).unwrap().changes_something(), changes, "{uri}");
        }
    }

    #[test]
    fn requests_that_are_not_of_the_form() {
        let create = "/api/runtimes/r/workers";
        for body in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"intent":{"kind":"assistant"},"mount_refs":[]}"#,
            r#"{"intent":{"kind":"assistant"},"config_bundle":{"id":"x"}}"#,
            r#"{"intent":{"kind":"assistant","x":1}}"#,
            r#"{"intent":{"kind":"task"}}"#,
            r#"{"intent":{"kind":"assistant"},"intent":{"kind":"assistant"}}"#,
            "\u{0}",
            r#"{"intent":{"kind":"assistant"}} trailing"#,
        ] {
            assert_eq!(post(create, body), Err(ErrorKind::InvalidRequest), "{body}");
        }
        let input = "/api/runtimes/r/workers/w/input";
        for body in ["{}", r#"{"content":1}"#, r#"{"content":"x","kind":"robot"}"#] {
            assert_eq!(post(input, body), Err(ErrorKind::InvalidRequest), "{body}");
        }
        assert_eq!(post("/api/runtimes/r/workers/w/stop", r#"{"why":"x"}"#), Err(ErrorKind::InvalidRequest));
        for uri in ["/api/runtimes?x=1", "/api/runtimes/r/workers/w/transcript?start=-1", "/healthz?x"] {
            assert_eq!(get(uri), Err(ErrorKind::InvalidRequest), "{uri}");
        }
        for key in ["", "a b", &"k".repeat(129)] {
            let error =
                ask("POST", input, &[JSON, ("idempotency-key", key)], r#"{"content":"x"}"#).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{key}");
        }
        let named =
            ask("POST", create, &[JSON], r#"{"intent":{"kind":"assistant"},"colour":"red"}"#).unwrap_err();
        assert!(named.detail().contains("`colour`"), "{}", named.detail());
        assert_eq!(named.outcome(), Some(Outcome::NotApplied));
    }

    #[test]
    fn other_media_types() {
        let uri = "/api/runtimes/r/workers/w/stop";
        for (headers, body) in [
            (&[("content-type", "text/plain")][..], ""),
            (&[("content-type", "application/x-www-form-urlencoded")], "{}"),
            (&[("content-type", "application/jsonp")], "{}"),
            (&[], "{}"),
        ] {
            let error = ask("POST", uri, headers, body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedMediaType, "{headers:?}");
        }
    }
}
