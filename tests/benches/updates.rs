//! What an update of an agent costs its runtime until a hundred viewers have it, against a line of a worker of the kind
//! `lines`: `cargo bench --bench updates`.
//!
//! Both write as fast as they are read, each line and update in a write of its own, the runtime is in this process, and so are the viewers, who look at nothing but the
//! end. What the agent and the program cost themselves is not counted.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail where it cannot measure")]

#[allow(dead_code, reason = "other benchmarks ask for more")]
mod figures;

use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustix::time::{ClockId, clock_gettime};
use sekisho_core::runtime_api::Observe;
use sekisho_core::secret::Access;
use sekisho_runtime::{
    AgentSettings, ProfileKind, Program, Runtime, RuntimeConfig, Subscription, WorkerProfile,
};
use serde_json::{Value, json};

use figures::{Bars, median};

const ROUNDS: usize = 5;
const VIEWERS: usize = 100;

/// How many updates the agent sends, and how many lines the program writes.
const COUNT: u64 = 100_000;

/// An update may cost twice what a line does.
const BAR: f64 = 2.0;

/// Who is to be woken when there is something new.
struct Waiter(Thread);

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn runtime(kind: ProfileKind) -> Runtime {
    let profiles = vec![WorkerProfile { name: "main".into(), kind, description: None }];
    Runtime::start(RuntimeConfig { profiles, ..RuntimeConfig::new("rt".parse().unwrap()) }).unwrap()
}

fn ask(runtime: &Runtime, path: &str, body: &Value) -> Value {
    let request = Request::post(path).body(Bytes::from(body.to_string())).unwrap();
    serde_json::from_slice(runtime.handle(&request).body()).unwrap()
}

/// What this process has used.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}

/// What one update or line costs until all viewers have it, in ns, from the input that asks for them to the frame in which
/// `end` stands.
fn cost(kind: ProfileKind, input: &str, end: &str) -> f64 {
    let runtime = runtime(kind);
    let create = json!({"intent": {"kind": "assistant"}, "profile": {"kind": "runtime_default"}});
    let created = ask(&runtime, "/v1/workers", &create);
    let worker_id = created["worker"]["worker_id"].as_str().unwrap_or_else(|| panic!("{created}"));
    let access = Access::in_process();
    let observe = Observe::request(&access, &worker_id.parse().unwrap(), None).map(|()| Bytes::new());
    let mut viewers: Vec<Subscription> = (0..VIEWERS).map(|_| runtime.observe(&observe).unwrap()).collect();
    let used = processor_time();
    ask(&runtime, &format!("/v1/workers/{worker_id}/input"), &json!({"kind": "user", "content": input}));
    let waker = Waker::from(Arc::new(Waiter(thread::current())));
    let mut context = Context::from_waker(&waker);
    while !viewers.is_empty() {
        viewers.retain_mut(|viewer| {
            while let Poll::Ready(frame) = viewer.poll_frame(&mut context) {
                let frame = frame.expect("it ends with what is waited for");
                if has(&frame, end) {
                    return false;
                }
            }
            true
        });
        if !viewers.is_empty() {
            thread::park_timeout(Duration::from_millis(100));
        }
    }
    (processor_time() - used).as_nanos() as f64 / COUNT as f64
}

/// Whether a text stands near the beginning of a frame's payload: to look further would cost more than the rest.
fn has(frame: &[u8], text: &str) -> bool {
    frame[..frame.len().min(400)].windows(text.len()).any(|window| window == text.as_bytes())
}

fn lines() -> f64 {
    // Each line in a write of its own, as an agent writes its updates.
    let line = "echo 'a line of output'; i=$((i+1))";
    let script = format!("read start; i=0; while [ $i -lt {COUNT} ]; do {line}; done");
    let command = ["sh", "-c", &script].map(str::to_owned);
    let program = Program { command: command.into(), ..Program::default() };
    cost(ProfileKind::Lines(program), "go", r#""kind":"ended""#)
}

fn updates() -> f64 {
    let command = vec![env!("CARGO_BIN_EXE_scripted-agent").to_owned()];
    let program = Program { command, cwd: Some("/".into()), ..Program::default() };
    cost(ProfileKind::Agent(program, AgentSettings::default()), &format!("flood:{COUNT}"), r#""run_end""#)
}

fn main() -> ExitCode {
    sekisho_runtime::launcher::run_if_asked();
    let Some(mut bars) = Bars::of_this_run() else { return ExitCode::SUCCESS };
    let figures: Vec<[f64; 2]> = (0..ROUNDS).map(|_| [lines(), updates()]).collect();
    for (at, what) in ["a line", "an update"].iter().enumerate() {
        println!("{what} to {VIEWERS} viewers, in ns {:>16.0}", median(figures.iter().map(|both| both[at])));
    }
    let ratios: Vec<f64> = figures.iter().map(|[line, update]| update / line).collect();
    bars.hold("an update / a line", &ratios, BAR);
    bars.verdict()
}
