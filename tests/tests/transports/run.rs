//! Runs a scenario over one transport, and notes everything that can be seen of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sekisho_core::call::{Call, CallInput, CallLimits, CallOutput, CallWait};
use sekisho_core::cursor::UpstreamCursor;
use sekisho_core::error::{Error, Outcome};
use sekisho_core::id::WorkerRef;
use sekisho_core::registry::{Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::runtime_api::{
    Command, Feature, Input, InputKind, Reason, Reply, RuntimeLimits, RuntimeStatus, RuntimeSummary,
};
use sekisho_core::secret::{Access, Token};
use sekisho_core::transport::TokenSource;
use sekisho_core::watch::WatchEvent;
use sekisho_tests::scenarios::calls::{Asked, Fault};
use sekisho_tests::scenarios::streams::Told;
use sekisho_tests::scenarios::{MAX_RESPONSE, NEW_TOKEN, Patience, Source, TOKEN, Way, calls, streams};
use sekisho_tests::scripted::{Heard, Scripted};

use crate::side::{Make, Next, Side, To, Wish};

/// Which loop carries a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loop {
    /// The transport's own.
    Own,
    /// One that notes what the call says and hears.
    Noting,
}

/// What is told of a failure: its code, phase and outcome.
pub(crate) type Facts = (String, Option<&'static str>, Option<Outcome>);

/// What can be seen of calls.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct CallSeen {
    /// What each call said and heard, by the loop that notes it.
    pub(crate) traces: Vec<Vec<String>>,
    /// How each ended, and after how many attempts.
    pub(crate) ends: Vec<(Option<Facts>, u32)>,
    /// What the runtime heard.
    pub(crate) heard: Vec<Heard>,
}

/// What can be seen of a stream.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct StreamSeen {
    /// What was told, in order.
    pub(crate) told: Vec<String>,
    /// What the runtime heard.
    pub(crate) heard: Vec<Heard>,
}

struct Tokens(Source);

impl TokenSource for Tokens {
    fn read(&self) -> Option<Token> {
        match self.0 {
            Source::Unchanged => TOKEN.parse().ok(),
            Source::Replaced => NEW_TOKEN.parse().ok(),
            Source::Unreadable => None,
        }
    }

    fn changed(&self, _: Instant) -> Option<Token> {
        None
    }
}

/// How much longer everything takes that is soon over; 1 but on a machine that has much else to do.
pub(crate) type Stretch = u32;

pub(crate) fn limits(patience: Patience, stretch: Stretch) -> CallLimits {
    let (connect, response) = match patience {
        Patience::Ample => (Duration::from_secs(15), Duration::from_secs(15)),
        Patience::Short => (Duration::from_millis(300) * stretch, Duration::from_millis(400) * stretch),
    };
    CallLimits { connect, response, max_response_body: MAX_RESPONSE }
}

/// A registry that knows of the runtime `rt` alone, and always spreads pauses in the same way.
pub(crate) fn registry(access: Access, limits: CallLimits, give_up_after: Duration) -> Registry {
    let spec = RuntimeSpec {
        runtime_id: "rt".parse().unwrap(),
        display_name: None,
        kind: RuntimeKind::Remote,
        access,
        limits,
        max_in_flight: 1,
        give_up_after,
    };
    Registry::new(vec![spec], 1).unwrap()
}

/// Lets a registry know that the runtime honours keys.
fn learn_features(registry: &mut Registry) {
    let now = Instant::now();
    let mut call = registry.call(now, &"rt".parse().unwrap(), Command::Runtime, None).unwrap();
    let CallOutput::Send(attempt) = call.poll(now) else { panic!() };
    let summary = RuntimeSummary {
        runtime_id: "rt".into(),
        display_name: None,
        backend: "memory".into(),
        status: RuntimeStatus::Running,
        worker_count: 1,
        active_worker_count: 1,
        stopped_worker_count: 0,
        cancelled_worker_count: 0,
        diagnostic_count: 0,
        limits: RuntimeLimits { max_transcript_projection_items: 256, max_event_batch_items: 256 },
        features: vec![Feature::Idempotency.name().into()],
        incarnation: None,
        diagnostics: Vec::new(),
    };
    call.handle(now, CallInput::Response(attempt.id, Reply::Runtime(summary).response()));
    assert!(matches!(call.poll(now), CallOutput::Done(Ok(_))));
    registry.finish(now, call);
}

fn command(asked: Asked, input: usize) -> Command {
    let worker_id = "w".parse().unwrap();
    let input = Input::new(InputKind::User, "x".repeat(input));
    match asked {
        Asked::Read => Command::Worker(worker_id),
        Asked::Stop => Command::Stop { worker_id, reason: Reason::default() },
        Asked::Keyed => Command::Input { worker_id, input, key: "key".parse().ok() },
        Asked::Change => Command::Input { worker_id, input, key: None },
    }
}

