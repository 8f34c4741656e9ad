use sekisho_core::id::WorkerId;

use super::*;

fn id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

/// Lets go until all is within the bound, and tells in which order.
fn reduce(shares: &mut Shares<WorkerId>) -> Vec<(String, usize)> {
    let mut reductions = Vec::new();
    while let Some(Reduction { owner, max_bytes }) = shares.reduction(&[]) {
        shares.set(&owner, max_bytes);
        reductions.push((owner.to_string(), max_bytes));
    }
    reductions
}

#[test]
fn within_the_bound_all_is_kept() {
    let mut shares = Shares::new(100);
    shares.set(&id("a"), 60);
    shares.set(&id("b"), 40);
    assert_eq!(shares.reduction(&[]), None);
    shares.set(&id("a"), 10);
    assert_eq!((shares.reduction(&[]), shares.bytes()), (None, 50));
}

#[test]
fn those_that_ended_let_go_first_and_in_the_order_of_their_ends() {
    let mut shares = Shares::new(64);
    for (name, bytes) in [("running", 50), ("late", 10), ("early", 10), ("busy", 60)] {
        shares.set(&id(name), bytes);
    }
    shares.ended(&id("early"), 7);
    shares.ended(&id("late"), 8);
    let told = |name: &str, bytes| (name.to_owned(), bytes);
    assert_eq!(reduce(&mut shares), [told("early", 0), told("late", 0), told("busy", 13)]);
    assert_eq!(shares.bytes(), 63);
}

#[test]
fn one_that_can_let_go_of_nothing_more_is_passed_over() {
    let mut shares = Shares::new(10);
    shares.set(&id("a"), 30);
    shares.set(&id("b"), 20);
    assert_eq!(shares.reduction(&[]).unwrap().owner, id("a"));
    assert_eq!(shares.reduction(&[id("a")]).unwrap().owner, id("b"));
    assert_eq!(shares.reduction(&[id("a"), id("b")]), None);
}

#[test]
fn what_is_forgotten_counts_no_more() {
    let mut shares = Shares::new(10);
    shares.set(&id("a"), 30);
    shares.remove(&id("a"));
    shares.remove(&id("a"));
    shares.ended(&id("a"), 1);
    assert_eq!((shares.bytes(), shares.reduction(&[])), (0, None));
}
