//! Clients: what they ask, and whether what they are told is true.

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::browser_api::{Route, problem};
use serde::Deserialize;

use super::clock::Time;
use super::invariants::Invariant;
use super::ledger::{CommandId, name};
use super::plan::Ask;
use super::scripted::worker_name;
use super::trace::{Shown, To};
use super::world::{Event, World, runtime_name};

/// One client of so many waits no longer than this for what it reads.
const IMPATIENT: usize = 3;
const PATIENCE: Time = Time::from_millis(200);

/// A command of a client's, and what it was told.
pub(super) struct Told {
    /// The runtime, where it is about one.
    runtime: Option<usize>,
    ask: Ask,
    pub(super) gateway: usize,
    /// When it was asked.
    pub(super) at: Time,
    /// Whether the client has been answered, or waits for no answer.
    is_over: bool,
    /// What it calls itself in what it says: its own number, or that of the command that it repeats.
    says: CommandId,
    outcome: Option<Outcome>,
    /// Whether it was sent again under its key.
    is_repeated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Succeeded,
    NotApplied,
    Unknown,
}

#[derive(Deserialize)]
struct Problem<'a> {
    code: &'a str,
    outcome: Option<&'a str>,
    #[serde(default)]
    runtime_code: Option<String>,
    #[serde(default)]
    detail: std::borrow::Cow<'a, str>,
}

impl Told {
    /// Whether its client waits for the answer.
    pub(super) fn waits(&self) -> bool {
        !self.is_over
    }

    /// Whether doing it twice is the same as doing it once.
    fn is_idempotent(&self) -> bool {
        matches!(self.ask, Ask::Stop(_) | Ask::Cancel(_))
    }
}

