//! The machine against runtimes that are values, with viewers that believe what they are told.

mod client;
mod properties;
mod world;

use std::time::Duration;

use super::*;
use crate::browser_api::FleetChange;
use crate::error::ErrorKind;
use crate::registry::Reachability;
use crate::viewer::ViewerInput;
use world::{Viewer, World, names};

#[test]
fn a_viewer_is_shown_everything_and_then_each_change() {
    let mut world = World::new(2, MAX_CHANGES);
    world.create(0, 1);
    world.create(1, 7);
    let mut viewer = Viewer::open(&mut world);
    assert!(viewer.read(&world).is_empty(), "nothing is known yet");
    world.pass(Duration::ZERO);
    let frames = viewer.read(&world);
    assert!(matches!(frames[..], [FleetFrame::Snapshot { runtimes: 2, .. }, ref first, _]
        if matches!(first, FleetFrame::Runtime { workers, .. } if workers.len() == 1)));
    assert_eq!(viewer.workers(), world.workers());

    world.change(0, 1);
    world.create(0, 2);
    world.remove(1, 7);
    world.pass(POLL_EVERY);
    let told: Vec<_> = viewer.read(&world).into_iter().map(change).collect();
    assert!(
        matches!(
            &told[..],
            [
                FleetChange::WorkerChanged { .. },
                FleetChange::WorkerAdded { .. },
                FleetChange::WorkerGone { .. }
            ]
        ),
        "{told:?}"
    );
    assert_eq!(viewer.workers(), world.workers());
}

