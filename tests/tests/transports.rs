//! The same scenarios over both transports, which must come to the same decisions by the same steps.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[path = "transports/gateway.rs"]
mod gateway;
#[path = "transports/in_process.rs"]
mod in_process;
#[path = "transports/misdirected.rs"]
mod misdirected;
#[path = "transports/run.rs"]
mod run;
#[path = "transports/side.rs"]
mod side;
#[path = "transports/table.rs"]
mod table;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::{env, fs, thread};

use sekisho_tests::scenarios::calls::Asked;
use sekisho_tests::scenarios::{Patience, Way, calls, streams};

use run::{Loop, Stretch};
use side::SIDES;

/// How many scenarios are under way at the same time. They wait more than they work.
const WORKERS: usize = 32;

/// Does each job, and tells of all that failed.
fn all<T: Send>(
    jobs: Vec<T>,
    name: impl Fn(&T) -> String + Sync,
    run: impl Fn(&T) -> Result<(), String> + Sync,
) {
    let jobs = Mutex::new(jobs);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap().pop() else { return };
                    let result = catch_unwind(AssertUnwindSafe(|| run(&job)));
                    let problem = match result {
                        Ok(Ok(())) => continue,
                        Ok(Err(problem)) => problem,
                        Err(panic) => format!("{:?}", panic.downcast_ref::<String>()),
                    };
                    failed.lock().unwrap().push(format!("{}\n{problem}", name(&job)));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failed\n\n{}", failed.len(), failed.join("\n\n"));
}

fn same<T: PartialEq + Debug>(what: &str, left: &T, right: &T) -> Result<(), String> {
    match left == right {
        true => Ok(()),
        false => Err(format!("{what}:\n  {left:?}\n  {right:?}")),
    }
}

/// Where time was so short that a busy machine may have used it up by itself, takes another look with more of it.
fn check(patience: Patience, look: impl Fn(Stretch) -> Result<(), String>) -> Result<(), String> {
    match (look(1), patience) {
        (Err(_), Patience::Short) => look(10),
        (result, _) => result,
    }
}

#[test]
fn commands() {
    let scenarios = calls::all();
    let mut jobs = Vec::new();
    for scenario in &scenarios {
        for (index, way) in scenario.ways.iter().enumerate() {
            // What is repeated does not depend on the way.
            let asked = scenario.asked.iter().filter(|asked| index == 0 || ONE_OF_A_KIND.contains(asked));
            jobs.extend(asked.map(|asked| (scenario, *way, *asked)));
        }
    }
    all(jobs, name_of, |(scenario, way, asked)| {
        check(scenario.patience, |stretch| command(scenario, (*way, *asked), stretch))
    });
}

type Job<'a> = (&'a calls::Scenario, Way, Asked);

fn name_of((scenario, way, asked): &Job<'_>) -> String {
    format!("{}, {way:?}, {asked:?}", scenario.name)
}

#[test]
fn commands_through_a_gateway() {
    let scenarios = calls::all();
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for scenario in &scenarios {
        for way in scenario.ways.iter().filter(|way| gateway::carries(scenario, **way)) {
            jobs.extend(scenario.asked.iter().map(|asked| (scenario, *way, *asked)));
        }
    }
    all(jobs, name_of, |(scenario, way, asked)| {
        check(scenario.patience, |stretch| {
            let end = if asked.is_repeatable() { scenario.repeatable } else { scenario.once };
            let told = gateway::call(scenario, (*way, *asked), stretch);
            same("what a client is told", &told, &run::expected(*asked, end.fault))
        })
    });
}

/// A command that may be repeated, and one that may not.
const ONE_OF_A_KIND: [Asked; 2] = [Asked::Read, Asked::Change];

