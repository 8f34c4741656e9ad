use std::collections::BTreeSet;

use super::*;

#[test]
fn names_have_their_form() {
    let mut ids = WorkerIds::random();
    for (profile, prefix) in [
        (None, "worker-"),
        (Some("shell"), "shell-"),
        (Some("my.agent"), "my.agent-"),
        (Some("no id"), "worker-"),
        (Some("関"), "worker-"),
        (Some(&*"x".repeat(119)), &*format!("{}-", "x".repeat(119))),
        (Some(&*"x".repeat(120)), "worker-"),
    ] {
        let name = ids.next(profile, |_| false).unwrap();
        let random = name.as_str().strip_prefix(prefix).unwrap();
        assert_eq!(random.len(), RANDOM_LENGTH, "{name}");
        assert!(random.bytes().all(|byte| ALPHABET.contains(&byte)), "{name}");
    }
}

#[test]
fn no_name_comes_again() {
    let mut ids = WorkerIds::random();
    let mut known = BTreeSet::new();
    for _ in 0..10_000 {
        let name = ids.next(Some("w"), |name| known.contains(name)).unwrap();
        assert!(known.insert(name));
    }
    assert_eq!(ids.next(None, |_| true), None);
}

#[test]
fn a_restart_draws_other_names() {
    let draw = || WorkerIds::random().next(None, |_| false).unwrap();
    assert_ne!(draw(), draw());
}

#[test]
fn simulations_know_their_names() {
    let mut ids = WorkerIds::numbered();
    assert_eq!(ids.next(Some("shell"), |_| false).unwrap().as_str(), "worker-00000001");
    assert_eq!(ids.next(None, |_| false).unwrap().as_str(), "worker-00000002");
}
