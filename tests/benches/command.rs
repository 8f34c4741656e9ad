//! What a command costs: in CPU against nginx's `proxy_pass`, in latency against no gateway at all.
//!
//! The contestants take turns in every round, so that whatever else the machine does meets all of them alike; a
//! ratio is that of one round, and what is held to the bar is the middle of all rounds.

mod figures;
mod gateway;
mod load;
mod nginx;

use std::error::Error;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use figures::{Bars, median, percentile};
use load::Load;
use nginx::Nginx;

const ROUNDS: usize = 5;

/// What is asked for, and what it may cost of nginx's CPU.
const LOADS: [Kind; 3] = [
    Kind { name: "one connection", connections: 1, workers: 1, requests: 5_000, bar: 1.0 },
    Kind { name: "32 connections", connections: 32, workers: 32, requests: 20_000, bar: 1.12 },
    Kind { name: "32 connections, equal reads", connections: 32, workers: 1, requests: 20_000, bar: 0.5 },
];

struct Kind {
    name: &'static str,
    connections: usize,
    /// How many different workers they ask for.
    workers: usize,
    /// In each round.
    requests: usize,
    bar: f64,
}

/// How long one load of one round may take.
const TIME: Duration = Duration::from_secs(2);

/// How much of a round's load comes before it, unmeasured: pools fill, and branch predictors learn.
const WARM_UP: usize = 10;

struct Contestant {
    name: &'static str,
    address: SocketAddr,
    /// What stands before the id of a worker.
    path: &'static str,
    /// Of the processes in between.
    ids: Vec<u32>,
}

/// The figures of one contestant in one round.
struct Round {
    /// In µs for each request.
    cpu: f64,
    p50: f64,
    p99: f64,
    per_second: f64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut bars) = Bars::of_this_run() else { return Ok(ExitCode::SUCCESS) };
    let directory = tempfile::tempdir()?;
    let runtime = load::prompt_runtime()?;
    let gateway = gateway::start(directory.path(), &gateway::remote("rt", runtime))?;
    let nginx = Nginx::start(directory.path(), runtime, gateway::TOKEN)?;

    let path = "/api/runtimes/rt/workers/";
    let mut contestants = vec![
        Contestant { name: "direct", address: runtime, path: "/v1/workers/", ids: Vec::new() },
        Contestant { name: "sekisho", address: gateway.address(), path, ids: vec![gateway.id()] },
    ];
    match &nginx {
        Some(nginx) => {
            contestants.push(Contestant { name: "nginx", address: nginx.address(), path, ids: nginx.ids()? })
        }
        None => println!("skipped: nginx is not installed"),
    }
    for kind in LOADS {
        let rounds = rounds(&contestants, &kind)?;
        print(&contestants, &rounds, &kind);
        let ratios = |figure: fn(&Round) -> f64, of: usize, to: usize| -> Vec<f64> {
            rounds.iter().map(|round| figure(&round[of]) / figure(&round[to])).collect()
        };
        if nginx.is_some() {
            bars.hold("CPU, sekisho / nginx", &ratios(|round| round.cpu, 1, 2), kind.bar);
            println!("{:<44} {:>8.2}", "p50, nginx / direct", median(ratios(|round| round.p50, 2, 0)));
        }
        println!("{:<44} {:>8.2}", "p50, sekisho / direct", median(ratios(|round| round.p50, 1, 0)));
    }
    Ok(bars.verdict())
}

fn rounds(contestants: &[Contestant], kind: &Kind) -> Result<Vec<Vec<Round>>, Box<dyn Error>> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let round: Result<Vec<Round>, _> =
            contestants.iter().map(|contestant| contestant.round(kind)).collect();
        rounds.push(round?);
    }
    Ok(rounds)
}

impl Contestant {
    fn round(&self, kind: &Kind) -> Result<Round, Box<dyn Error>> {
        let Kind { connections, workers, requests, .. } = *kind;
        let load = Load {
            address: self.address,
            paths: (0..workers).map(|worker| format!("{}w{worker}", self.path)).collect(),
            connections,
            pause: Duration::ZERO,
            requests,
            time: TIME,
        };
        Load { requests: requests / WARM_UP, ..load.clone() }.run()?;
        let before = cpu_time(&self.ids)?;
        let outcome = load.run()?;
        let cpu = cpu_time(&self.ids)? - before;
        if outcome.refused > 0 {
            return Err(format!("{} refused {} requests", self.name, outcome.refused).into());
        }
        let answered = outcome.latencies.len() as f64;
        Ok(Round {
            cpu: cpu.as_secs_f64() * 1e6 / answered,
            p50: median(outcome.latencies.iter().copied()),
            per_second: answered / outcome.elapsed.as_secs_f64(),
            p99: percentile(outcome.latencies, 0.99),
        })
    }
}

/// How long the threads of these processes have run, in the scheduler's own count: to the nanosecond, where
/// `/proc/PID/stat` counts in ticks.
fn cpu_time(ids: &[u32]) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for id in ids {
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            let count = fs::read_to_string(thread?.path().join("schedstat"))?;
            let run = count.split(' ').next().and_then(|run| run.parse().ok());
            total += Duration::from_nanos(run.ok_or(io::ErrorKind::InvalidData)?);
        }
    }
    Ok(total)
}

fn print(contestants: &[Contestant], rounds: &[Vec<Round>], kind: &Kind) {
    println!("\n{}, {} requests a round, medians of {ROUNDS} rounds", kind.name, kind.requests);
    println!("{:<12} {:>10} {:>10} {:>10} {:>18}", "", "requests/s", "p50 µs", "p99 µs", "CPU µs/request");
    for (index, contestant) in contestants.iter().enumerate() {
        let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(|round| figure(&round[index])));
        let (per_second, p50, p99) =
            (middle(|round| round.per_second), middle(|round| round.p50), middle(|round| round.p99));
        let name = contestant.name;
        match contestant.ids.is_empty() {
            true => println!("{name:<12} {per_second:>10.0} {p50:>10.1} {p99:>10.1} {:>18}", "-"),
            false => {
                let cpu = middle(|round| round.cpu);
                println!("{name:<12} {per_second:>10.0} {p50:>10.1} {p99:>10.1} {cpu:>18.2}");
            }
        }
    }
}
