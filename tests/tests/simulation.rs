//! Simulated worlds: many of them, the same ones again, and ones with a fault planted that has to be found.
//!
//! `cargo run --release -p sekisho-tests --bin simulate -- --worlds 1000000` runs as many as asked for.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sekisho_tests::simulator::{Census, Failure, Invariant, Planted, check, trace};

/// How many worlds there are.
const WORLDS: u64 = 2_000;

/// Within how many worlds a planted fault has to be found.
const FOUND_WITHIN: u64 = 1_000;

/// Seeds that broke a rule once, and why.
const REGRESSIONS: &[(u64, &str)] = &[
    (8, "a token that holds a percent-escape of its own was shown where it was JSON-escaped"),
    (17, "a stream that was opened with one token showed the token that followed it"),
    (112, "how long a secret is could be told from what is logged of a frame"),
    (120, "the path of a base URL was shown by a runtime that repeats what it was asked for"),
    (129, "one runtime's calls changed how long another runtime's were paused for"),
    (1005, "a viewer's place was called expired because the ring had nothing left but outages"),
    (1814, "a call that was made with one token showed the token that followed it"),
    (
        75936,
        "a quote behind a token that ends with a backslash went with it, in one guise and not in another",
    ),
    (22_600, "how far a host is from a port was measured over the secrets between them"),
    (148_898, "the token before the last was forgotten when the same change was heard of twice"),
    (
        661_016,
        "a stream whose cursors begin with the digits of the port was taken for one that makes no sense",
    ),
    (2853, "a viewer's place was called expired because the runtime was away for a while"),
];

/// Runs something for each of these seeds, on all processors.
fn for_each_seed(seeds: impl Iterator<Item = u64> + Send, act: impl Fn(u64) -> bool + Sync) {
    let seeds = Mutex::new(seeds);
    let work = || {
        loop {
            let seed = seeds.lock().unwrap().next();
            match seed {
                Some(seed) if act(seed) => {}
                _ => return,
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}

#[test]
fn no_world_breaks_a_rule_and_all_that_can_happen_does() {
    let result = Mutex::new((Census::default(), None::<Box<Failure>>));
    let count = AtomicU64::new(0);
    for_each_seed(0..WORLDS, |seed| {
        count.fetch_add(1, Ordering::Relaxed);
        let checked = check(seed, None);
        let (total, failure) = &mut *result.lock().unwrap();
        match checked {
            Ok(census) => total.add(&census),
            Err(found) => *failure = Some(found),
        }
        failure.is_none()
    });
    let (total, failure) = result.into_inner().unwrap();
    if let Some(failure) = failure {
        panic!("{failure}");
    }
    assert_eq!(count.into_inner(), WORLDS);
    assert_eq!(total.missing(), [] as [String; 0], "\n{total}");
}

#[test]
fn seeds_that_broke_a_rule_once() {
    for (seed, why) in REGRESSIONS {
        if let Err(failure) = check(*seed, None) {
            panic!("{why}, again: {failure}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2, 3] {
        let (first, again) = (trace(seed, None), trace(seed, None));
        assert!(first.0.lines().count() > 50);
        assert_eq!(first, again);
    }
    assert_ne!(trace(1, None), trace(2, None));
}

#[test]
fn every_planted_fault_is_found() {
    let missed = Mutex::new(Vec::new());
    for_each_seed(0..Planted::ALL.len() as u64, |number| {
        let planted = Planted::ALL[usize::try_from(number).unwrap()];
        let found = (0..FOUND_WITHIN).find_map(|seed| check(seed, Some(planted)).err());
        match found.map(|failure| failure.violation) {
            Some(violation) if planted.breaks().contains(&violation.invariant) => {}
            found => missed.lock().unwrap().push(format!("{planted:?}: {found:?}")),
        }
        true
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn there_is_a_planted_fault_for_every_rule() {
    for invariant in Invariant::ALL {
        assert!(Planted::ALL.iter().any(|planted| planted.breaks().contains(&invariant)), "{invariant:?}");
    }
}

#[test]
fn a_failure_says_how_to_see_it_again() {
    let failure = (0..FOUND_WITHIN).find_map(|seed| check(seed, Some(Planted::RepeatsFrame)).err()).unwrap();
    let text = failure.to_string();
    assert!(text.contains(&format!("--bin simulate -- --seed {} --trace", failure.seed)), "{text}");
    assert!(text.contains("FramesInOrder") && text.contains("RepeatsFrame"), "{text}");
    assert!(failure.plan.steps.len() <= 12, "{text}");
}
