use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sekisho_core::browser_api::{AccessGuard, Action, Decision, Observation, Route, problem};
use sekisho_core::error::{Error, ErrorKind, MAX_RUNTIME_TEXT, Outcome};
use sekisho_core::runtime_api::{Command, Contains, IdempotencyKey, WorkerFilter};
use sekisho_core::secret::Access;
use serde_json::{Value, json};

use crate::any::{answer, damaged, filter, id, placed, reason, size, special_input, text};
use crate::cases;

/// A request that is not built yet.
#[derive(Clone, Debug)]
struct Ask {
    method: &'static str,
    target: String,
    key: Option<String>,
    body: Option<Value>,
}

impl Ask {
    fn build(&self) -> Request<Bytes> {
        let body = self.body.as_ref().map(|body| serde_json::to_vec(body).unwrap());
        let mut request = Request::builder().method(self.method).uri(&self.target);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = &self.key {
            request = request.header(IdempotencyKey::HEADER, key);
        }
        request.body(body.unwrap_or_default().into()).unwrap()
    }
}

fn understand(request: Request<Bytes>) -> Result<Action, Error> {
    let (head, body) = request.into_parts();
    Route::parse(&head)?.action(&body)
}

/// The id with some of its characters percent-encoded.
fn encoded(id: &str, choices: &[bool]) -> String {
    let encode = |(byte, choice): (u8, &bool)| match choice {
        true => format!("%{byte:02x}"),
        false => char::from(byte).to_string(),
    };
    id.bytes().zip(choices.iter().cycle()).map(encode).collect()
}

fn query(parameters: [(&str, Option<u64>); 2], turned: bool) -> String {
    let written = |(name, value): &(&str, Option<u64>)| value.map(|value| format!("{name}={value}"));
    let mut pairs: Vec<String> = parameters.iter().filter_map(written).collect();
    if turned {
        pairs.reverse();
    }
    match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    }
}

/// A query of a filter, every byte of its values percent-encoded.
fn filtered(filter: &WorkerFilter, turned: bool) -> String {
    let encode = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let status = filter.status.map(|status| json!(status).as_str().unwrap().to_owned());
    let single = [
        ("status", status),
        ("name", filter.name.clone()),
        ("limit", filter.limit.map(|limit| limit.to_string())),
        ("after", filter.after.as_ref().map(ToString::to_string)),
    ];
    let single = single.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let labels = filter.labels.iter().map(|(key, value)| ("label", format!("{key}={value}")));
    let mut pairs: Vec<String> =
        single.chain(labels).map(|(name, value)| format!("{name}={}", encode(&value))).collect();
    if turned {
        pairs.reverse();
    }
    format!("?{}", pairs.join("&"))
}

