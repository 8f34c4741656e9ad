//! What a worker's process costs: `cargo bench --bench worker`.
//!
//! Lines of `yes` through one worker a second and the runtime's own processor time for a line of them, the time from
//! a create to the first output of `echo`, the start of as many workers as a runtime has at once, and the memory of
//! the helper processes.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail where it cannot measure")]

#[allow(dead_code, reason = "other benchmarks ask for more")]
mod figures;
#[allow(dead_code, reason = "other benchmarks ask for more")]
mod usage;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use rustix::time::{ClockId, clock_gettime};
use sekisho_runtime::{Limits, Runtime, RuntimeConfig, WorkerProfile};
use serde_json::{Value, json};

use figures::{Bars, median};

const LINES: u64 = 2_000_000;
const ROUNDS: usize = 5;
const CREATES: usize = 100;

/// Before events were fragments, each line of `yes` took this of the runtime's processor time, in ns.
const LINE_COST: f64 = 1267.0;

/// In ms.
const FIRST_OUTPUT: f64 = 15.0;

/// In s.
const MANY_START: f64 = 2.0;

/// In MiB.
const WORKER_MEMORY: f64 = 3.0;

fn runtime(command: &[&str]) -> Runtime {
    let profiles = vec![WorkerProfile::lines("main", command.iter().copied())];
    Runtime::start(RuntimeConfig { profiles, ..RuntimeConfig::new("rt".parse().unwrap()) }).unwrap()
}

fn ask(runtime: &Runtime, request: Request<Bytes>) -> Value {
    serde_json::from_slice(runtime.handle(&request).body()).unwrap()
}

fn create(runtime: &Runtime) -> String {
    let body = json!({"intent": {"kind": "assistant"}, "profile": {"kind": "runtime_default"}}).to_string();
    let answer = ask(runtime, Request::post("/v1/workers").body(body.into()).unwrap());
    answer["worker"]["worker_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn worker(runtime: &Runtime, worker_id: &str) -> Value {
    let request = Request::get(format!("/v1/workers/{worker_id}")).body(Bytes::new()).unwrap();
    ask(runtime, request)["worker"].clone()
}

fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// What this process has used, threads that have ended included.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}

fn yes() -> (f64, f64) {
    let command = format!("yes | head -n {LINES}");
    let runtime = runtime(&["sh", "-c", &command]);
    let used = processor_time();
    let begun = Instant::now();
    let worker_id = create(&runtime);
    until(|| worker(&runtime, &worker_id)["status"] == "stopped");
    let took = begun.elapsed();
    let used = processor_time().saturating_sub(used);
    assert!(worker(&runtime, &worker_id)["transcript_len"].as_u64().unwrap() >= LINES);
    (LINES as f64 / took.as_secs_f64() / 1e6, used.as_nanos() as f64 / LINES as f64)
}

/// From a create to the first item of the transcript, in ms.
fn first_output() -> Vec<f64> {
    let runtime = runtime(&["echo", "hello"]);
    let took = || {
        let begun = Instant::now();
        let worker_id = create(&runtime);
        until(|| worker(&runtime, &worker_id)["transcript_len"] != 0);
        begun.elapsed().as_secs_f64() * 1e3
    };
    (0..CREATES).map(|_| took()).collect()
}

/// The time until as many workers as a runtime has at once have said something, in seconds, and what each costs beside
/// its program, in MiB.
fn many() -> (f64, f64) {
    let runtime = runtime(&["sh", "-c", "echo up; exec sleep 1000"]);
    let before = usage::memory(std::process::id()).unwrap();
    let begun = Instant::now();
    let count = Limits::default().max_workers;
    let workers: Vec<String> = (0..count).map(|_| create(&runtime)).collect();
    until(|| workers.iter().all(|worker_id| worker(&runtime, worker_id)["transcript_len"] != 0));
    let took = begun.elapsed().as_secs_f64();
    let launchers = processes("sekisho-launcher");
    assert_eq!(launchers.len(), count);
    let helpers: f64 = launchers.iter().map(|pid| usage::memory(*pid).unwrap()).sum();
    let own = usage::memory(std::process::id()).unwrap() - before;
    (took, (helpers + own.max(0.0)) / count as f64 / 1024.0)
}

/// The processes below this one whose command line begins like that: children of its children.
fn processes(name: &str) -> Vec<u32> {
    let pids: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let grandparent = |pid: u32| parent_of(parent_of(pid)?);
    let has_name = |pid: u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| command.starts_with(name.as_bytes()))
    };
    pids.into_iter().filter(|pid| grandparent(*pid) == Some(std::process::id()) && has_name(*pid)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn main() -> ExitCode {
    sekisho_runtime::launcher::run_if_asked();
    let Some(mut bars) = Bars::of_this_run() else { return ExitCode::SUCCESS };
    let (rates, costs): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| yes()).unzip();
    println!("yes: {:.2} million lines a second", median(rates));
    bars.hold("the runtime's processor time for a line, in ns", &costs, LINE_COST);
    bars.hold("create to the first output of echo, in ms", &first_output(), FIRST_OUTPUT);
    let (took, memory): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| many()).unzip();
    bars.hold("128 workers start, in s", &took, MANY_START);
    bars.hold("a worker beside its program, in MiB", &memory, WORKER_MEMORY);
    bars.verdict()
}
