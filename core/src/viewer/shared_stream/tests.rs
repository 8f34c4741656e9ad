use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cursor::{CursorKey, UpstreamCursor};
use crate::feed::{FeedLimits, Join};
use crate::policy::AllowAll;
use crate::viewer::FeedReplica;
use crate::watch::Observed;

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn worker() -> WorkerRef {
    WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() }
}

fn context() -> StreamContext {
    let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
    StreamContext::new(key, Arc::new(AllowAll), FeedLimits::default(), 10)
}

fn place(at: &str) -> UpstreamCursor {
    UpstreamCursor::new(at).unwrap()
}

fn observed(at: &str) -> Observed {
    Observed { upstream_cursor: place(at), event_id: at.into(), payload: "{}".into() }
}

struct Scene {
    now: Instant,
    stream: SharedStream,
}

impl Scene {
    fn new() -> Self {
        let now = epoch();
        Self { now, stream: SharedStream::new(now, &context(), worker(), 7) }
    }

    fn viewed() -> Self {
        let mut scene = Self::new();
        scene.hears(SharedStreamInput::Viewed);
        scene
    }

    fn hears(&mut self, input: SharedStreamInput) {
        self.stream.handle(self.now, input);
    }

    fn watch_says(&mut self, event: WatchEvent) {
        self.hears(SharedStreamInput::Watch(event));
    }

    /// What it says now, in short.
    fn says(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            said.push(match self.stream.poll(self.now) {
                SharedStreamOutput::Observed(Ok(())) => "observed".to_owned(),
                SharedStreamOutput::Observed(Err(error)) => format!("observed {}", error.kind().code()),
                SharedStreamOutput::Update(FeedUpdate::Frame(item)) => match item.upstream_cursor() {
                    Some(place) => place.as_str().to_owned(),
                    None => "notice".to_owned(),
                },
                SharedStreamOutput::Update(FeedUpdate::Shrunk(first)) => format!("shrunk to {first}"),
                SharedStreamOutput::Update(FeedUpdate::Ended(error)) => {
                    format!("ended {}", error.kind().code())
                }
                SharedStreamOutput::Wait { until, why } => {
                    assert_eq!(until.is_some(), why == SharedStreamWait::Linger);
                    assert!(until.is_none_or(|until| until > self.now));
                    return said;
                }
                SharedStreamOutput::End => {
                    said.push("end".to_owned());
                    return said;
                }
            });
        }
    }

    fn passes(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.says()
    }
}

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn what_a_watch_says_goes_to_the_feed_the_replicas_and_the_registry() {
    let mut scene = Scene::viewed();
    scene.watch_says(WatchEvent::Live);
    scene.watch_says(WatchEvent::Snapshot(observed("c0")));
    scene.watch_says(WatchEvent::Event(observed("c1")));
    assert_eq!(scene.says(), ["observed", "c0", "c1"]);
    assert!(matches!(scene.stream.feed().join(Some(&place("c1"))), Join::Ready(..)));
    scene.watch_says(WatchEvent::Disconnected { retry_after: MOMENT });
    scene.watch_says(WatchEvent::Live);
    scene.watch_says(WatchEvent::Resumed { nothing_missed: true });
    assert_eq!(scene.says(), ["notice", "observed", "notice"]);
    assert_eq!(scene.stream.ended(), None);
}

#[test]
fn the_end_of_the_watch_is_told_to_all() {
    for (result, code) in [(Err(Error::new(ErrorKind::Unsupported)), "unsupported"), (Ok(()), "internal")] {
        let mut scene = Scene::viewed();
        scene.watch_says(WatchEvent::Snapshot(observed("c0")));
        let observed = match &result {
            Ok(()) => "observed".to_owned(),
            Err(_) => format!("observed {code}"),
        };
        scene.hears(SharedStreamInput::WatchEnded(result));
        assert_eq!(scene.stream.ended().unwrap().kind().code(), code);
        // It is over: nothing of what comes now is its own.
        scene.watch_says(WatchEvent::Event(self::observed("c1")));
        scene.hears(SharedStreamInput::WatchEnded(Ok(())));
        assert_eq!(scene.says(), ["c0".to_owned(), observed, format!("ended {code}"), "end".to_owned()]);
    }
}

#[test]
fn it_outlives_its_last_viewer_for_a_while() {
    let mut scene = Scene::viewed();
    assert_eq!(scene.passes(LINGER * 10), [] as [&str; 0], "while it has viewers");
    scene.hears(SharedStreamInput::Unviewed);
    assert_eq!(scene.passes(LINGER - MOMENT), [] as [&str; 0]);
    scene.hears(SharedStreamInput::Viewed);
    assert_eq!(scene.passes(LINGER * 10), [] as [&str; 0], "a viewer came in time");
    scene.hears(SharedStreamInput::Unviewed);
    assert_eq!(scene.passes(LINGER), ["end"]);
    assert_eq!(scene.passes(LINGER), ["end"]);
    assert_eq!(scene.stream.ended(), None, "there is no viewer to be told");
}