/// A good request, and what it asks for.
fn good() -> impl Strategy<Value = (Ask, Action)> {
    let key = || prop::option::of("[!-~]{1,128}");
    let commands = prop_oneof![
        Just(Command::workers()),
        Just(Command::Worker("w".parse().unwrap())),
        filter().prop_map(Command::Workers),
        (placed(), key()).prop_map(|(worker, key)| {
            Command::Create { worker: Box::new(worker), key: key.map(|key| key.parse().unwrap()) }
        }),
        key().prop_map(|key| {
            let key = key.map(|key| key.parse().unwrap());
            Command::Interrupt { worker_id: "w".parse().unwrap(), key }
        }),
        (answer(), id(), key()).prop_map(|(answer, request_id, key)| Command::Answer {
            worker_id: "w".parse().unwrap(),
            request_id: request_id.parse().unwrap(),
            answer,
            key: key.map(|key| key.parse().unwrap()),
        }),
        size().prop_map(|size| Command::Resize { worker_id: "w".parse().unwrap(), size }),
        Just(Command::Resume("w".parse().unwrap())),
        Just(Command::Remove("w".parse().unwrap())),
        Just(Command::Requests("w".parse().unwrap())),
        Just(Command::AllRequests),
        Just(Command::Profiles),
        (special_input(), key()).prop_map(|(input, key)| {
            let key = key.map(|key| key.parse().unwrap());
            Command::Input { worker_id: "w".parse().unwrap(), input, key }
        }),
        reason().prop_map(|reason| Command::Stop { worker_id: "w".parse().unwrap(), reason }),
        reason().prop_map(|reason| Command::Cancel { worker_id: "w".parse().unwrap(), reason }),
        (any::<(Option<u64>, Option<u64>, bool)>(), prop::option::of(".{1,40}")).prop_map(
            |((start, limit, ignore_case), text)| {
                let contains = text.map(|text| Contains { text, ignore_case });
                Command::Transcript { worker_id: "w".parse().unwrap(), start, limit, contains }
            }
        ),
    ];
    let encoding = prop::collection::vec(any::<bool>(), 1..8);
    (commands, id(), id(), encoding, any::<bool>()).prop_map(
        |(command, runtime, worker, encoding, turned)| {
            let runtime_path = format!("/api/runtimes/{}", encoded(&runtime, &encoding));
            let workers = format!("{runtime_path}/workers");
            let of_worker = |rest: &str| format!("{workers}/{}{rest}", encoded(&worker, &encoding));
            let key = command.idempotency_key().map(|key| format!("{key:?}"));
            let (method, target, body) = match &command {
                Command::Create { worker, .. } => ("POST", workers.clone(), Some(json!(worker))),
                Command::Input { input, .. } => ("POST", of_worker("/input"), Some(json!(input))),
                Command::Interrupt { .. } => ("POST", of_worker("/interrupt"), None),
                Command::Resize { size, .. } => ("POST", of_worker("/resize"), Some(json!(size))),
                Command::Resume(_) => ("POST", of_worker("/resume"), None),
                Command::Remove(_) => ("DELETE", of_worker(""), None),
                Command::Requests(_) => ("GET", of_worker("/requests"), None),
                Command::AllRequests => ("GET", format!("{runtime_path}/requests"), None),
                Command::Profiles => ("GET", format!("{runtime_path}/profiles"), None),
                Command::Answer { request_id, answer, .. } => {
                    let request_id = encoded(request_id.as_str(), &encoding);
                    ("POST", of_worker("/requests/") + &request_id, Some(json!(answer)))
                }
                Command::Workers(filter) => ("GET", workers.clone() + &filtered(filter, turned), None),
                Command::Stop { reason, .. } => ("POST", of_worker("/stop"), Some(json!(reason))),
                Command::Cancel { reason, .. } => ("POST", of_worker("/cancel"), Some(json!(reason))),
                Command::Transcript { start, limit, contains, .. } => {
                    let mut query = query([("start", *start), ("limit", *limit)], turned);
                    if let Some(Contains { text, ignore_case }) = contains {
                        query += if query.is_empty() { "?" } else { "&" };
                        query += &format!("contains={}", encoded(text, &[true]));
                        query += if *ignore_case { "&ignore_case=true" } else { "" };
                    }
                    ("GET", of_worker("/transcript") + &query, None)
                }
                Command::Worker(_) => (if turned { "HEAD" } else { "GET" }, of_worker(""), None),
                _ => ("GET", workers.clone(), None),
            };
            let runtime_id = runtime.parse().unwrap();
            let command = about(command, &worker);
            (Ask { method, target, key, body }, Action::Command { runtime_id, command })
        },
    )
}

/// The same command about another worker.
fn about(command: Command, worker: &str) -> Command {
    let worker_id = worker.parse().unwrap();
    match command {
        Command::Worker(_) => Command::Worker(worker_id),
        Command::Input { input, key, .. } => Command::Input { worker_id, input, key },
        Command::Stop { reason, .. } => Command::Stop { worker_id, reason },
        Command::Interrupt { key, .. } => Command::Interrupt { worker_id, key },
        Command::Resize { size, .. } => Command::Resize { worker_id, size },
        Command::Resume(_) => Command::Resume(worker_id),
        Command::Remove(_) => Command::Remove(worker_id),
        Command::Requests(_) => Command::Requests(worker_id),
        Command::Answer { request_id, answer, key, .. } => {
            Command::Answer { worker_id, request_id, answer, key }
        }
        Command::Cancel { reason, .. } => Command::Cancel { worker_id, reason },
        Command::Transcript { start, limit, contains, .. } => {
            Command::Transcript { worker_id, start, limit, contains }
        }
        command => command,
    }
}