/// Runs a scenario of calls.
pub(crate) fn call(
    scenario: &calls::Scenario,
    (way, asked): (Way, Asked),
    (make, by): (Make, Loop),
    stretch: Stretch,
) -> CallSeen {
    let runtime = Scripted::start(way, asked, scenario.connections.clone());
    let access = Access::remote(runtime.base_url.parse().unwrap(), TOKEN.parse().ok());
    let mut registry = registry(access, limits(scenario.patience, stretch), Duration::from_secs(60));
    learn_features(&mut registry);
    let side = make(To::Network(Arc::new(Tokens(scenario.source))));
    let (mut traces, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..scenario.times {
        runtime.settle();
        side.rest();
        let command = command(asked, scenario.input);
        let mut call = registry.call(Instant::now(), &"rt".parse().unwrap(), command, None).unwrap();
        let result = match by {
            Loop::Own => side.drive(&mut call),
            Loop::Noting => {
                let (trace, result) = note(side.as_ref(), &mut call);
                traces.push(trace);
                result
            }
        };
        ends.push((result.err().map(|error| facts(&error)), call.attempts()));
        registry.finish(Instant::now(), call);
    }
    drop(side);
    CallSeen { traces, ends, heard: runtime.finish() }
}

fn facts(error: &Error) -> Facts {
    (error.kind().code().to_owned(), error.kind().phase(), error.outcome())
}

/// The loop of core's manual around one attempt of the transport's at a time.
pub(crate) fn note(side: &dyn Side, call: &mut Call) -> (Vec<String>, Result<Reply, Error>) {
    let mut trace = Vec::new();
    let mut now = Instant::now();
    loop {
        match call.poll(now) {
            CallOutput::Send(attempt) => {
                let (id, limits) = (attempt.id, attempt.limits);
                trace.push(format!(
                    "Send({id:?}, {}, connect {:?}, response {:?}, body {:?}, max_body {}, max_idle {:?})",
                    attempt.request.method(),
                    limits.connect,
                    limits.response,
                    limits.body,
                    limits.max_body,
                    limits.max_idle
                ));
                let report = match side.exchange(attempt) {
                    Ok(response) => CallInput::Response(id, response),
                    Err(failure) => CallInput::Failed(id, failure),
                };
                trace.push(format!("{report:?}"));
                now = Instant::now();
                call.handle(now, report);
            }
            CallOutput::RefreshCredential => {
                let token = side.credential();
                trace.push(format!("RefreshCredential, {token:?}"));
                now = Instant::now();
                call.handle(now, CallInput::Credential(token));
            }
            CallOutput::Wait { until, why } => {
                // A pause is the same each time, while what is left for an attempt is not.
                let pause = (why == CallWait::Backoff).then(|| until - now);
                trace.push(format!("Wait({why:?}, {pause:?})"));
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                now = Instant::now();
            }
            CallOutput::Done(result) => {
                trace.push(format!("Done({:?})", result.as_ref().map(drop).map_err(facts)));
                return (trace, result);
            }
        }
    }
}

/// What a scenario expects.
pub(crate) fn expected(asked: Asked, fault: Option<Fault>) -> Option<Facts> {
    let Fault { code, phase, outcome } = fault?;
    let outcome = match outcome {
        "not_applied" => Outcome::NotApplied,
        _ => Outcome::Unknown,
    };
    Some((code.to_owned(), phase, asked.changes_something().then_some(outcome)))
}

/// Runs a scenario of a stream.
pub(crate) fn stream(scenario: &streams::Scenario, way: Way, make: Make, stretch: Stretch) -> StreamSeen {
    let runtime = Scripted::start(way, Asked::Read, scenario.connections.clone());
    let access = Access::remote(runtime.base_url.parse().unwrap(), TOKEN.parse().ok());
    let give_up_after = match scenario.gives_up {
        true => Duration::from_millis(1),
        false => Duration::from_secs(60),
    };
    let mut registry = registry(access, limits(scenario.patience, stretch), give_up_after);
    let worker = WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() };
    let place = scenario.from.and_then(UpstreamCursor::new);
    let watch = registry.watch(Instant::now(), &worker, place, scenario.on_expired_cursor).unwrap();
    let side = make(To::Network(Arc::new(Tokens(scenario.source))));
    let mut told = Vec::new();
    side.watch(watch, &mut |next: Next| {
        // That the stream is served is told by what it brings.
        if matches!(next, Ok(WatchEvent::Live)) {
            return Wish::More;
        }
        let (line, ended) = say(&next);
        told.push(line);
        match ended {
            true => Wish::Nothing,
            false if told.len() == scenario.told.len() => Wish::Stop,
            false => Wish::More,
        }
    });
    drop(side);
    StreamSeen { told, heard: runtime.finish() }
}

fn say(next: &Next) -> (String, bool) {
    let line = match next {
        Ok(WatchEvent::Snapshot(observed)) => format!("snapshot {}", observed.upstream_cursor.as_str()),
        Ok(WatchEvent::Event(observed)) => format!("event {}", observed.upstream_cursor.as_str()),
        Ok(WatchEvent::Disconnected { .. }) => "disconnected".to_owned(),
        Ok(WatchEvent::Resumed { .. }) => "resumed".to_owned(),
        Ok(WatchEvent::Resynchronized) => "resynchronized".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(Ok(())) => STOPPED.to_owned(),
        Err(Err(error)) => format!("stopped: {} {:?}", error.kind().code(), error.kind().phase()),
    };
    (line, next.is_err())
}

const STOPPED: &str = "stopped";

/// What a scenario expects.
pub(crate) fn expected_told(told: &[Told]) -> Vec<String> {
    let line = |told: &Told| match told {
        Told::Snapshot(place) => format!("snapshot {place}"),
        Told::Event(place) => format!("event {place}"),
        Told::Disconnected => "disconnected".to_owned(),
        Told::Resumed => "resumed".to_owned(),
        Told::Resynchronized => "resynchronized".to_owned(),
        Told::Stopped(code, phase) => format!("stopped: {code} {phase:?}"),
    };
    let mut lines: Vec<String> = told.iter().map(line).collect();
    if !matches!(told.last(), Some(Told::Stopped(..))) {
        lines.push(STOPPED.to_owned());
    }
    lines
}
