//! What a delivered frame costs in CPU, against nginx's proxying of WebSockets and against a runtime that its viewers
//! are on themselves; how long a frame takes to all viewers; and what a viewer has in memory.
//!
//! The contestants take turns in every round, so that whatever else the machine does meets all of them alike; a
//! ratio is that of one round, and what is held to the bar is the middle of all rounds. Each round has a worker of its
//! own: a gateway goes on with a stream for a while after its last viewer.

mod audience;
mod figures;
mod gateway;
mod nginx;
mod publisher;
mod usage;
mod websocket;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use audience::Audience;
use figures::{Bars, median, percentile};
use nginx::Nginx;
use publisher::Publisher;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use usage::{cpu_time, memory};

const ROUNDS: usize = 5;

/// How many viewers there are.
const AUDIENCES: [usize; 2] = [100, 500];

/// How many frames each of them is shown in a round, and how many before it, unmeasured.
const FRAMES: usize = 100;
const WARM_UP: usize = 10;

/// The pace of a worker that has much to say.
const EVERY: Duration = Duration::from_millis(10);

/// How many viewers are looked at to whom nothing happens.
const IDLE: usize = 1_000;

struct Contestant {
    name: &'static str,
    address: SocketAddr,
    /// What stands before a worker in a path.
    prefix: &'static str,
    /// How many frames a viewer gets before what happens: a snapshot, and from the gateway that it is live.
    opening: usize,
    /// Of the processes in between.
    ids: Vec<u32>,
}

/// The figures of one contestant in one round.
struct Round {
    /// In µs for each frame and viewer.
    cpu: f64,
    /// The same in the runtime's own thread.
    runtime: f64,
    /// How long frames took to the last viewer, in ms.
    p50: f64,
    p99: f64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut bars) = Bars::of_this_run() else { return Ok(ExitCode::SUCCESS) };
    allow_many_connections()?;
    let directory = tempfile::tempdir()?;
    let publisher = Publisher::start()?;
    let runtime = publisher.address();
    let gateway = gateway::start(directory.path(), &gateway::remote("rt", runtime))?;
    let nginx = Nginx::start(directory.path(), runtime, gateway::TOKEN)?;

    let mut contestants = vec![
        Contestant { name: "direct", address: runtime, prefix: "/v1/workers", opening: 1, ids: Vec::new() },
        Contestant {
            name: "sekisho",
            address: gateway.address(),
            prefix: "/api/runtimes/rt/workers",
            opening: 2,
            ids: vec![gateway.id()],
        },
    ];
    match &nginx {
        Some(nginx) => contestants.push(Contestant {
            name: "nginx",
            address: nginx.address(),
            prefix: "/api/runtimes/streams/workers",
            opening: 1,
            ids: nginx.ids()?,
        }),
        None => println!("skipped: nginx is not installed"),
    }
    for viewers in AUDIENCES {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for number in 0..ROUNDS {
            let worker = format!("{viewers}-{number}");
            let round: Result<Vec<Round>, _> =
                contestants.iter().map(|contestant| contestant.round(&publisher, &worker, viewers)).collect();
            rounds.push(round?);
        }
        print(&contestants, &rounds, viewers);
        let ratios = |of: fn(&Round) -> f64, index: usize, to: fn(&Round) -> f64, other: usize| -> Vec<f64> {
            rounds.iter().map(|round| of(&round[index]) / to(&round[other])).collect()
        };
        if nginx.is_some() {
            bars.hold("CPU, sekisho / nginx", &ratios(|round| round.cpu, 1, |round| round.cpu, 2), 0.72);
        }
        for (name, figures) in [
            ("CPU, sekisho / runtime, when direct", ratios(|round| round.cpu, 1, |round| round.runtime, 0)),
            ("p50 to the last viewer, sekisho / direct", ratios(|round| round.p50, 1, |round| round.p50, 0)),
            ("p99 to the last viewer, sekisho / direct", ratios(|round| round.p99, 1, |round| round.p99, 0)),
        ] {
            println!("{name:<44} {:>8.2}", median(figures));
        }
    }
    let (idle, streaming) = in_memory(&publisher)?;
    bars.hold("an idle viewer in memory, KiB", &[idle], 10.0);
    bars.hold("a streaming viewer in memory, KiB", &[streaming], 10.0);
    Ok(bars.verdict())
}

impl Contestant {
    fn round(&self, publisher: &Publisher, worker: &str, viewers: usize) -> Result<Round, Box<dyn Error>> {
        let worker = format!("{}-{worker}", self.name);
        let path = format!("{}/{worker}/events/ws", self.prefix);
        let failed = |error| format!("{}: {error}", self.name);
        let mut audience = Audience::gather(self.address, &path, viewers, self.opening).map_err(failed)?;
        let published = publisher.publish(&worker, WARM_UP, EVERY);
        audience.watch(WARM_UP).map_err(failed)?;
        published.recv()??;

        let (before, runtime_before) = (cpu_time(&self.ids)?, publisher.cpu_time()?);
        let published = publisher.publish(&worker, FRAMES, EVERY);
        let shown = audience.watch(WARM_UP + FRAMES).map_err(failed)?;
        let published = published.recv()??;
        let (cpu, runtime) = (cpu_time(&self.ids)? - before, publisher.cpu_time()? - runtime_before);

        let took = published.iter().zip(&shown[WARM_UP..]).map(|(published, shown)| *shown - *published);
        let took: Vec<f64> = took.map(|took| took.as_secs_f64() * 1e3).collect();
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / (FRAMES * viewers) as f64;
        Ok(Round {
            cpu: each(cpu),
            runtime: each(runtime),
            p50: median(took.iter().copied()),
            p99: percentile(took, 0.99),
        })
    }
}

/// How much more a gateway has in memory for each of many viewers than with a single one, in KiB: before anything has
/// happened, and after frames.
fn in_memory(publisher: &Publisher) -> Result<(f64, f64), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let gateway = gateway::start(directory.path(), &gateway::remote("rt", publisher.address()))?;
    let path = "/api/runtimes/rt/workers/idle/events/ws";
    let _first = Audience::gather(gateway.address(), path, 1, 2)?;
    let before = memory(gateway.id())?;
    let mut others = Audience::gather(gateway.address(), path, IDLE, 2)?;
    let idle = memory(gateway.id())? - before;
    let published = publisher.publish("idle", WARM_UP, EVERY);
    others.watch(WARM_UP)?;
    published.recv()??;
    let streaming = memory(gateway.id())? - before;
    Ok((idle / IDLE as f64, streaming / IDLE as f64))
}

/// A viewer straight on the runtime has both of its ends in this process.
fn allow_many_connections() -> Result<(), Box<dyn Error>> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

fn print(contestants: &[Contestant], rounds: &[Vec<Round>], viewers: usize) {
    let hertz = 1.0 / EVERY.as_secs_f64();
    println!("\n{viewers} viewers, {FRAMES} frames at {hertz} Hz a round, medians of {ROUNDS} rounds");
    println!(
        "{:<12} {:>14} {:>16} {:>12} {:>12}",
        "", "CPU µs/frame", "runtime µs/frame", "p50 ms", "p99 ms"
    );
    for (index, contestant) in contestants.iter().enumerate() {
        let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(|round| figure(&round[index])));
        let cpu = match contestant.ids.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.2}", middle(|round| round.cpu)),
        };
        let (runtime, p50, p99) =
            (middle(|round| round.runtime), middle(|round| round.p50), middle(|round| round.p99));
        println!("{:<12} {cpu:>14} {runtime:>16.2} {p50:>12.2} {p99:>12.2}", contestant.name);
    }
}
