//! Workers that are agents, in a runtime of this process: the scripted agent is theirs.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use sekisho_acp::Permissions;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{
    Ack, Answer, Command, CreateWorker, Input, InputKind, Intent, Observe, Profile, Reason, Reply,
    WorkerDetail, WorkerRequest,
};
use sekisho_core::secret::Access;
use sekisho_runtime::store::{
    Backlog, Loaded, MemoryStore, Page, Store, StoreError, StoredItem, Ticket, WorkerRecord, Write,
};
use sekisho_runtime::{
    AgentSettings, Limits, ProfileKind, Program, Runtime, RuntimeConfig, Subscription, WorkerProfile,
};
use sekisho_tests::processes::binary;
use serde_json::{Value, json};

/// How long a test waits for an agent.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime with the scripted agent.
struct Bench {
    runtime: Runtime,
    access: Access,
}

/// One viewer of a worker.
struct Viewer {
    subscription: Subscription,
    seen: Vec<Value>,
}

impl Bench {
    fn config(arguments: &[&str], settings: AgentSettings) -> RuntimeConfig {
        let command = [env!("CARGO_BIN_EXE_scripted-agent")].into_iter().chain(arguments.iter().copied());
        let command = command.map(str::to_owned).collect();
        let program = Program { command, cwd: Some("/".into()), ..Program::default() };
        let mut config = RuntimeConfig::new("bench".parse().unwrap());
        config.launcher = Some(binary("sekisho-runtime"));
        config.stop_grace = Duration::from_secs(5);
        config.profiles = vec![WorkerProfile {
            name: "agent".into(),
            kind: ProfileKind::Agent(program, settings),
            description: None,
        }];
        config
    }

    fn new(arguments: &[&str], settings: AgentSettings) -> Self {
        let runtime = Runtime::start(Self::config(arguments, settings)).unwrap();
        Self { runtime, access: Access::in_process() }
    }

    fn with_store(arguments: &[&str], settings: AgentSettings, store: Kept) -> Self {
        let runtime = Runtime::with_store(Self::config(arguments, settings), Box::new(store)).unwrap();
        Self { runtime, access: Access::in_process() }
    }

    fn ask(&self, command: &Command) -> Result<Reply, (StatusCode, String)> {
        let response = self.runtime.handle(&command.request(&self.access));
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let code = body["error"]["code"].as_str().unwrap_or_default().to_owned();
        let status = response.status();
        Reply::from_response(command, &"bench".parse().unwrap(), self.access.scrubber(), &response)
            .map_err(|_| (status, code))
    }