#[track_caller]
fn change(frame: FleetFrame) -> FleetChange {
    match frame {
        FleetFrame::Change { change, .. } => change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_runtime_is_asked_once_an_interval_however_many_look() {
    let mut world = World::new(3, MAX_CHANGES);
    (0..3).for_each(|runtime| world.create(runtime, 1));
    let mut viewers: Vec<Viewer> = (0..20).map(|_| Viewer::open(&mut world)).collect();
    world.pass(Duration::ZERO);
    assert_eq!(world.asked, 3);
    world.pass(POLL_EVERY / 2);
    assert_eq!(world.asked, 3);
    for _ in 0..10 {
        world.pass(POLL_EVERY);
    }
    assert_eq!((world.asked, world.read), (33, 3), "answers of the same bytes are not read");
    viewers.iter_mut().for_each(|viewer| assert_eq!(viewer.read(&world).len(), 4));
    world.change(1, 1);
    world.pass(POLL_EVERY);
    let frames: Vec<_> = viewers.iter_mut().map(|viewer| viewer.read_items(&world)).collect();
    assert!(frames.iter().all(|items| items.len() == 1));
    let first = frames[0][0].text().as_ptr();
    assert!(frames.iter().all(|items| items[0].text().as_ptr() == first), "encoded once for all");
}

#[test]
fn nothing_is_asked_and_nothing_kept_while_nobody_watches() {
    let mut world = World::new(1, MAX_CHANGES);
    world.create(0, 1);
    world.pass(POLL_EVERY);
    assert_eq!(world.asked, 0);
    let mut viewer = Viewer::open(&mut world);
    world.pass(Duration::ZERO);
    viewer.read(&world);
    world.leave();
    world.pass(POLL_EVERY * 5);
    assert_eq!((world.asked, world.fleet.sources.len()), (1, 0));
    world.create(0, 2);
    // One that was still there when the last had left is shown the state anew, as is a new one.
    let mut another = Viewer::open(&mut world);
    world.pass(Duration::ZERO);
    for viewer in [&mut viewer, &mut another] {
        assert!(matches!(viewer.read(&world)[0], FleetFrame::Snapshot { .. }));
        assert_eq!(viewer.workers(), world.workers());
    }
}

#[test]
fn a_runtime_that_fails_keeps_its_rows_and_is_asked_more_seldom() {
    let mut world = World::new(2, MAX_CHANGES);
    world.create(0, 1);
    world.create(1, 1);
    let mut viewer = Viewer::open(&mut world);
    world.pass(Duration::ZERO);
    viewer.read(&world);
    world.hosts[0].is_down = true;
    world.pass(POLL_EVERY);
    let told = viewer.read(&world);
    let FleetChange::RuntimeChanged { runtime } = change(told[0].clone()) else { panic!("{told:?}") };
    assert_eq!((runtime.reachability, told.len()), (Reachability::Unreachable, 1));
    assert_eq!(runtime.failing_since.as_deref(), Some("2001-09-09T01:46:40Z"), "when it last answered");
    assert_eq!(runtime.diagnostics[0].code, "network_error");
    assert_eq!(viewer.workers().len(), 2);
    let before = world.asked_of(0);
    for _ in 0..60 {
        world.pass(POLL_EVERY);
    }
    let asked = world.asked_of(0) - before;
    assert!((1..=12).contains(&asked), "{asked}: its circuit is open after four calls of three attempts");
    // That its circuit is open now is told; how many seconds it has been silent for is not told again and again.
    assert!(viewer.read(&world).len() <= 2);
    world.hosts[0].is_down = false;
    for _ in 0..30 {
        world.pass(POLL_EVERY);
    }
    viewer.read(&world);
    assert_eq!(viewer.runtimes["r0"].reachability, Reachability::Reachable);
    assert_eq!((&viewer.runtimes["r0"].failing_since, viewer.runtimes["r0"].diagnostics.len()), (&None, 0));
}

#[test]
fn a_runtime_that_fails_at_first_holds_nobody_up() {
    let mut world = World::new(2, MAX_CHANGES);
    world.hosts[1].is_down = true;
    world.create(0, 1);
    let mut viewer = Viewer::open(&mut world);
    world.pass(Duration::ZERO);
    assert_eq!(viewer.read(&world).len(), 3);
    assert!(viewer.runtimes["r1"].failing_since.is_some());
}

#[test]
fn requests_are_opened_and_resolved() {
    let mut world = World::new(1, MAX_CHANGES);
    world.create(0, 1);
    let mut viewer = Viewer::open(&mut world);
    world.pass(Duration::ZERO);
    viewer.read(&world);
    world.open_request(0, 1, 5);
    world.pass(POLL_EVERY);
    let told: Vec<_> = viewer.read(&world).into_iter().map(change).collect();
    assert!(matches!(&told[..], [FleetChange::WorkerChanged { .. }, FleetChange::RequestOpened { .. }]));
    // One is answered, and another one asked before the gateway looks.
    world.resolve(0, 1, 5);
    world.open_request(0, 1, 6);
    world.pass(POLL_EVERY);
    let told = names(viewer.read(&world));
    assert_eq!(told, ["worker_changed", "request_resolved", "request_opened"]);
    assert_eq!(viewer.requests(), world.requests());
    world.remove(0, 1);
    world.pass(POLL_EVERY);
    assert_eq!(names(viewer.read(&world)), ["worker_gone", "request_resolved"]);
}

#[test]
fn a_viewer_that_lags_is_shown_the_state_anew() {
    let mut world = World::new(1, 3);
    world.create(0, 1);
    let (mut quick, mut slow) = (Viewer::open(&mut world), Viewer::open(&mut world));
    world.pass(Duration::ZERO);
    quick.read(&world);
    slow.read(&world);
    for _ in 0..4 {
        world.change(0, 1);
        world.pass(POLL_EVERY);
        assert_eq!(names(quick.read(&world)), ["worker_changed"]);
    }
    assert_eq!(names(slow.read(&world)), ["snapshot", "runtime"]);
    assert_eq!(slow.workers(), world.workers());
    world.change(0, 1);
    world.pass(POLL_EVERY);
    assert_eq!(names(slow.read(&world)), ["worker_changed"]);
}

#[test]
fn what_the_policy_hides_is_not_there() {
    let mut world = World::new(2, MAX_CHANGES);
    world.hide(0);
    world.create(0, 1);
    world.create(1, 1);
    let mut viewer = Viewer::open(&mut world);
    world.pass(Duration::ZERO);
    viewer.read(&world);
    assert_eq!((viewer.runtimes.len(), world.asked_of(0)), (1, 0));
}

#[test]
fn a_secret_that_becomes_known_is_taken_out_of_rows_that_were_read_before() {
    let mut world = World::new(1, MAX_CHANGES);
    world.create(0, 1);
    let mut viewer = Viewer::open(&mut world);
    world.pass(Duration::ZERO);
    assert!(viewer.read_items(&world).iter().any(|item| contains(item, "objective-of-w1")));
    world.registry.hide("objective-of-w1".parse().unwrap());
    world.pass(POLL_EVERY);
    let told = viewer.read_items(&world);
    assert!(told.len() == 1 && !contains(&told[0], "objective-of-w1"));
}

fn contains(item: &Item, text: &str) -> bool {
    std::str::from_utf8(item.text()).unwrap().contains(text)
}

#[test]
fn what_a_viewer_says_ends_its_stream() {
    let mut world = World::new(1, MAX_CHANGES);
    let mut viewer = Viewer::open(&mut world);
    viewer.session.handle(world.now.instant, ViewerInput::Message);
    let FleetSessionOutput::End(Some(closing)) = viewer.session.poll(world.now.instant, &world.feed) else {
        panic!("{:?}", viewer.session)
    };
    assert_eq!(closing.error().kind(), ErrorKind::ObservationOnly);
    let end = viewer.session.poll(world.now.instant, &world.feed);
    assert!(matches!(end, FleetSessionOutput::End(None)));
}