/// A request of parts that may fit.
fn any_request() -> impl Strategy<Value = Request<Bytes>> {
    let words = vec![
        "api",
        "runtimes",
        "workers",
        "input",
        "stop",
        "cancel",
        "transcript",
        "interrupt",
        "resize",
        "requests",
        "profiles",
        "events",
        "ws",
        "healthz",
        "",
        "r",
        "%2e",
        "%ff",
        "..",
        "a%2Fb",
    ];
    let path = prop::collection::vec(select(words), 0..8);
    let good = select(vec![
        "/api/runtimes/r/workers",
        "/api/runtimes/r/workers/w/input",
        "/api/runtimes/r/workers/w/stop",
        "/api/runtimes/r/workers/w/transcript",
        "/api/runtimes/r/workers/w",
        "/api/runtimes/r/workers/w/requests/q",
        "/api/runtimes/r/workers/w/resize",
        "/api/runtimes/r/workers/w/events",
        "/api/runtimes/r/workers/w/events/ws",
    ]);
    let path =
        prop_oneof![path.prop_map(|segments| format!("/{}", segments.join("/"))), good.prop_map_into()];
    let query = prop::option::weighted(0.3, "(start|limit|cursor|[a-z]?)=?[0-9+%a-f]{0,5}(&limit=1)?");
    let names = vec![
        "host",
        "origin",
        "content-type",
        "authorization",
        "idempotency-key",
        "upgrade",
        "connection",
        "sec-websocket-version",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "last-event-id",
        "access-control-request-method",
    ];
    let values = prop_oneof![
        select(vec![
            "localhost",
            "application/json",
            "websocket",
            "upgrade",
            "13",
            "http://localhost",
            "Bearer x",
            "sekisho.v1, bearer.token",
        ])
        .prop_map(HeaderValue::from_static),
        prop::collection::vec(any::<u8>(), 0..12)
            .prop_filter_map("no header value", |bytes| HeaderValue::from_bytes(&bytes).ok()),
    ];
    let headers = prop::collection::vec((select(names).prop_map(HeaderName::from_static), values), 0..8);
    let bodies = vec![
        r#"{"content":"x","kind":"user"}"#,
        r#"{"intent":{"kind":"task","objective":"x"}}"#,
        r#"{"reason":"x"}"#,
        r#"{"option_id":"x"}"#,
        r#"{"cols":80,"rows":24}"#,
        "",
    ];
    let body = damaged(select(bodies).prop_map(|body| body.as_bytes().to_vec()));
    let method = select(vec!["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "BREW"]);
    (method, path, query, headers, body).prop_map(|(method, path, query, headers, body)| {
        let uri = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let mut request = Request::builder().method(method).uri(uri).body(body.into()).unwrap();
        request.headers_mut().extend(headers);
        request
    })
}

/// A refusal is the client's to mend, says so as a problem, and leaves no doubt that nothing happened.
fn is_refusal(error: &Error, method: &Method) {
    let response = problem(error);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert!(response.status().is_client_error(), "{error}");
    assert_eq!(body["status"], response.status().as_u16());
    assert_eq!((&body["code"], &body["origin"]), (&json!(error.kind().code()), &json!("client")));
    assert_eq!(error.outcome(), (!method.is_safe()).then_some(Outcome::NotApplied));
    assert!(error.detail().chars().count() <= MAX_RUNTIME_TEXT);
    assert!(!error.detail().contains(char::is_control), "{error}");
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_good_request_is_understood((ask, action) in good()) {
        prop_assert_eq!(understand(ask.build()), Ok(action.clone()));
        let Action::Command { command, .. } = action else { panic!("{action:?}") };
        let access = Access::remote("http://h/prefix".parse().unwrap(), None);
        let mut sent = command.request(&access);
        let path = sent.uri().to_string();
        *sent.uri_mut() = path.strip_prefix("/prefix").unwrap().parse().unwrap();
        prop_assert_eq!(Command::from_request(&sent), Ok(command));
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused((mut ask, _) in good(), name in "[a-z]{1,6}_") {
        prop_assume!(ask.body.is_some());
        ask.body.as_mut().unwrap()[&name] = json!(1);
        let error = understand(ask.build()).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        prop_assert!(error.detail().contains(&format!("`{name}`")), "{}", error);
        is_refusal(&error, &Method::POST);
    }

    #[test]
    fn a_damaged_body_is_a_refusal(
        (ask, _) in good(),
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut request = ask.build();
        prop_assume!(!request.body().is_empty());
        let mut body = request.body().to_vec();
        *at.get_mut(&mut body) = byte;
        *request.body_mut() = body.into();
        if let Err(error) = understand(request) {
            is_refusal(&error, &Method::POST);
        }
    }

    #[test]
    fn no_request_upsets_anybody(request in any_request()) {
        let guard = AccessGuard::new(vec!["gate.example".parse().unwrap()], Vec::new(), "token".parse().ok());
        let (head, body) = request.into_parts();
        if let Decision::Refused(error) = guard.examine(&head).decision {
            is_refusal(&error, &head.method);
        }
        let routed = Route::parse(&head);
        match Observation::parse(&head) {
            None => {}
            Some(observed) => {
                prop_assert_eq!(routed.as_ref().map_err(Error::kind).err(), Some(ErrorKind::UnknownRoute));
                if let Err(error) = observed.and_then(|observation| observation.of) {
                    is_refusal(&error, &head.method);
                }
            }
        }
        match routed.and_then(|route| route.action(&body)) {
            Ok(Action::Command { command, .. }) => {
                let changes = command.operation().changes_something();
                prop_assert_eq!(changes, [Method::POST, Method::DELETE].contains(&head.method));
            }
            Ok(_) => {}
            Err(error) => is_refusal(&error, &head.method),
        }
    }

    #[test]
    fn a_query_has_known_numbers_once(
        pairs in prop::collection::vec((select(vec!["start", "limit", "begin"]), any::<u64>()), 0..4),
        encoding in prop::collection::vec(any::<bool>(), 1..8),
        empty in "&{0,2}",
    ) {
        let written = |(name, value): &(&str, u64)| format!("{name}={}", encoded(&value.to_string(), &encoding));
        let query = pairs.iter().map(written).collect::<Vec<_>>().join("&");
        let request = Request::get(format!("/api/runtimes/r/workers/w/transcript?{query}{empty}"));
        let found = understand(request.body(Bytes::new()).unwrap());
        let of = |name| {
            let mut values = pairs.iter().filter(move |pair| pair.0 == name).map(|pair| pair.1);
            (values.next(), values.next().is_none())
        };
        let ((start, start_once), (limit, limit_once)) = (of("start"), of("limit"));
        let expected =
            Command::Transcript { worker_id: "w".parse().unwrap(), start, limit, contains: None };
        if start_once && limit_once && of("begin").0.is_none() {
            let runtime_id = "r".parse().unwrap();
            prop_assert_eq!(found, Ok(Action::Command { runtime_id, command: expected }));
        } else {
            prop_assert_eq!(found.unwrap_err().kind(), ErrorKind::InvalidRequest);
        }
    }

    #[test]
    fn a_key_is_visible_and_bounded(key in prop_oneof![text(), "[!-~]{120,136}", "[ -~]{0,4}"]) {
        let is_key = (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        prop_assert_eq!(key.parse::<IdempotencyKey>().is_ok(), is_key);
    }
}