fn command(scenario: &calls::Scenario, asked: (Way, Asked), stretch: Stretch) -> Result<(), String> {
    let end = if asked.1.is_repeatable() { scenario.repeatable } else { scenario.once };
    let expected = Some((run::expected(asked.1, end.fault), end.attempts));
    let [under_tokio, blocking] =
        SIDES.map(|(_, make)| run::call(scenario, asked, (make, Loop::Noting), stretch));
    for (name, seen) in [("tokio", &under_tokio), ("blocking", &blocking)] {
        same(&format!("the end, {name}: {:?}", seen.traces), &seen.ends.last().cloned(), &expected)?;
    }
    same("both", &under_tokio, &blocking)?;
    for (name, make) in SIDES {
        let own = run::call(scenario, asked, (make, Loop::Own), stretch);
        same(&format!("the ends of {name}'s own loop"), &own.ends, &under_tokio.ends)?;
        same(&format!("what {name}'s own loop sends"), &own.heard, &under_tokio.heard)?;
    }
    Ok(())
}

#[test]
fn streams() {
    let scenarios = streams::all();
    let jobs = scenarios.iter().flat_map(|scenario| scenario.ways.iter().map(move |way| (scenario, *way)));
    let name = |(scenario, way): &(&streams::Scenario, _)| format!("{}, {way:?}", scenario.name);
    all(jobs.collect(), name, |(scenario, way)| {
        check(scenario.patience, |stretch| {
            let expected = run::expected_told(scenario.told);
            let [under_tokio, blocking] = SIDES.map(|(_, make)| run::stream(scenario, *way, make, stretch));
            same("what is told under tokio", &under_tokio.told, &expected)?;
            same("what is told, blocking", &blocking.told, &expected)?;
            same("what is sent", &under_tokio.heard, &blocking.heard)
        })
    });
}

#[test]
fn streams_through_a_gateway() {
    let scenarios = streams::all();
    let carried = |scenario: &streams::Scenario, way: &Way| gateway::streams(scenario, *way);
    let jobs = scenarios.iter().flat_map(|scenario| {
        scenario.ways.iter().filter(move |way| carried(scenario, way)).map(move |way| (scenario, *way))
    });
    let jobs: Vec<_> = jobs.collect();
    assert!(jobs.len() > scenarios.len() / 2, "{} of {}", jobs.len(), scenarios.len());
    let name = |(scenario, way): &(&streams::Scenario, _)| format!("{}, {way:?}", scenario.name);
    all(jobs, name, |(scenario, way)| {
        check(scenario.patience, |stretch| {
            let expected: Vec<String> = run::expected_told(scenario.told)
                .into_iter()
                .take(scenario.told.len())
                .map(|line| match line.strip_prefix("stopped: ") {
                    Some(end) => format!("stopped: {}", end.split(' ').next().unwrap()),
                    None => line,
                })
                .collect();
            same("what a viewer is shown", &gateway::stream(scenario, *way, stretch), &expected)
        })
    });
}

#[test]
fn in_process() {
    let [under_tokio, blocking] = SIDES.map(|(_, make)| in_process::live(make, Loop::Noting));
    assert_eq!(under_tokio, blocking);
    let replies = [
        "worker",
        "runtime",
        "1 workers",
        "input",
        "2 items",
        "worker_not_found",
        "ack",
        "worker_not_running",
        "worker",
    ];
    assert_eq!(under_tokio.replies, replies);
    assert_eq!(under_tokio.events.first().map(String::as_str), Some("snapshot"));
    assert_eq!(under_tokio.events.last().map(String::as_str), Some("Err(Ok(()))"));
    for (name, make) in SIDES {
        let own = in_process::live(make, Loop::Own);
        assert_eq!(
            (own.replies, own.events),
            (under_tokio.replies.clone(), under_tokio.events.clone()),
            "{name}"
        );
    }
}

#[test]
fn the_tables_of_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md");
    let page = fs::read_to_string(&path).unwrap();
    let (introduction, _) = page.split_once(table::MARK).unwrap();
    let expected = format!("{introduction}{}\n{}", table::MARK, table::render());
    if page != expected && env::var_os("SEKISHO_UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(
            page == expected,
            "docs/faults.md is not what the scenarios say; to write it anew:\n\
             SEKISHO_UPDATE_DOCS=1 cargo test -p sekisho-tests --test transports"
        );
    }
}

#[test]
fn another_runtime() {
    misdirected::nothing_changes_there();
    misdirected::a_question_is_asked_once_for_each_connection();
}

#[test]
fn a_replaced_token() {
    misdirected::a_token_that_is_replaced_meanwhile_does_not_come_out();
}