    fn create(&self) -> WorkerId {
        let worker = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
        match self.ask(&Command::Create { worker: Box::new(worker), key: None }) {
            Ok(Reply::Worker(worker)) => worker.worker_id.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn prompt(&self, worker_id: &WorkerId, text: &str) -> Result<Reply, (StatusCode, String)> {
        let input = Input::new(InputKind::User, text);
        self.ask(&Command::Input { worker_id: worker_id.clone(), input, key: None })
    }

    fn worker(&self, worker_id: &WorkerId) -> WorkerDetail {
        match self.ask(&Command::Worker(worker_id.clone())) {
            Ok(Reply::Worker(worker)) => *worker,
            other => panic!("{other:?}"),
        }
    }

    fn requests(&self, worker_id: &WorkerId) -> Vec<WorkerRequest> {
        match self.ask(&Command::Requests(worker_id.clone())) {
            Ok(Reply::Requests(list)) => list.requests,
            other => panic!("{other:?}"),
        }
    }

    fn answer(
        &self,
        worker_id: &WorkerId,
        request_id: &str,
        answer: Answer,
        key: Option<&str>,
    ) -> Result<Ack, (StatusCode, String)> {
        let command = Command::Answer {
            worker_id: worker_id.clone(),
            request_id: request_id.parse().unwrap(),
            answer,
            key: key.map(|key| key.parse().unwrap()),
        };
        match self.ask(&command)? {
            Reply::Ack(ack) => Ok(ack),
            other => panic!("{other:?}"),
        }
    }

    fn watch(&self, worker_id: &WorkerId) -> Viewer {
        let observe = Observe::request(&self.access, worker_id, None).map(|()| Bytes::new());
        let subscription = self.runtime.observe(&observe).unwrap();
        let mut viewer = Viewer { subscription, seen: Vec::new() };
        viewer.next();
        viewer
    }

    fn transcript(&self, worker_id: &WorkerId) -> Vec<(String, String)> {
        let command =
            Command::Transcript { worker_id: worker_id.clone(), start: None, limit: None, contains: None };
        match self.ask(&command) {
            Ok(Reply::Transcript(transcript)) => {
                transcript.items.into_iter().map(|item| (item.role, item.content)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn stop(&self, worker_id: &WorkerId) {
        self.ask(&Command::Stop { worker_id: worker_id.clone(), reason: Reason::default() }).unwrap();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Viewer {
    /// The payload of the next frame.
    fn next(&mut self) -> Value {
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut context = Context::from_waker(&waker);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.subscription.poll_frame(&mut context) {
                Poll::Ready(frame) => {
                    let frame = frame.unwrap_or_else(|| panic!("the stream ended after {:#?}", self.seen));
                    let frame: Value = serde_json::from_slice(&frame).unwrap();
                    let payload = frame["envelope"]["payload"].clone();
                    assert!(payload.is_object(), "{frame}");
                    self.seen.push(payload.clone());
                    return payload;
                }
                Poll::Pending => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    assert!(!rest.is_zero(), "nothing came after {:#?}", self.seen);
                    thread::park_timeout(rest);
                }
            }
        }
    }

    /// The first payload from now on that is as wanted.
    fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let payload = self.next();
            if wanted(&payload) {
                return payload;
            }
        }
    }

    fn wait_for_item(&mut self, kind: &str) -> Value {
        self.wait_for(|payload| payload["data"]["item"]["kind"] == kind)["data"]["item"].clone()
    }

    fn wait_for_event(&mut self, event: &str) -> Value {
        self.wait_for(|payload| payload["event"] == event)["data"].clone()
    }

    fn wait_for_idle(&mut self) {
        self.wait_for(|payload| *payload == json!({ "event": "status", "data": { "status": "idle" } }));
    }

    /// The text that was told.
    fn text(&self) -> String {
        let fragments = self.seen.iter().filter(|payload| payload["event"] == "text_delta");
        fragments.map(|payload| payload["data"]["text"].as_str().unwrap().to_owned()).collect()
    }

    /// The events of which v1 has one, by name.
    fn events(&self) -> Vec<&str> {
        let names = self.seen.iter().filter_map(|payload| payload["event"].as_str());
        names.filter(|name| !matches!(*name, "snapshot" | "system_item" | "text_delta")).collect()
    }
}

#[test]
fn an_agent_that_asks_before_it_writes() {
    let bench = Bench::new(&[], AgentSettings::default());
    let worker_id = bench.create();
    assert!(worker_id.as_str().starts_with("agent-"));
    let (mut first, mut second) = (bench.watch(&worker_id), bench.watch(&worker_id));
    bench.prompt(&worker_id, "I will plan read write done").unwrap();
    let request = first.wait_for_item("request")["request"].clone();
    assert_eq!((&request["kind"], &request["title"]), (&json!("permission"), &json!("Write notes.txt")));
    second.wait_for_item("request");

    // A viewer that joins now is shown the question, the plan, and what is being said.
    let late = bench.watch(&worker_id);
    let snapshot = &late.seen[0]["data"];
    assert_eq!(snapshot["status"], "paused");
    assert_eq!(snapshot["requests"], json!([request]));
    assert!(snapshot["items"].as_array().unwrap().iter().any(|item| item["kind"] == "acp.plan"));
    let facts = bench.worker(&worker_id).facts;
    assert_eq!(serde_json::to_value(facts.activity).unwrap(), "waiting");
    assert_eq!(facts.requests, Some(1));

    // Two answers at once: one wins, and all see which.
    let open = bench.requests(&worker_id);
    let request_id = open[0].request_id.as_str();
    let answers = ["allow", "reject"].map(|option| {
        let option = option.to_owned();
        thread::scope(|scope| {
            let answer = Answer::Option(option.clone());
            scope.spawn(|| bench.answer(&worker_id, request_id, answer, None)).join().unwrap()
        })
    });
    let [Ok(ack), Err((StatusCode::CONFLICT, code))] = &answers else { panic!("{answers:?}") };
    assert_eq!(code, "request_already_answered");
    for viewer in [&mut first, &mut second] {
        let resolved = viewer.wait_for_item("request_resolved");
        assert_eq!((&resolved["option_id"], &resolved["reason"]), (&json!("allow"), &json!("answered")));
    }
    // The same again is the same ack.
    let again = bench.answer(&worker_id, request_id, Answer::Option("allow".into()), None).unwrap();
    assert_eq!(&again, ack);
    assert_eq!(bench.answer(&worker_id, "r9-9", Answer::Dismiss, None).unwrap_err().1, "request_gone");

    first.wait_for_event("run_end");
    first.wait_for_idle();
    assert_eq!(first.text(), "I will done ");
    assert_eq!(
        first.events(),
        [
            "user_message",
            "status",
            "tool_call_start",
            "tool_result",
            "tool_call_start",
            "status",
            "status",
            "tool_result",
            "run_end",
            "status",
        ]
    );
    let said = bench.transcript(&worker_id);
    let said: Vec<(&str, &str)> = said.iter().map(|(role, text)| (role.as_str(), text.as_str())).collect();
    assert_eq!(
        said,
        [("user", "I will plan read write done"), ("assistant", "I will "), ("assistant", "done ")]
    );
    bench.stop(&worker_id);
    let end = first.wait_for_item("ended");
    assert_eq!(end["reason"], "stopped");
    assert_eq!(bench.prompt(&worker_id, "late").unwrap_err().1, "worker_not_running");
}

#[test]
fn an_answer_with_a_key_is_given_once() {
    let bench = Bench::new(&[], AgentSettings::default());
    let worker_id = bench.create();
    let mut viewer = bench.watch(&worker_id);
    bench.prompt(&worker_id, "ask ask").unwrap();
    viewer.wait_for_item("request");
    let first = bench.requests(&worker_id)[0].request_id.clone();
    let allow = || Answer::Option("allow".into());
    let ack = bench.answer(&worker_id, &first, allow(), Some("k")).unwrap();
    viewer.wait_for_item("request");
    assert_eq!(bench.answer(&worker_id, &first, allow(), Some("k")), Ok(ack));
    let conflict = bench.answer(&worker_id, &first, Answer::Dismiss, Some("k")).unwrap_err();
    assert_eq!(conflict.1, "idempotency_conflict");
    assert_eq!(bench.requests(&worker_id).len(), 1);
    let Ok(Reply::Requests(all)) = bench.ask(&Command::AllRequests) else { panic!() };
    assert_eq!(all.requests[0].worker_ref.as_ref().unwrap().worker_id, worker_id.as_str());
    // A stop dismisses what is open.
    bench.stop(&worker_id);
    let resolved = viewer.wait_for_item("request_resolved");
    assert_eq!((&resolved["reason"], &resolved["dismissed"]), (&json!("stopped"), &json!(true)));
    viewer.wait_for_item("ended");
    assert!(bench.requests(&worker_id).is_empty());
}

#[test]
fn prompts_wait_for_their_turn_and_are_bounded() {
    let bench = Bench::new(&[], AgentSettings::default());
    let worker_id = bench.create();
    let mut viewer = bench.watch(&worker_id);
    bench.prompt(&worker_id, "ask").unwrap();
    viewer.wait_for_item("request");
    for n in 0..16 {
        bench.prompt(&worker_id, &n.to_string()).unwrap();
    }
    assert_eq!(bench.prompt(&worker_id, "one more").unwrap_err().1, "worker_busy");
    let request_id = bench.requests(&worker_id)[0].request_id.clone();
    bench.answer(&worker_id, &request_id, Answer::Dismiss, None).unwrap();
    for _ in 0..17 {
        viewer.wait_for_event("run_end");
    }
    let expected: String = (0..16).map(|n| format!("{n} ")).collect();
    assert_eq!(viewer.text(), expected);
    bench.prompt(&worker_id, "one more").unwrap();
    viewer.wait_for_event("run_end");
}

#[test]
fn an_agent_that_cannot_be_used_ends_as_not_started() {
    for (arguments, settings, message) in [
        (&["--login"][..], AgentSettings::default(), "the agent asks for a login (Log in to an account)"),
        (&["--protocol", "9"], AgentSettings::default(), "the agent speaks version 9"),
        (
            &["--silent"],
            AgentSettings { start_timeout: Duration::from_millis(200), ..AgentSettings::default() },
            "the agent did not answer to initialize within 200ms",
        ),
        (
            &["--choices"],
            AgentSettings { mode: Some("fly".into()), ..AgentSettings::default() },
            "the agent has no mode \"fly\"; it has ask, code",
        ),
    ] {
        let bench = Bench::new(arguments, settings);
        let worker_id = bench.create();
        let mut viewer = bench.watch(&worker_id);
        let snapshot = viewer.seen[0].clone();
        let end = match snapshot["data"]["status"].as_str() {
            // It had ended before.
            Some("paused") => serde_json::to_value(bench.worker(&worker_id).facts.end).unwrap(),
            _ => viewer.wait_for_item("ended"),
        };
        assert_eq!(end["reason"], "not_started", "{end}");
        assert!(end["message"].as_str().unwrap().starts_with(message), "{end}");
    }
}

#[test]
fn an_agent_that_dies_ends_its_turn_and_its_worker() {
    let bench = Bench::new(&[], AgentSettings::default());
    for (prompt, end) in [
        ("Hello die", json!({ "kind": "ended", "reason": "exited", "exit_code": 3 })),
        (
            "endless",
            json!({ "kind": "ended", "reason": "signalled", "signal": 9, "message": "the agent wrote a message of more than 8 MiB" }),
        ),
    ] {
        let worker_id = bench.create();
        let mut viewer = bench.watch(&worker_id);
        bench.prompt(&worker_id, prompt).unwrap();
        let error = viewer.wait_for_event("error");
        assert_eq!(error, json!({ "code": "internal", "message": "the agent ended within the turn" }));
        assert_eq!(viewer.wait_for_item("ended"), end);
    }
}

#[test]
fn a_flood_is_read_as_fast_as_it_is_watched() {
    let bench = Bench::new(&[], AgentSettings::default());
    let worker_id = bench.create();
    let mut viewer = bench.watch(&worker_id);
    bench.prompt(&worker_id, "flood:100000").unwrap();
    viewer.wait_for_event("run_end");
    let expected: String = (0..100_000).map(|n| format!("{n} ")).collect();
    assert!(viewer.text() == expected);
    let frames = viewer.seen.len();
    assert!(frames < 50_000, "fragments that arrive together are one: {frames}");
    let items = bench.transcript(&worker_id);
    let said: String =
        items.into_iter().filter(|(role, _)| role == "assistant").map(|(_, text)| text).collect();
    assert!(said == expected);
}

#[test]
fn odd_output_costs_itself() {
    let bench = Bench::new(&["--banner", "scripted agent"], AgentSettings::default());
    let worker_id = bench.create();
    let mut viewer = bench.watch(&worker_id);
    bench.prompt(&worker_id, "html broken log emoji long:9 done").unwrap();
    viewer.wait_for_event("run_end");
    let strays: Vec<&str> = viewer
        .seen
        .iter()
        .filter(|payload| payload["data"]["item"]["kind"] == "stderr")
        .map(|payload| payload["data"]["item"]["text"].as_str().unwrap())
        .collect();
    for stray in ["<html>", "ate\"}", "a line that is no message", "a line on standard error\n"] {
        assert!(strays.contains(&stray), "{stray:?} in {strays:?}");
    }
    assert_eq!(viewer.text(), "\u{FFFD}\u{FFFD}done ");
}

#[test]
fn the_profile_may_answer() {
    for (permissions, summary) in
        [(Permissions::Allow, "wrote 12 bytes"), (Permissions::Reject, "not allowed")]
    {
        let bench = Bench::new(&[], AgentSettings { permissions, ..AgentSettings::default() });
        let worker_id = bench.create();
        let mut viewer = bench.watch(&worker_id);
        bench.prompt(&worker_id, "write").unwrap();
        assert_eq!(viewer.wait_for_item("request_resolved")["reason"], "profile");
        assert_eq!(viewer.wait_for_event("tool_result")["summary"], summary);
        viewer.wait_for_event("run_end");
    }
}

#[test]
fn twenty_agents_at_once() {
    let bench = Bench::new(&[], AgentSettings::default());
    let workers: Vec<WorkerId> = (0..20).map(|_| bench.create()).collect();
    let mut viewers: Vec<Viewer> = workers.iter().map(|worker_id| bench.watch(worker_id)).collect();
    for worker_id in &workers {
        bench.prompt(worker_id, "I will write read done").unwrap();
    }
    for (worker_id, viewer) in workers.iter().zip(&mut viewers) {
        let request = viewer.wait_for_item("request");
        let request_id = request["request"]["request_id"].as_str().unwrap();
        bench.answer(worker_id, request_id, Answer::Option("allow".into()), None).unwrap();
    }
    for viewer in &mut viewers {
        viewer.wait_for_event("run_end");
        assert_eq!(viewer.text(), "I will done ");
    }
    bench.runtime.shutdown();
}

/// A store that outlives its runtime, and can be made to lose what is told to it, or to say that it would.
#[derive(Clone)]
struct Kept(Arc<Inside>);

struct Inside {
    memory: MemoryStore,
    state: Mutex<Loaded>,
    loses: AtomicBool,
    fails: AtomicBool,
}

impl Kept {
    fn new() -> Self {
        let memory = MemoryStore::new(&Limits::default());
        let (loses, fails) = Default::default();
        Self(Arc::new(Inside { memory, state: Mutex::default(), loses, fails }))
    }
}

impl Store for Kept {
    fn backend(&self) -> &'static str {
        "kept"
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        Ok(self.0.state.lock().unwrap().clone())
    }

    fn begin(&self, incarnation: &str) -> Result<(), StoreError> {
        self.0.state.lock().unwrap().incarnation = Some(incarnation.to_owned());
        Ok(())
    }

    fn append(&self, worker_id: &WorkerId, writes: Vec<Write>) -> Result<Ticket, StoreError> {
        if self.0.loses.load(Ordering::Relaxed) {
            return Ok(Ticket::default());
        }
        let mut state = self.0.state.lock().unwrap();
        for write in &writes {
            let record = state.workers.iter_mut().find(|record| record.worker_id == *worker_id);
            match (write, record) {
                (Write::Record(new), Some(record)) => *record = WorkerRecord::clone(new),
                (Write::Record(new), None) => state.workers.push(WorkerRecord::clone(new)),
                (Write::Item(item), Some(record)) => record.transcript_len = item.sequence,
                (Write::Event(event), Some(record)) => {
                    record.last_event_id = event.event_id;
                    state.last_event_id = event.event_id;
                }
                _ => {}
            }
        }
        self.0.memory.append(worker_id, writes)
    }

    fn poll_durable(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        match self.0.fails.load(Ordering::Relaxed) {
            true => Poll::Ready(Err(StoreError::Io)),
            false => self.0.memory.poll_durable(ticket, context),
        }
    }

    fn page(&self, worker_id: &WorkerId, start: u64, limit: usize) -> Result<Page, StoreError> {
        self.0.memory.page(worker_id, start, limit)
    }

    fn newest(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredItem>, StoreError> {
        self.0.memory.newest(worker_id, until, limit, max_bytes)
    }

    fn backlog(&self, worker_id: &WorkerId, limit: usize, max_bytes: usize) -> Result<Backlog, StoreError> {
        self.0.memory.backlog(worker_id, limit, max_bytes)
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn an_agent_is_taken_up_again_when_its_runtime_went_away() {
    let store = Kept::new();
    let bench = Bench::with_store(&[], AgentSettings::default(), store.clone());
    let worker_id = bench.create();
    let mut viewer = bench.watch(&worker_id);
    bench.prompt(&worker_id, "Hello").unwrap();
    viewer.wait_for_event("run_end");
    bench.prompt(&worker_id, "ask").unwrap();
    viewer.wait_for_item("request");
    let running = bench.ask(&Command::Resume(worker_id.clone())).unwrap_err();
    assert_eq!(running.1, "worker_running");
    store.0.loses.store(true, Ordering::Relaxed);
    drop((viewer, bench));
    store.0.loses.store(false, Ordering::Relaxed);

    let bench = Bench::with_store(&[], AgentSettings::default(), store.clone());
    let facts = bench.worker(&worker_id).facts;
    assert_eq!(serde_json::to_value(&facts.end).unwrap()["reason"], "runtime_lost");
    assert!(facts.resumable && bench.requests(&worker_id).is_empty());
    let mut viewer = bench.watch(&worker_id);
    // What the disk does not take is not begun, and leaves the agent as it was.
    store.0.fails.store(true, Ordering::Relaxed);
    let refused = bench.ask(&Command::Resume(worker_id.clone())).unwrap_err();
    assert_eq!(refused.1, "store_io");
    viewer.wait_for_item("resumed");
    viewer.wait_for_item("ended");
    assert_eq!(bench.worker(&worker_id).facts, facts);
    store.0.fails.store(false, Ordering::Relaxed);
    bench.ask(&Command::Resume(worker_id.clone())).unwrap();
    viewer.wait_for_item("resumed");
    bench.prompt(&worker_id, "again ask").unwrap();
    let request = viewer.wait_for_item("request");
    assert_eq!(request["request"]["request_id"], "r2-1");
    assert_eq!(viewer.text(), "again ", "what the agent repeats is not told");
    let said = bench.transcript(&worker_id);
    let said: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(said, ["Hello", "Hello ", "ask", "ended with its runtime", "again ask", "again "]);
    assert!(!bench.worker(&worker_id).facts.resumable);
    bench.stop(&worker_id);
    viewer.wait_for_item("ended");
    // Where it was stopped it is not taken up again.
    let refused = bench.ask(&Command::Resume(worker_id.clone())).unwrap_err();
    assert_eq!(refused.1, "worker_not_running");
}

#[test]
fn a_turn_is_interrupted_wherever_it_is() {
    let bench = Bench::new(&[], AgentSettings::default());
    let worker_id = bench.create();
    let mut viewer = bench.watch(&worker_id);
    let interrupt = || bench.ask(&Command::Interrupt { worker_id: worker_id.clone(), key: None }).unwrap();
    for (prompt, reached) in [
        ("Hello forever", "text_delta"),
        ("read forever", "tool_call_start"),
        ("write", "tool_call_start"),
        ("flood:100000000", "text_delta"),
    ] {
        bench.prompt(&worker_id, prompt).unwrap();
        viewer.wait_for_event(reached);
        if prompt == "write" {
            viewer.wait_for_item("request");
        }
        interrupt();
        let error = viewer.wait_for_event("error");
        assert_eq!(error, json!({ "code": "internal", "message": "the turn was cancelled" }), "{prompt}");
        viewer.wait_for_idle();
        bench.prompt(&worker_id, "next").unwrap();
        assert_eq!(viewer.wait_for_event("run_end"), json!({ "result": "finished" }));
        assert!(bench.requests(&worker_id).is_empty());
    }
}

#[test]
fn the_end_of_input_comes_after_the_prompts() {
    let bench = Bench::new(&[], AgentSettings::default());
    let worker_id = bench.create();
    let mut viewer = bench.watch(&worker_id);
    bench.prompt(&worker_id, "wait:50 one").unwrap();
    bench.prompt(&worker_id, "two").unwrap();
    let input = Input::eof();
    bench.ask(&Command::Input { worker_id: worker_id.clone(), input, key: None }).unwrap();
    assert_eq!(bench.prompt(&worker_id, "late").unwrap_err().1, "worker_not_running");
    let end = viewer.wait_for_item("ended");
    assert_eq!((&end["reason"], &end["exit_code"]), (&json!("exited"), &json!(0)));
    assert_eq!(viewer.text(), "one two ");
}