impl World<'_> {
    /// A client asks a gateway for something.
    pub(super) fn ask(&mut self, gateway: usize, runtime: usize, ask: Ask) {
        let command = self.commands.len();
        let keyed = self.sites[runtime].keyed.last().copied();
        // Whether a key means anything is known here; a client that cares asks first.
        let (ask, again) = match (ask, keyed) {
            (Ask::Again { .. }, None) => (Ask::Input { worker: 0, keyed: true }, None),
            (Ask::Again { same }, Some(again)) => (Ask::Again { same }, Some((again, same))),
            (ask, _) => (ask, None),
        };
        let request = self.request(command, runtime, ask, again);
        let repeats = again.filter(|(_, same)| *same).map(|((of, _), _)| of);
        if let Some(of) = repeats {
            self.census.count("command", "repeated under its key");
            self.commands[of].is_repeated = true;
        }
        self.commands.push(Told {
            runtime: ask.is_about_one().then_some(runtime),
            ask,
            gateway,
            at: self.now(),
            is_over: false,
            says: repeats.unwrap_or(command),
            outcome: None,
            is_repeated: repeats.is_some(),
        });
        let (head, body) = request.into_parts();
        let action = Route::parse(&head).and_then(|route| {
            let body = if route.takes_body() { body } else { Bytes::new() };
            route.action(&body)
        });
        if command.is_multiple_of(IMPATIENT) && ask.is_about_one() && !ask.changes_something() {
            self.clock.at(self.now() + PATIENCE, Event::StopWaiting(command));
        }
        let of_loop = command % self.gateways[gateway].loops.len();
        match action {
            Ok(action) => self.perform(gateway, of_loop, command, action),
            Err(error) => self.show_response(command, &problem(&error)),
        }
    }

    /// A client does not ask what it would: the numbers of all others stay as they are.
    pub(super) fn leave_out(&mut self, runtime: usize, ask: Ask) {
        let says = self.commands.len();
        let runtime = ask.is_about_one().then_some(runtime);
        let (gateway, at) = (0, self.now());
        let is_over = true;
        self.commands.push(Told {
            runtime,
            ask,
            gateway,
            at,
            is_over,
            says,
            outcome: None,
            is_repeated: false,
        });
    }

    fn request(
        &mut self,
        command: CommandId,
        runtime: usize,
        ask: Ask,
        again: Option<((CommandId, usize), bool)>,
    ) -> Request<Bytes> {
        let of_runtime = format!("/api/runtimes/{}", runtime_name(runtime));
        let of = |worker: usize| format!("{of_runtime}/workers/{}", worker_name(worker));
        let get = |path: String| ("GET", path, None, String::new());
        let honours_keys = self.sites[runtime].plan.kind.honours_keys();
        let (method, path, key, body) = match ask {
            Ask::Runtimes => get("/api/runtimes".into()),
            Ask::AllWorkers => get("/api/workers".into()),
            Ask::Runtime => get(of_runtime),
            Ask::Workers => get(format!("{of_runtime}/workers")),
            Ask::Worker(worker) => get(of(worker)),
            Ask::Transcript(worker) => get(format!("{}/transcript?limit=5", of(worker))),
            Ask::Create { keyed } => {
                let objective = name(command);
                let body = format!(r#"{{"intent":{{"kind":"task","objective":"{objective}"}}}}"#);
                ("POST", format!("{of_runtime}/workers"), keyed.then_some(command), body)
            }
            Ask::Input { worker, keyed } => {
                if keyed && honours_keys {
                    self.sites[runtime].keyed.push((command, worker));
                }
                let body = format!(r#"{{"content":"{}"}}"#, name(command));
                ("POST", format!("{}/input", of(worker)), keyed.then_some(command), body)
            }
            Ask::Again { .. } => {
                let ((first, worker), same) = again.unwrap_or(((command, 0), true));
                let says = name(if same { first } else { command });
                let body = format!(r#"{{"content":"{says}"}}"#);
                ("POST", format!("{}/input", of(worker)), Some(first), body)
            }
            Ask::Stop(worker) | Ask::Cancel(worker) => {
                let what = if matches!(ask, Ask::Stop(_)) { "stop" } else { "cancel" };
                let body = format!(r#"{{"reason":"{}"}}"#, name(command));
                ("POST", format!("{}/{what}", of(worker)), None, body)
            }
            Ask::Nonsense(0) => get("/api/nothing".into()),
            Ask::Nonsense(1) => ("POST", format!("{}/input", of(0)), None, r#"{"contents":1}"#.into()),
            Ask::Nonsense(2) => get(format!("{of_runtime}/workers/a%20b")),
            Ask::Nonsense(_) => ("DELETE", of_runtime, None, String::new()),
        };
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("key-{key}"));
        }
        request.body(body.into()).unwrap()
    }

    /// A client's request is not going to be answered.
    pub(super) fn abandon(&mut self, command: CommandId) {
        self.commands[command].is_over = true;
        self.census.count("command", "abandoned");
        self.note(format_args!("command {command} is abandoned"));
    }

    /// A client is shown the response.
    pub(super) fn show_response(&mut self, command: CommandId, response: &Response<Bytes>) {
        self.commands[command].is_over = true;
        let runtime = self.commands[command].runtime;
        let status = response.status();
        let mut bytes = format!("{status}").into_bytes();
        for (name, value) in response.headers() {
            bytes.extend_from_slice(b"\n");
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes.extend_from_slice(b"\n\n");
        bytes.extend_from_slice(response.body());
        let what = Bytes::from(bytes);
        for (number, site) in self.sites.iter().enumerate() {
            let speaks = !site.plan.kind.is_honest() && runtime.is_none_or(|runtime| runtime == number);
            if speaks && let Some(secret) = site.secrets.found_in(&what) {
                let facts = format!("{secret} in {}", String::from_utf8_lossy(&what));
                self.violate(Invariant::NothingSecretShown, || facts);
                return;
            }
        }
        self.trace.show(Shown { at: self.clock.now(), runtime, to: To::Client(command), what });
        self.judge(command, response);
    }

    /// What the client makes of the response.
    fn judge(&mut self, command: CommandId, response: &Response<Bytes>) {
        let told = &self.commands[command];
        let problem: Option<Problem<'_>> = match response.status().is_success() {
            true => None,
            false => serde_json::from_slice(response.body()).ok(),
        };
        if let Some(problem) = &problem {
            self.census.count_code("error", problem.code);
            if problem.runtime_code.as_deref() == Some("store_io") {
                self.census.count("disk", "refused a command");
            }
            if problem.code == "runtime_unavailable" {
                let is_open = problem.detail.contains("has not answered for");
                self.census.count("call", if is_open { "circuit open" } else { "share in use" });
            }
        }
        if !told.ask.changes_something() {
            self.census.count("command", "read");
            return;
        }
        let outcome = match problem.as_ref().map(|problem| problem.outcome) {
            None if response.status().is_success() => Outcome::Succeeded,
            Some(Some("not_applied")) => Outcome::NotApplied,
            Some(Some("unknown")) => Outcome::Unknown,
            _ => {
                let facts = format!("command {command}: {}", String::from_utf8_lossy(response.body()));
                return self.violate(Invariant::OutcomeStated, || facts);
            }
        };
        self.census.count(
            "command",
            match outcome {
                Outcome::Succeeded => "succeeded",
                Outcome::NotApplied => "not_applied",
                Outcome::Unknown => "unknown",
            },
        );
        self.commands[command].outcome = Some(outcome);
        self.check_command(command);
    }

    /// Checks what a client was told of a command against what became of it.
    pub(super) fn check_command(&mut self, command: CommandId) {
        let told = &self.commands[command];
        let (Some(runtime), true) = (told.runtime, told.ask.changes_something()) else { return };
        if !self.sites[runtime].plan.kind.is_honest() {
            return;
        }
        let effect = self.ledger.effect(told.says);
        if effect.ever() && effect.runtime != runtime {
            let facts = format!("command {command}, {:?}, took effect at {}", told.ask, effect.runtime);
            return self.violate(Invariant::RightMachine, || facts);
        }
        let broken = match told.outcome {
            Some(Outcome::NotApplied) if effect.ever() && !told.is_repeated => Some(Invariant::NotApplied),
            _ if effect.standing > 1 && !told.is_idempotent() => Some(Invariant::AtMostOnce),
            Some(Outcome::Succeeded) if !effect.ever() => Some(Invariant::ExactlyOnce),
            _ => None,
        };
        if let Some(invariant) = broken {
            let facts = format!("command {command}, {:?}, {:?}: {effect:?}", told.ask, told.outcome);
            self.violate(invariant, || facts);
        } else if effect.standing > 0 {
            self.census.count("effect", "applied");
        } else if effect.undone > 0 {
            self.census.count("effect", "undone by a loss of state");
        }
    }
}
