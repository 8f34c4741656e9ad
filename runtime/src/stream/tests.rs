use std::sync::atomic::AtomicU32;
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Counted(AtomicU32);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const MAX_EVENTS: usize = 1000;
const MAX_EVENT_BYTES: usize = 1_000_000;

fn stream() -> Arc<Stream> {
    let limits =
        Limits { max_backlog_events: MAX_EVENTS, max_backlog_bytes: MAX_EVENT_BYTES, ..Limits::default() };
    Arc::new(Stream::new(&limits, None, Vec::new()))
}

fn push(stream: &Stream, event_id: u64, text: &'static str) {
    stream.push(StreamFrame { event_id, text: text.into() }).into_values().for_each(Waker::wake);
}

fn poll(view: &mut View) -> Poll<Result<Bytes, Diagnostic<'static>>> {
    view.poll(&mut Context::from_waker(Waker::noop()))
}

fn frame(text: &'static str) -> Poll<Result<Bytes, Diagnostic<'static>>> {
    Poll::Ready(Ok(text.into()))
}

#[test]
fn places_are_events_of_this_stream_that_are_kept_or_just_not() {
    let stream = stream();
    assert!(stream.join_after(0).is_none());
    for event_id in (2..).step_by(3).take(MAX_EVENTS) {
        push(&stream, event_id, "x");
    }
    let last = 2 + 3 * (MAX_EVENTS as u64 - 1);
    let next = |place: u64| stream.join_after(place).map(|view| view.next);
    for (place, expected) in [
        (0, None),
        (1, None),
        (2, Some(1)),
        (3, None),
        (5, Some(2)),
        (last, Some(MAX_EVENTS as u64)),
        (last + 1, None),
        (u64::MAX, None),
    ] {
        assert_eq!(next(place), expected, "{place}");
    }
    // Of one that has just gone everything after it is kept, of the one before it is not.
    push(&stream, last + 3, "x");
    assert_eq!((next(2), next(5)), (Some(1), Some(2)));
    push(&stream, last + 6, "x");
    assert_eq!((next(2), next(5)), (None, Some(2)));
    let (place, view) = stream.join();
    assert_eq!((place, view.next), (last + 6, MAX_EVENTS as u64 + 2));
}

#[test]
fn the_backlog_and_what_follows_are_one() {
    let stream = stream();
    push(&stream, 2, "two");
    push(&stream, 4, "four");
    let mut view = stream.join_after(2).unwrap();
    assert_eq!(poll(&mut view), frame("four"));
    assert!(poll(&mut view).is_pending());
    push(&stream, 5, "five");
    push(&stream, 6, "six");
    assert_eq!((poll(&mut view), poll(&mut view)), (frame("five"), frame("six")));
    push(&stream, 7, "seven");
    stream.close(Diagnostic::Unavailable).into_values().for_each(Waker::wake);
    assert_eq!(poll(&mut view), frame("seven"));
    assert_eq!(poll(&mut view), Poll::Ready(Err(Diagnostic::Unavailable)));
}

#[test]
fn frames_are_shared() {
    let stream = stream();
    let (mut one, mut other) = (stream.join().1, stream.join().1);
    let _ = stream.push(StreamFrame { event_id: 1, text: Bytes::from(b"frame".to_vec()) });
    let (Poll::Ready(Ok(one)), Poll::Ready(Ok(other))) = (poll(&mut one), poll(&mut other)) else { panic!() };
    assert_eq!(one.as_ptr(), other.as_ptr());
}

#[test]
fn a_subscriber_that_is_overrun_is_told() {
    let bytes = |count: usize| Bytes::from(vec![b'x'; count - EVENT_COST]);
    for (frames, overrun) in [
        (vec![bytes(100); MAX_EVENTS], false),
        (vec![bytes(100); MAX_EVENTS + 1], true),
        (vec![bytes(MAX_EVENT_BYTES / 2); 2], false),
        (vec![bytes(MAX_EVENT_BYTES / 2); 3], true),
        (vec![bytes(MAX_EVENT_BYTES * 2)], false),
    ] {
        let stream = stream();
        let (_, mut view) = stream.join();
        for (event_id, frame) in (1..).zip(frames) {
            let _ = stream.push(StreamFrame { event_id, text: frame });
        }
        assert_eq!(poll(&mut view) == Poll::Ready(Err(Diagnostic::CursorExpired)), overrun);
    }
}

#[test]
fn a_slow_subscriber_is_waited_for_but_not_for_long() {
    let stream = stream();
    let (now, later) = (Instant::now(), Instant::now() + CATCH_UP);
    let fill = |count: usize| {
        let first = stream.inside().backlog.total();
        (first..).take(count).for_each(|event_id| push(&stream, event_id, "x"));
    };
    fill(MAX_EVENTS);
    assert!(stream.has_room(now), "there is no subscriber");
    let (mut slow, mut fast) = (stream.join().1, stream.join().1);
    fill(MAX_EVENTS / 2);
    assert!(stream.has_room(now), "half of it is not yet crowded");
    fill(1);
    assert!(!stream.has_room(now));
    while poll(&mut fast).is_ready() {}
    assert!(!stream.has_room(now), "there is another one");
    assert_eq!(poll(&mut slow), frame("x"));
    assert!(stream.has_room(now), "it has come on");

    fill(1);
    assert!(!stream.has_room(now));
    assert!(stream.has_room(later), "that was long enough");
    fill(1);
    assert!(stream.has_room(later), "one that was left behind is not waited for again");
    while poll(&mut slow).is_ready() {}
    fill(MAX_EVENTS / 2 + 1);
    assert!(!stream.has_room(later), "until it has caught up");
    drop((slow, fast));
    assert!(stream.has_room(later));
}

#[test]
fn one_waker_for_each_and_none_for_those_that_are_gone() {
    let stream = stream();
    let wakers = [(); 3].map(|()| Arc::<Counted>::default());
    let poll = |view: &mut View, counted: &Arc<Counted>| {
        view.poll(&mut Context::from_waker(&Waker::from(Arc::clone(counted)))).is_pending()
    };
    let (mut one, mut other) = (stream.join().1, stream.join().1);
    assert!(poll(&mut one, &wakers[0]) && poll(&mut one, &wakers[1]) && poll(&mut other, &wakers[2]));
    assert_eq!(stream.inside().waiting.len(), 2);
    drop(other);
    assert_eq!(stream.inside().waiting.len(), 1);
    push(&stream, 1, "x");
    push(&stream, 2, "x");
    assert_eq!(wakers.each_ref().map(|waker| waker.0.load(Ordering::Relaxed)), [0, 1, 0]);
    assert!(stream.inside().waiting.is_empty());
    assert!(!poll(&mut one, &wakers[1]) && !poll(&mut one, &wakers[1]) && poll(&mut one, &wakers[1]));
    stream.close(Diagnostic::Unavailable).into_values().for_each(Waker::wake);
    assert_eq!(wakers[1].0.load(Ordering::Relaxed), 2);
}

#[test]
fn subscriptions_are_counted() {
    let subscriptions = Subscriptions::new(5);
    let mut permits: Vec<_> = (0..9).map_while(|_| subscriptions.admit()).collect();
    assert_eq!(permits.len(), 5);
    assert!(subscriptions.admit().is_none());
    permits.pop();
    assert!(subscriptions.admit().is_some());
}

#[test]
fn what_was_kept_is_gone_on_from() {
    let limits = Limits { max_backlog_events: 3, ..Limits::default() };
    let kept = |ids: &[u64]| ids.iter().map(|id| StreamFrame { event_id: *id, text: "x".into() }).collect();
    let next = |stream: &Arc<Stream>, place: u64| stream.join_after(place).map(|view| view.next);
    let stream = Arc::new(Stream::new(&limits, Some(3), kept(&[5, 8])));
    assert_eq!([3, 5, 8, 4, 0].map(|place| next(&stream, place)), [Some(0), Some(1), Some(2), None, None]);
    let stream = Arc::new(Stream::new(&limits, Some(3), kept(&[5, 8, 9, 12])));
    assert_eq!([3, 5, 12].map(|place| next(&stream, place)), [None, Some(1), Some(4)]);
    // Where nothing was kept, the newest event is still a place.
    let stream = Arc::new(Stream::new(&limits, Some(7), Vec::new()));
    assert_eq!((stream.join().0, next(&stream, 7), next(&stream, 6)), (7, Some(0), None));
}

#[test]
fn a_backlog_can_be_given_up() {
    let stream = stream();
    (1..=4).for_each(|event_id| push(&stream, event_id, "xxxx"));
    let (_, view) = stream.join();
    let each = EVENT_COST + 4;
    assert_eq!((stream.bytes(), stream.reduce(4 * each)), (4 * each, false));
    assert!(stream.reduce(2 * each));
    assert_eq!((stream.bytes(), stream.join_after(1).is_some()), (2 * each, false));
    assert!(stream.join_after(2).is_some());
    assert!(stream.reduce(0) && !stream.reduce(0), "the newest event stays");
    drop(view);
}
