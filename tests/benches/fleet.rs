//! All workers of all runtimes as one stream: what it costs while nothing changes, and how soon a change is seen by all.
//!
//! 20 runtimes list 50 workers each, and 200 viewers watch them through the real server. Each viewer checks that every change
//! comes once and in order.

mod figures;
#[expect(dead_code, reason = "the runtimes here have configurations of their own")]
mod gateway;
#[expect(dead_code, reason = "no thread is measured by itself here")]
mod usage;

use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use figures::{Bars, median, percentile};
use sekisho_core::browser_api::FleetChange;
use sekisho_tests::fleet_runtime::{FleetRuntime, FleetViewer};
use usage::{cpu_time, memory};

const RUNTIMES: usize = 20;
const WORKERS: usize = 50;
const VIEWERS: usize = 200;

/// How many changes are waited for, one after the other.
const CHANGES: usize = 60;

/// For how long nothing changes, and how often that is measured.
const IDLE: Duration = Duration::from_secs(10);
const IDLE_RUNS: usize = 3;

/// The bars: of a core in percent, and in seconds: a runtime is asked once a second.
const IDLE_BAR: f64 = 1.0;
const SEEN_BAR: f64 = 1.5;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut bars) = Bars::of_this_run() else { return Ok(ExitCode::SUCCESS) };
    let runtimes: Vec<FleetRuntime> =
        (0..RUNTIMES).map(|number| FleetRuntime::start(&format!("rt-{number}"), WORKERS)).collect();
    let directory = tempfile::tempdir()?;
    let remotes: String = runtimes.iter().map(FleetRuntime::configuration).collect();
    let server = gateway::start(directory.path(), &remotes)?;
    let id = server.id();
    let before = memory(id)?;

    let (seen, all_seen) = mpsc::channel();
    for _ in 0..VIEWERS {
        let (mut viewer, workers) = FleetViewer::open(server.address());
        if workers != RUNTIMES * WORKERS {
            return Err(format!("{workers} workers").into());
        }
        let seen = seen.clone();
        thread::Builder::new().stack_size(256 << 10).spawn(move || {
            // It panics where one is missing or comes twice, and the count below stays short.
            while let Some(change) = viewer.see_change_unless_gone() {
                if let FleetChange::WorkerChanged { worker } = change
                    && seen
                        .send((worker.runtime_id.to_string(), worker.last_event_id, Instant::now()))
                        .is_err()
                {
                    return;
                }
            }
        })?;
    }
    let watched = memory(id)?;
    println!("{VIEWERS} viewers: {:.0} KiB each", (watched - before) / VIEWERS as f64);

    let mut idle = Vec::new();
    for _ in 0..IDLE_RUNS {
        let (from, began) = (cpu_time(&[id])?, Instant::now());
        thread::sleep(IDLE);
        idle.push(100.0 * (cpu_time(&[id])? - from).as_secs_f64() / began.elapsed().as_secs_f64());
    }
    bars.hold("nothing changes: % of a core", &idle, IDLE_BAR);

    let (mut first, mut last, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let (runtime, event) = (change % RUNTIMES, (change / RUNTIMES + 1) as u64);
        let (from, began) = (cpu_time(&[id])?, Instant::now());
        runtimes[runtime].change(0);
        let mut times = Vec::new();
        for _ in 0..VIEWERS {
            let (runtime_id, event_id, at) = all_seen.recv_timeout(Duration::from_secs(20))?;
            if (runtime_id, event_id) != (format!("rt-{runtime}"), event) {
                return Err("a change that was not made".into());
            }
            times.push((at - began).as_secs_f64());
        }
        first.push(times.iter().copied().fold(f64::INFINITY, f64::min));
        last.push(times.iter().copied().fold(0.0, f64::max));
        spent.push((cpu_time(&[id])? - from).as_secs_f64() * 1e3);
    }
    println!(
        "{CHANGES} changes: {:.1} ms of CPU each; from the first viewer to the last {:.1} ms",
        median(spent),
        median(last.iter().zip(&first).map(|(last, first)| (last - first) * 1e3))
    );
    bars.hold("seen by all, p99: s", &[percentile(last, 0.99)], SEEN_BAR);
    Ok(bars.verdict())
}
