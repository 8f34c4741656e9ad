//! Runs simulated worlds, as many as asked for, and says how to see one again that breaks a rule.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use sekisho_tests::simulator::{Census, Failure, Planted, check, trace};

/// How many worlds a thread runs before it says so.
const BATCH: u64 = 100;

/// How many worlds there are between two words about the progress.
const PROGRESS: u64 = 20_000;

/// Runs simulated worlds of gateways, runtimes, networks, clients and viewers, and checks what must be so in each.
#[derive(Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// How many worlds to run.
    #[arg(long, default_value_t = 10_000)]
    worlds: u64,
    /// The seed of the first; each further one has the next.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run the world of this seed alone.
    #[arg(long, conflicts_with_all = ["worlds", "from"])]
    seed: Option<u64>,
    /// Print every single thing that happens in that world.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plant a fault in every world, by its name.
    #[arg(long, value_parser = planted)]
    plant: Option<Planted>,
    /// Print how often what happened.
    #[arg(long)]
    census: bool,
    /// How many threads run worlds; as many as there are processors unless set.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(seed), true) = (arguments.seed, arguments.trace) {
        let (text, violation) = trace(seed, arguments.plant);
        print!("{text}");
        if let Some(violation) = violation {
            println!("{violation}");
        }
    }
    let (from, worlds) = arguments.seed.map_or((arguments.from, arguments.worlds), |seed| (seed, 1));
    let threads = arguments.threads.or_else(|| thread::available_parallelism().ok().map(usize::from));
    let began = Instant::now();
    let result = run(from, worlds, threads.unwrap_or(1), arguments.plant);
    let took = began.elapsed();
    match result {
        Ok(census) => {
            if arguments.census {
                print!("{census}");
            }
            let rate = worlds as f64 / took.as_secs_f64();
            let last = from.saturating_add(worlds.saturating_sub(1));
            println!(
                "seeds {from} to {last}: {worlds} worlds in {took:.1?}, {rate:.0} a second, no rule broken"
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn planted(name: &str) -> Result<Planted, String> {
    let known = Planted::ALL.into_iter().find(|planted| format!("{planted:?}") == name);
    known.ok_or_else(|| format!("there are {:?}", Planted::ALL))
}

/// Runs worlds until there are no more, or one breaks a rule.
fn run(from: u64, worlds: u64, threads: usize, plant: Option<Planted>) -> Result<Census, Box<Failure>> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Ok(Census::default()));
    let work = || {
        let mut census = Census::default();
        while !stop.load(Ordering::Relaxed) {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= worlds {
                break;
            }
            for number in first..(first + BATCH).min(worlds) {
                match check(from.saturating_add(number), plant) {
                    Ok(of_world) => census.add(&of_world),
                    Err(failure) => {
                        stop.store(true, Ordering::Relaxed);
                        *total.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Err(failure);
                        return;
                    }
                }
            }
            let done = first + BATCH;
            if done.is_multiple_of(PROGRESS) {
                eprintln!("{done} of {worlds} worlds");
            }
        }
        if let Ok(total) = &mut *total.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            total.add(&census);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}
