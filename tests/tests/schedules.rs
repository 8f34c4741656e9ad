//! Random schedules of a worker's stream.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sekisho_tests::schedules::{Ailment, Answers, Breakage, Corner, PEOPLE, Step, World};

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE;
    let breakage = prop::sample::select(vec![Breakage::Orderly, Breakage::Abrupt, Breakage::Silent]);
    let fault = prop::sample::select(vec!["unavailable", "upstream_closed", "cursor_expired"]);
    let ailment = prop::sample::select(vec![Ailment::BeforeTheSnapshot, Ailment::AfterTheSnapshot]);
    prop_oneof![
        12 => (1..5usize).prop_map(Step::Publish),
        1 => (5..20usize).prop_map(Step::Publish),
        8 => (1..12usize).prop_map(Step::Deliver),
        12 => (1..12usize, 0..=PEOPLE).prop_map(|(count, readers)| Step::Flow(count, readers)),
        6 => (who.clone(), 1..12usize).prop_map(|(who, count)| Step::DeliverTo(who, count)),
        3 => (0..=PEOPLE, breakage).prop_map(|(which, how)| Step::Break(which, how)),
        1 => fault.prop_map(Step::Fault),
        2 => (1..6usize, ailment).prop_map(|(count, ailment)| Step::Ail(count, ailment)),
        1 => (1..5usize).prop_map(Step::Repeat),
        1 => prop::sample::select(vec![Answers::Nothing, Answers::Status(503)]).prop_map(Step::Down),
        4 => Just(Step::Up),
        1 => Just(Step::LoseState),
        1 => Just(Step::Replace),
        6 => (1..700u64).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        1 => (1..70u64).prop_map(|seconds| Step::Pass(Duration::from_secs(seconds))),
        4 => who.clone().prop_map(Step::Come),
        4 => (who.clone(), 0..32usize).prop_map(|(who, which)| Step::ComeWith(who, which)),
        8 => (who.clone(), 1..10usize).prop_map(|(who, count)| Step::Read(who, count)),
        3 => who.clone().prop_map(Step::Leave),
        4 => who.prop_map(Step::Return),
    ]
}

fn schedule() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn viewers_miss_nothing_and_see_nothing_twice(steps in schedule()) {
        World::run(&steps);
    }

    #[test]
    fn a_runtime_that_breaks_the_rules_upsets_no_machine(
        before in prop::collection::vec(step(), 0..20),
        rules in prop::collection::vec((any::<u8>(), step()), 1..10),
        after in prop::collection::vec(step(), 0..20),
    ) {
        let foul = rules.into_iter().flat_map(|(which, step)| [Step::BreakRule(which), step]);
        World::run(&before.into_iter().chain(foul).chain(after).collect::<Vec<_>>());
    }
}

#[test]
fn schedules_reach_every_corner_and_repeat_themselves() {
    let mut runner = TestRunner::deterministic();
    let mut corners = BTreeMap::<Corner, usize>::new();
    for _ in 0..64 {
        let steps = schedule().new_tree(&mut runner).unwrap().current();
        let world = World::run(&steps);
        assert_eq!(world.trace(), World::run(&steps).trace());
        world.corners().for_each(|corner| *corners.entry(corner).or_default() += 1);
    }
    assert_eq!(corners.len(), Corner::COUNT, "{corners:?}");
}

#[test]
fn a_viewer_lags_behind_a_place_that_the_feed_begins_anew_at() {
    World::run(&[
        Step::Ail(3, Ailment::AfterTheSnapshot),
        Step::Come(3),
        Step::Flow(6, 0),
        Step::Flow(11, 0),
        Step::Publish(3),
        Step::Flow(4, 0),
        Step::Publish(1),
    ]);
}

#[test]
fn a_runtime_that_cannot_serve_a_stream_yet_has_not_lost_its_place() {
    World::run(&[
        Step::Come(0),
        Step::Flow(2, 1),
        Step::Ail(3, Ailment::BeforeTheSnapshot),
        Step::Break(0, Breakage::Orderly),
        Step::Publish(1),
        Step::Flow(30, 1),
    ]);
}

#[test]
fn what_went_wrong_at_a_place_is_not_held_against_another() {
    let stall = [Step::Fault("unavailable"), Step::Flow(20, 1)];
    let lose_state = [Step::LoseState, Step::Flow(40, 1)];
    let begin = [Step::Come(0), Step::Flow(2, 1)];
    World::run(&[&begin[..], &stall, &stall, &lose_state, &stall, &stall].concat());
}
