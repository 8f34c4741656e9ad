use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cursor::{COMPARISONS, CursorKey};
use crate::error::{Error, ErrorKind};
use crate::id::WorkerRef;
use crate::policy::AllowAll;
use crate::watch::{Observed, WatchEvent};

fn worker() -> WorkerRef {
    WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() }
}

fn encoder(max_event: usize) -> Encoder {
    let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
    Encoder::new(&key, worker(), Arc::new(AllowAll), max_event)
}

fn place(text: &str) -> UpstreamCursor {
    UpstreamCursor::new(text).unwrap()
}

fn observed(at: &str, payload: &str) -> Observed {
    Observed {
        upstream_cursor: place(at),
        event_id: at.into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

fn encode(event: WatchEvent) -> Item {
    encoder(100).encode(event).unwrap()
}

fn snapshot(at: &str) -> Item {
    encode(WatchEvent::Snapshot(observed(at, "{}")))
}

fn event(at: &str) -> Item {
    encode(WatchEvent::Event(observed(at, "{}")))
}

fn away() -> Item {
    encode(WatchEvent::Disconnected { retry_after: Duration::from_millis(50) })
}

fn gap() -> Item {
    encode(WatchEvent::Resynchronized)
}

fn feed(max_frames: usize, items: impl IntoIterator<Item = Item>) -> Feed {
    let mut feed = Feed::new(FeedLimits { max_frames, ..FeedLimits::default() });
    items.into_iter().for_each(|item| feed.apply(item));
    feed
}

/// What a viewer is given now, in short.
fn given(feed: &Feed, viewer: &mut FeedPosition) -> Vec<String> {
    let mut given = Vec::new();
    loop {
        given.push(match feed.next(viewer) {
            Next::Frame(item) => match item.upstream_cursor() {
                Some(place) => place.as_str().to_owned(),
                None => code(&item),
            },
            Next::CaughtUp => "caught_up".to_owned(),
            Next::Nothing => return given,
            Next::Lagged => {
                given.push("lagged".to_owned());
                return given;
            }
        });
    }
}

fn code(item: &Item) -> String {
    let text: Value = serde_json::from_slice(item.text()).unwrap();
    text["diagnostic"]["code"].as_str().unwrap().to_owned()
}

#[track_caller]
fn ready(feed: &Feed, at: Option<&str>) -> (FeedPosition, Option<Item>) {
    match feed.join(at.map(place).as_ref()) {
        Join::Ready(viewer, opening) => (viewer, opening),
        other => panic!("{other:?}"),
    }
}

#[test]
fn frames_are_as_the_contract_has_them() {
    let mut encoder = encoder(100);
    let event = WatchEvent::Event(observed("c\"1", "{\"event\":\"x\",\n\"data\":[1, 2]}"));
    let item = encoder.encode(event).unwrap();
    let text: Value = serde_json::from_slice(item.text()).unwrap();
    let expected = json!({"kind": "event", "envelope": {"cursor": item.cursor().unwrap(), "event_id": "c\"1",
        "runtime_id": "rt", "worker_id": "w", "payload": {"event": "x", "data": [1, 2]}}});
    assert_eq!(text, expected);
    assert!(!item.text().contains(&b'\n'), "one line, so that it can be an event of text/event-stream");
    assert_eq!(encoder.open(item.cursor().unwrap()), Ok(place("c\"1")));

    let text: Value = serde_json::from_slice(away().text()).unwrap();
    let expected = json!({"kind": "diagnostic", "diagnostic": {"code": "upstream_disconnected",
        "severity": "warning", "message": "the runtime is away; it is being tried again", "retry_after_ms": 50}});
    assert_eq!(text, expected);
    assert!(away().cursor().is_none());

    let last: Value =
        serde_json::from_slice(closing_diagnostic(&Error::new(ErrorKind::ViewerLagged)).text()).unwrap();
    let expected = json!({"kind": "diagnostic", "diagnostic": {"code": "viewer_lagged", "severity": "error",
        "message": "The viewer did not keep up with the stream"}});
    assert_eq!(last, expected);
}

#[test]
fn an_event_that_is_too_large_has_a_placeholder_and_its_cursor() {
    let mut encoder = encoder(100);
    let item = encoder.encode(WatchEvent::Event(observed("c1", &format!("\"{}\"", "x".repeat(99))))).unwrap();
    let text: Value = serde_json::from_slice(item.text()).unwrap();
    let payload = json!({"event": "sekisho.event_too_large", "data": {"bytes": 101}});
    assert_eq!(text["envelope"]["payload"], payload);
    assert_eq!(encoder.open(item.cursor().unwrap()), Ok(place("c1")));
}

#[test]
fn cursor_faults_have_their_kinds() {
    let mut encoder = encoder(100);
    assert_eq!(encoder.open("nonsense").unwrap_err().kind(), ErrorKind::CursorMalformed);
    let other = CursorKey::from_bytes([8; CursorKey::LENGTH]);
    let mut other = Encoder::new(&other, worker(), Arc::new(AllowAll), 100);
    let foreign = other.encode(WatchEvent::Event(observed("c1", "{}"))).unwrap();
    assert_eq!(encoder.open(foreign.cursor().unwrap()).unwrap_err().kind(), ErrorKind::CursorUnknown);
}

#[test]
fn without_a_place_a_snapshot_comes_first() {
    let mut feed = feed(10, [snapshot("c0"), event("c1")]);
    let (mut viewer, opening) = ready(&feed, None);
    assert_eq!(opening.unwrap().upstream_cursor(), Some(&place("c0")));
    assert_eq!(given(&feed, &mut viewer), ["c1", "caught_up"]);
    feed.apply(event("c2"));
    assert_eq!(given(&feed, &mut viewer), ["c2"]);
}

#[test]
fn with_a_place_exactly_what_came_after_it() {
    let feed = feed(10, [snapshot("c0"), event("c1"), event("c2")]);
    for (at, after) in
        [("c0", &["c1", "c2", "caught_up"][..]), ("c1", &["c2", "caught_up"]), ("c2", &["caught_up"])]
    {
        let (mut viewer, opening) = ready(&feed, Some(at));
        assert!(opening.is_none());
        assert_eq!(given(&feed, &mut viewer), after, "{at}");
    }
    assert!(matches!(feed.join(Some(&place("b9"))), Join::NeedsReplay));
}

#[test]
fn before_the_first_snapshot_there_is_nothing_to_join() {
    let feed = feed(10, []);
    assert!(matches!(feed.join(None), Join::NotYet));
    assert!(matches!(feed.join(Some(&place("c0"))), Join::NotYet));
}

#[test]
fn what_has_left_the_ring_is_asked_for_elsewhere() {
    let mut feed = feed(2, [snapshot("c0"), event("c1")]);
    let (mut viewer, _) = ready(&feed, None);
    feed.apply(event("c2"));
    assert!(matches!(feed.join(None), Join::Ready(..)), "the snapshot itself need not be in the ring");
    feed.apply(event("c3"));
    assert!(matches!(feed.join(None), Join::NeedsSnapshot));
    assert!(matches!(feed.join(Some(&place("c0"))), Join::NeedsReplay));
    assert!(matches!(feed.join(Some(&place("c2"))), Join::Ready(..)));
    assert_eq!(given(&feed, &mut viewer), ["lagged"]);
    assert_eq!(feed.retained().0, 2);
}

#[test]
fn the_ring_is_bounded_by_bytes_too() {
    let limits = FeedLimits { max_bytes: 1000, ..FeedLimits::default() };
    let mut feed = Feed::new(limits);
    feed.apply(snapshot("c0"));
    for number in 0..100 {
        feed.apply(event(&format!("c{number}")));
        assert!(feed.retained().1 <= 1000);
    }
    assert_eq!(feed.retained().1, feed.ring.iter().map(|item| item.event().len()).sum::<usize>());
}

#[test]
fn the_newest_frame_is_kept_however_large_it_is() {
    let limits = FeedLimits { max_bytes: 600, ..FeedLimits::default() };
    let mut feed = Feed::new(limits);
    feed.apply(snapshot("c0"));
    let (mut viewer, _) = ready(&feed, None);
    assert_eq!(given(&feed, &mut viewer), ["caught_up"]);
    let text = format!("\"{}\"", "x".repeat(700));
    let large = encoder(1000).encode(WatchEvent::Event(observed("c1", &text))).unwrap();
    assert!(large.text().len() > limits.max_bytes);
    feed.apply(large);
    assert_eq!(given(&feed, &mut viewer), ["c1"], "a viewer that keeps up has not lagged");
    assert_eq!(feed.retained().0, 1);
    feed.apply(event("c2"));
    assert_eq!((given(&feed, &mut viewer), feed.retained().0), (vec!["c2".to_owned()], 1));
}

#[test]
fn outages_are_told_to_those_who_are_there() {
    let mut feed = feed(10, [snapshot("c0")]);
    let (mut viewer, _) = ready(&feed, None);
    feed.apply(away());
    feed.apply(event("c1"));
    assert_eq!(given(&feed, &mut viewer), ["caught_up", "upstream_disconnected", "c1"]);
    let (mut late, _) = ready(&feed, Some("c0"));
    assert_eq!(given(&feed, &mut late), ["c1", "caught_up"]);
}

#[test]
fn a_viewer_that_joins_while_the_runtime_is_away_is_told_before_it_is_live() {
    let mut feed = feed(3, [snapshot("c0"), away(), away()]);
    for from in [None, Some("c0")] {
        let (mut viewer, _) = ready(&feed, from);
        assert_eq!(given(&feed, &mut viewer), ["upstream_disconnected", "caught_up"]);
    }
    // What has come since it joined is told in its place.
    let (mut viewer, _) = ready(&feed, None);
    feed.apply(encode(WatchEvent::Resumed { nothing_missed: true }));
    assert_eq!(given(&feed, &mut viewer), ["upstream_disconnected", "caught_up", "upstream_resumed"]);
    let (mut late, _) = ready(&feed, Some("c0"));
    assert_eq!(given(&feed, &mut late), ["caught_up"]);
}

#[test]
fn a_gap_is_told_to_all_who_pass_it() {
    let mut feed = feed(10, [snapshot("c0"), event("c1")]);
    let (mut viewer, _) = ready(&feed, None);
    for item in [away(), gap(), snapshot("d0"), event("d1")] {
        feed.apply(item);
    }
    let (mut late, _) = ready(&feed, Some("c1"));
    assert_eq!(given(&feed, &mut late), ["resynchronized", "d0", "d1", "caught_up"]);
    assert_eq!(
        given(&feed, &mut viewer),
        ["c1", "caught_up", "upstream_disconnected", "resynchronized", "d0", "d1"]
    );
    let (_, opening) = ready(&feed, None);
    assert_eq!(opening.unwrap().upstream_cursor(), Some(&place("d0")));
}

#[test]
fn outages_push_nobody_out_who_has_seen_everything() {
    let flooded = |items: Vec<Item>| feed(3, items.into_iter().chain([away(), away(), away(), away()]));
    let after_event = flooded(vec![snapshot("c0"), event("c1")]);
    let (mut viewer, opening) = ready(&after_event, Some("c1"));
    assert!(opening.is_none());
    assert_eq!(given(&after_event, &mut viewer), ["upstream_disconnected", "caught_up"]);
    assert!(matches!(after_event.join(Some(&place("c0"))), Join::NeedsReplay));
    assert!(matches!(after_event.join(None), Join::NeedsSnapshot));

    let after_snapshot = flooded(vec![event("b9"), snapshot("c0")]);
    for from in [None, Some("c0")] {
        let (mut viewer, opening) = ready(&after_snapshot, from);
        assert_eq!(opening.is_some(), from.is_none());
        assert_eq!(given(&after_snapshot, &mut viewer), ["upstream_disconnected", "caught_up"]);
    }
}

#[test]
fn a_place_is_found_as_fast_in_a_full_ring_as_in_a_small_one() {
    let full = feed(8192, (0..8192).map(|number| event(&format!("c{number}"))).chain([snapshot("d0")]));
    for (at, is_there) in [("c1", true), ("c5000", true), ("d0", true), ("c0", false), ("b9", false)] {
        let at = place(at);
        let before = COMPARISONS.get();
        let joined = full.join(Some(&at));
        let comparisons = COMPARISONS.get() - before;
        assert_eq!(matches!(joined, Join::Ready(..)), is_there, "{at:?}");
        // One in the index, one with the snapshot, two with the newest.
        assert!(comparisons <= 8, "{comparisons} comparisons among {} frames", full.retained().0);
    }
}

proptest! {
    #[test]
    fn a_place_is_where_the_ring_has_it_last(
        cursors in prop::collection::vec(0..12u8, 0..60),
        max_frames in 1..10usize,
    ) {
        let items = cursors.iter().map(|number| event(&format!("c{number}")));
        let feed = feed(max_frames, [snapshot("s")].into_iter().chain(items));
        for number in 0..12u8 {
            let wanted = place(&format!("c{number}"));
            let last = feed.ring.iter().rposition(|item| item.upstream_cursor() == Some(&wanted));
            let after = |position: FeedPosition| position.next - feed.first;
            match feed.join(Some(&wanted)) {
                Join::Ready(position, None) => prop_assert_eq!(last.map(|last| last as u64 + 1), Some(after(position))),
                other => prop_assert!(last.is_none() && matches!(other, Join::NeedsReplay)),
            }
        }
        prop_assert!(feed.numbers.as_ref().unwrap().len() <= feed.ring.len(), "the index holds nothing that the ring does not");
    }
}