#[test]
fn a_stream_that_never_gets_a_viewer_ends() {
    let mut scene = Scene::new();
    assert_eq!(scene.passes(LINGER - MOMENT), [] as [&str; 0]);
    assert_eq!(scene.passes(MOMENT), ["end"]);
}

#[test]
fn the_time_counts_from_when_the_last_viewer_left() {
    let mut scene = Scene::viewed();
    scene.hears(SharedStreamInput::Unviewed);
    scene.passes(Duration::from_secs(1));
    // A replica takes another copy, and its viewers leave soon after.
    scene.hears(SharedStreamInput::Viewed);
    scene.passes(Duration::from_secs(1));
    scene.hears(SharedStreamInput::Unviewed);
    scene.passes(Duration::from_secs(1));
    scene.hears(SharedStreamInput::Unviewed);
    assert_eq!(scene.passes(LINGER - Duration::from_secs(1) - MOMENT), [] as [&str; 0]);
    assert_eq!(scene.passes(MOMENT), ["end"]);
}

#[test]
fn a_replica_is_what_the_feed_is() {
    let mut scene = Scene::viewed();
    scene.watch_says(WatchEvent::Snapshot(observed("c0")));
    scene.says();
    let mut replica = FeedReplica::new(FeedLimits::default());
    assert!(matches!(replica.feed().join(None), Join::NotYet));
    replica.begin(scene.stream.copy());
    assert!(matches!(replica.feed().join(Some(&place("c0"))), Join::Ready(..)));
    scene.watch_says(WatchEvent::Event(observed("c1")));
    let SharedStreamOutput::Update(update) = scene.stream.poll(scene.now) else { panic!() };
    replica.apply(update);
    assert!(matches!(replica.feed().join(Some(&place("c1"))), Join::Ready(..)));
    // Updates were missed: another copy has them, and positions go on to hold.
    let Join::Ready(mut position, _) = replica.feed().join(Some(&place("c1"))) else { panic!() };
    replica.feed().next(&mut position);
    scene.watch_says(WatchEvent::Event(observed("c2")));
    scene.says();
    replica.begin(scene.stream.copy());
    let crate::feed::Next::Frame(item) = replica.feed().next(&mut position) else { panic!() };
    assert_eq!(item.upstream_cursor(), Some(&place("c2")));
    assert_eq!(replica.ended(), None);
}

#[test]
fn how_a_replica_ends() {
    let end = |act: &dyn Fn(&mut FeedReplica)| {
        let mut replica = FeedReplica::new(FeedLimits::default());
        replica.begin(Scene::new().stream.copy());
        act(&mut replica);
        replica.disconnect();
        replica.ended().unwrap().kind()
    };
    let ended = FeedUpdate::Ended(Error::new(ErrorKind::RuntimeError));
    assert_eq!(end(&|replica| replica.apply(ended.clone())), ErrorKind::RuntimeError);
    let other = SharedStream::new(epoch(), &context(), worker(), 8);
    assert_eq!(end(&|replica| replica.begin(other.copy())), ErrorKind::ViewerLagged);
    assert_eq!(end(&|_| {}), ErrorKind::GoingAway);
}

#[test]
fn what_is_printed_of_a_stream() {
    let printed = format!("{:?}", Scene::new().stream);
    assert!(printed.contains('7') && printed.contains("rt"), "{printed}");
}

#[test]
fn feeds_that_take_too_much_together_let_go_of_their_oldest() {
    const MAX: usize = 3 * MIN_RING;
    let (context, mut now) = (context().with_frame_memory(MAX), epoch());
    let event = |number: u64| {
        let payload = format!("\"{}\"", "x".repeat(1000)).into();
        WatchEvent::Event(Observed { payload, ..observed(&number.to_string()) })
    };
    let mut streams: Vec<(SharedStream, FeedReplica)> = (0..4)
        .map(|number| {
            let stream = SharedStream::new(now, &context, worker(), number);
            let mut replica = FeedReplica::new(context.limits());
            replica.begin(stream.copy());
            (stream, replica)
        })
        .collect();
    let (mut largest, mut shrunk) = (0, 0);
    for number in 0..600 {
        for (stream, replica) in &mut streams {
            now += Duration::from_millis(1);
            stream.handle(now, SharedStreamInput::Watch(event(number)));
            while let SharedStreamOutput::Update(update) = stream.poll(now) {
                shrunk += usize::from(matches!(update, FeedUpdate::Shrunk(_)));
                replica.apply(update);
            }
            assert_eq!(replica.feed().retained(), stream.feed().retained());
            assert_eq!(replica.feed().end(), stream.feed().end());
        }
        largest = largest.max(context.frame_memory());
    }
    assert!(shrunk > 0);
    // Four feeds that each keep what they keep in any case have more than they may have together.
    assert!(largest <= 4 * MIN_RING + 8 * 1200, "{largest}");
    for (stream, _) in &streams {
        let (frames, bytes) = stream.feed().retained();
        assert!(frames > 1 && bytes > MIN_RING / 2, "{frames} frames, {bytes} bytes");
    }
    drop(streams);
    assert_eq!(context.frame_memory(), 0);
}
