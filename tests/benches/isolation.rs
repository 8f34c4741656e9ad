//! What a runtime that hangs and one that is gone cost those who use a healthy one through the same gateway.
//!
//! As many other clients with commands to a healthy runtime are measured beside them: what those cost is the price
//! of their load, not of the faults.

mod figures;
mod gateway;
mod load;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use figures::{Bars, median, percentile};
use load::{Load, Outcome};
use socket2::{Domain, Socket, Type};

const ROUNDS: usize = 5;

/// How long each part of a round takes.
const TIME: Duration = Duration::from_millis(2_500);

/// How many clients are measured.
const CLIENTS: usize = 8;

/// How many others there are, for each of the two faults.
const OTHERS: usize = 32;

/// What the clients that are measured wait between their commands, so that it is not the machine that is full.
const PAUSE: Duration = Duration::from_millis(1);

/// What the others wait.
const PAUSE_OF_OTHERS: Duration = Duration::from_millis(20);

/// Whom the others ask in each part of a round.
const PARTS: [(&str, &[&str]); 3] =
    [("alone", &[]), ("beside healthy ones", &["rt", "rt"]), ("beside sick ones", &["hangs", "gone"])];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut bars) = Bars::of_this_run() else { return Ok(ExitCode::SUCCESS) };
    let directory = tempfile::tempdir()?;
    // Bound and not listening: no other process can listen there, and every connection is refused.
    let gone = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    gone.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let refusing = gone.local_addr()?.as_socket().ok_or("no address")?;
    let remotes = [("rt", load::prompt_runtime()?), ("hangs", load::runtime(false)?), ("gone", refusing)];
    let remotes: String = remotes.map(|(runtime_id, address)| gateway::remote(runtime_id, address)).concat();
    let gateway = gateway::start(directory.path(), &remotes)?;

    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut round = Vec::with_capacity(PARTS.len());
        for (_, others) in PARTS {
            round.push(part(gateway.address(), others)?);
        }
        rounds.push(round);
    }

    println!("\n{CLIENTS} clients of a healthy runtime, medians of {ROUNDS} rounds");
    println!("{:<22} {:>10} {:>10} {:>10} {:>16}", "", "requests/s", "p50 µs", "p99 µs", "others' answers/s");
    for (index, (name, _)) in PARTS.iter().enumerate() {
        let middle = |figure: fn(&Part) -> f64| median(rounds.iter().map(|round| figure(&round[index])));
        println!(
            "{name:<22} {:>10.0} {:>10.1} {:>10.1} {:>16.0}",
            middle(|part| part.per_second),
            middle(|part| part.p50),
            middle(|part| part.p99),
            middle(|part| part.others_per_second)
        );
    }
    let against = |part: usize| rounds.iter().map(move |round| round[part].p99 / round[0].p99);
    println!("{:<44} {:>8.2}", "p99, beside healthy ones / alone", median(against(1)));
    bars.hold("p99, beside sick ones / alone", &against(2).collect::<Vec<_>>(), 2.0);
    Ok(bars.verdict())
}

/// The figures of one part of a round.
struct Part {
    p50: f64,
    p99: f64,
    per_second: f64,
    others_per_second: f64,
}

fn part(gateway: SocketAddr, others: &[&str]) -> Result<Part, Box<dyn Error>> {
    let load = |runtime_id: &str, connections, pause| Load {
        address: gateway,
        // Equal reads would share what they ask the runtime.
        paths: (0..connections)
            .map(|worker| format!("/api/runtimes/{runtime_id}/workers/w{worker}"))
            .collect(),
        connections,
        pause,
        requests: usize::MAX,
        time: TIME,
    };
    let measured = load("rt", CLIENTS, PAUSE);
    let (outcome, others) = thread::scope(|scope| -> io::Result<(Outcome, Vec<Outcome>)> {
        let others: Vec<_> = others
            .iter()
            .map(|runtime_id| {
                let load = load(runtime_id, OTHERS, PAUSE_OF_OTHERS);
                scope.spawn(move || load.run())
            })
            .collect();
        let outcome = measured.run()?;
        let others = others.into_iter().map(|others| match others.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(io::Error::other("a client panicked")),
        });
        Ok((outcome, others.collect::<io::Result<_>>()?))
    })?;
    if outcome.refused > 0 {
        return Err(format!("{} commands to the healthy runtime failed", outcome.refused).into());
    }
    let answered: usize = others.iter().map(|outcome| outcome.latencies.len() + outcome.refused).sum();
    Ok(Part {
        p50: median(outcome.latencies.iter().copied()),
        per_second: outcome.latencies.len() as f64 / outcome.elapsed.as_secs_f64(),
        p99: percentile(outcome.latencies, 0.99),
        others_per_second: answered as f64 / TIME.as_secs_f64(),
    })
}
