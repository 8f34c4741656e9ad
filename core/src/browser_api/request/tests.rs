use super::*;
use crate::error::Outcome;
use crate::runtime_api::{
    Capability, Contains, CreateWorker, Input, InputKind, Intent, Profile, Reason, Reference, WorkerStatus,
};

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
    assert_eq!(get("/livez"), Ok(Action::Health));
    assert_eq!(get("/readyz"), Ok(Action::Ready));
    assert_eq!(get("/api/runtimes"), Ok(Action::Runtimes));
    assert_eq!(get("/api/workers"), Ok(Action::AllWorkers(AllWorkers::default())));
    assert_eq!(get("/api/runtimes/r"), Ok(Action::Runtime("r".parse().unwrap())));
    assert_eq!(get("/api/runtimes/r/workers"), Ok(command(Command::workers())));
    assert_eq!(get("/api/runtimes/r/workers/w%3A1"), Ok(command(Command::Worker(w()))));
    assert_eq!(
        get("/api/runtimes/r/workers/w:1/transcript?limit=2"),
        Ok(command(Command::Transcript { worker_id: w(), start: None, limit: Some(2), contains: None }))
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
    let input = ask("POST", "/api/runtimes/r/workers/w:1/input", &headers, r#"{"content":"hi"}"#).unwrap();
    let said = Input::new(InputKind::User, "hi");
    assert_eq!(input, command(Command::Input { worker_id: w(), input: said, key: "k-1".parse().ok() }));
}

#[test]
fn ids_that_are_none() {
    let long = "x".repeat(10_000);
    for id in ["..", ".", "%2e%2e", "a%2Fb", "", &long, "a%00b", "%E9%96%A2", "関所", "a%20b", "%", "%FF"] {
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
        "/index.html",
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
        ("PUT", "/api/runtimes/r/workers/w", "GET, HEAD, DELETE"),
        ("DELETE", "/api/requests", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
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
    let input = Input::new(InputKind::System, "a \"b\"\n関");
    let page =
        |start, limit| Command::Transcript { worker_id: worker_id.clone(), start, limit, contains: None };
    let commands = [
        Command::workers(),
        Command::Worker(worker_id.clone()),
        Command::Create { worker: Box::new(worker.clone()), key: None },
        Command::Create { worker: Box::new(worker), key: key.clone() },
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
        Action::AllWorkers(AllWorkers::default()),
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
        let error = ask("POST", input, &[JSON, ("idempotency-key", key)], r#"{"content":"x"}"#).unwrap_err();
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

#[test]
fn what_is_wrong_with_a_body_is_named() {
    let create = "/api/runtimes/r/workers";
    let input = "/api/runtimes/r/workers/w/input";
    for (uri, body, detail) in [
        (create, "", "The body is empty"),
        (create, "{", "The body ends within its JSON"),
        (create, "{'intent':1}", "The body is not JSON"),
        (create, "[]", "The body is not what this route takes"),
        (create, "{}", "The body lacks the field `intent`"),
        (create, r#"{"intent":{"kind":"task"}}"#, "The field `intent` lacks the field `objective`"),
        (
            create,
            r#"{"intent":{"kind":"butler"}}"#,
            "The field `intent.kind` has a value that it does not take",
        ),
        (create, r#"{"intent":{"kind":"assistant","colour":1}}"#, "There is no field `colour` here"),
        (
            create,
            r#"{"intent":{"kind":"assistant"},"intent":{"kind":"assistant"}}"#,
            "The field `intent` is given twice",
        ),
        (
            create,
            r#"{"intent":{"kind":"assistant"},"labels":{"a":1}}"#,
            "The field `labels.a` has a value that it does not take",
        ),
        (input, r#"{"kind":"user"}"#, "The body lacks the field `content`"),
        (input, r#"{"kind":"eof","content":"x"}"#, "The end of input goes with nothing else"),
        (input, r#"{"content":7}"#, "The field `content` has a value that it does not take"),
        (
            "/api/runtimes/r/workers/w/resize",
            r#"{"cols":0,"rows":24}"#,
            "The field `cols` has a value that it does not take",
        ),
        ("/api/runtimes/r/workers/w/requests/q", "{}", "The body is not what this route takes"),
        ("/api/runtimes/r/workers/w/interrupt", r#"{"hard":true}"#, "There is no field `hard` here"),
    ] {
        let error = ask("POST", uri, &[JSON], body).unwrap_err();
        assert_eq!((error.kind(), error.detail()), (ErrorKind::InvalidRequest, detail), "{body}");
    }
}

#[test]
fn queries_of_lists() {
    let filter = |query: &str| match get(&format!("/api/runtimes/r/workers?{query}")) {
        Ok(Action::Command { command: Command::Workers(filter), .. }) => Ok(filter),
        Ok(action) => panic!("{action:?}"),
        Err(kind) => Err(kind),
    };
    let found = filter("status=running&name=a+b&label=k%3Dv&label=x=&limit=7&after=w:1").unwrap();
    assert_eq!((found.status, found.name.as_deref()), (Some(WorkerStatus::Running), Some("a b")));
    let labels = [("k".to_owned(), "v".to_owned()), ("x".to_owned(), String::new())];
    assert_eq!((found.labels, found.limit, found.after), (labels.into(), Some(7), Some(w())));
    for query in [
        "status=resting",
        "label=k",
        "label=k=1&label=k=2",
        "limit=0",
        "after=a/b",
        "start=1",
        "name=a&name=b",
    ] {
        assert_eq!(filter(query), Err(ErrorKind::InvalidRequest), "{query}");
    }
    let Ok(Action::AllWorkers(all)) = get("/api/workers?after=r%2Fw%3A1&limit=3") else { panic!() };
    assert_eq!((all.after, all.filter.limit), ("r/w:1".parse().ok(), Some(3)));
    assert_eq!(get("/api/workers?after=w"), Err(ErrorKind::InvalidRequest));
}

#[test]
fn a_text_to_search_for_is_counted_in_characters() {
    let search = |text: &str| get(&format!("/api/runtimes/r/workers/w/transcript?contains={text}"));
    for long in ["x", "%E9%96%A2"] {
        assert!(search(&long.repeat(256)).is_ok(), "{long}");
        assert_eq!(search(&long.repeat(257)), Err(ErrorKind::InvalidRequest), "{long}");
    }
    assert_eq!(search(""), Err(ErrorKind::InvalidRequest));
}

#[test]
fn a_search_may_ignore_case() {
    let search = |query: &str| {
        let asked = get(&format!("/api/runtimes/r/workers/w/transcript?{query}"))?;
        let Action::Command { command: Command::Transcript { contains, .. }, .. } = asked else { panic!() };
        Ok::<_, ErrorKind>(contains)
    };
    let contains = |ignore_case| Ok(Some(Contains { text: "x".into(), ignore_case }));
    assert_eq!(search("contains=x"), contains(false));
    assert_eq!(search("contains=x&ignore_case=false"), contains(false));
    assert_eq!(search("ignore_case=true&contains=x"), contains(true));
    assert_eq!(search("ignore_case=true"), Ok(None));
    for query in ["contains=x&ignore_case=1", "contains=x&ignore_case=", "contains=x&ignore_case=True"] {
        assert_eq!(search(query), Err(ErrorKind::InvalidRequest), "{query}");
    }
}
