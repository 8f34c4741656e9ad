//! Random schedules: whatever a session hears, and in whatever order, it stays in its bounds.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Feed(u8),
    FeedSpeaks(u8),
    Replay(u8),
    ReplaySpeaks(u8),
    ReplayEnded,
    StreamEnded,
    Written,
    Pong,
    Message,
    Drain,
    Gone,
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_000u64).prop_map(Step::Pass),
        8 => any::<u8>().prop_map(Step::Feed),
        2 => any::<u8>().prop_map(Step::FeedSpeaks),
        12 => any::<u8>().prop_map(Step::Replay),
        4 => any::<u8>().prop_map(Step::ReplaySpeaks),
        1 => Just(Step::ReplayEnded),
        1 => Just(Step::StreamEnded),
        12 => Just(Step::Written),
        6 => Just(Step::Pong),
        1 => Just(Step::Message),
        1 => Just(Step::Drain),
        1 => Just(Step::Gone),
        24 => Just(Step::Poll),
    ]
}

fn notice(which: u8) -> WatchEvent {
    match which % 4 {
        0 => WatchEvent::Live,
        1 => away(),
        2 => WatchEvent::Resumed { nothing_missed: true },
        _ => WatchEvent::Resynchronized,
    }
}

/// An event, now and then a snapshot, at one of a few cursors that come again.
fn any_event(which: u8) -> WatchEvent {
    let at = format!("c{}", which % 13);
    if which.is_multiple_of(5) { snapshot(&at) } else { event(&at) }
}

/// What a driver knows of its session.
struct Driver {
    context: Arc<StreamContext>,
    replay: Option<SharedStream>,
    writing: bool,
    ended: bool,
    frames: usize,
}

impl Driver {
    fn replay_hears(&mut self, now: Instant, event: WatchEvent) {
        if let Some(replay) = &mut self.replay {
            replay.handle(now, SharedStreamInput::Watch(event));
        }
        self.drive_replay(now);
    }

    fn drive_replay(&mut self, now: Instant) {
        let Some(replay) = &mut self.replay else { return };
        while matches!(replay.poll(now), SharedStreamOutput::Update(_)) {}
    }

    fn obey(&mut self, now: Instant, output: ViewerOutput) {
        if self.ended {
            assert!(matches!(output, ViewerOutput::End(None)), "{output:?} after the end");
            return;
        }
        match output {
            ViewerOutput::Frame(_) | ViewerOutput::Ping => {
                assert!(!self.writing, "two things to write at once");
                self.writing = true;
                self.frames += 1;
            }
            ViewerOutput::OpenReplay(order) => {
                assert!(self.replay.is_none() && !self.writing);
                self.replay = Some(SharedStream::replay(now, &self.context, order, 1));
            }
            ViewerOutput::WakeReplay => self.drive_replay(now),
            ViewerOutput::CloseReplay => assert!(self.replay.take().is_some()),
            ViewerOutput::Wait { until, why } => {
                assert!(until > now, "it waits for what is past: {why:?}");
                assert_eq!(why == ViewerWait::Write, self.writing);
            }
            ViewerOutput::End(closing) => {
                self.ended = true;
                if let Some(closing) = closing {
                    assert!(matches!(closing.close_code(), 1001 | 1008 | 4001..=4599));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_session_hears_upsets_it(
        with_cursor in any::<bool>(),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut now = epoch();
        let context = context(4, 3);
        let mut encoder = context.encoder(worker());
        let cursor = with_cursor.then(|| encoder.encode(event("c0")).unwrap().cursor().unwrap().to_owned());
        let request = StreamRequest { worker: worker(), cursor, client: None };
        let mut session = ViewerSession::open(now, &context, &registry(), request).unwrap();
        let mut feed = Feed::new(context.limits());
        let mut driver =
            Driver { context: context.clone(), replay: None, writing: false, ended: false, frames: 0 };
        let mut heard = 0;
        for step in steps {
            let input = match step {
                Step::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    continue;
                }
                Step::Feed(which) => {
                    encoder.encode(any_event(which)).into_iter().for_each(|item| feed.apply(item));
                    heard += 1;
                    continue;
                }
                Step::FeedSpeaks(which) => {
                    encoder.encode(notice(which)).into_iter().for_each(|item| feed.apply(item));
                    heard += 1;
                    continue;
                }
                Step::Poll => {
                    let output = session.poll(now, &feed, driver.replay.as_ref().map(SharedStream::feed));
                    driver.obey(now, output);
                    continue;
                }
                Step::Replay(which) => {
                    driver.replay_hears(now, any_event(which));
                    heard += 1;
                    continue;
                }
                Step::ReplaySpeaks(which) => {
                    driver.replay_hears(now, notice(which));
                    heard += 1;
                    continue;
                }
                Step::ReplayEnded => ViewerInput::ReplayEnded(Error::new(ErrorKind::CursorExpired)),
                Step::StreamEnded => ViewerInput::StreamEnded(Error::new(ErrorKind::RuntimeError)),
                Step::Written => {
                    driver.writing = false;
                    ViewerInput::Written
                }
                Step::Pong => ViewerInput::Pong,
                Step::Message => ViewerInput::Message,
                Step::Drain => ViewerInput::Drain,
                Step::Gone => ViewerInput::Gone,
            };
            heard += 1;
            session.handle(now, input);
        }
        // Then it is driven as it should be, and comes to rest: it waits, or has ended.
        for round in 0.. {
            driver.writing = false;
            session.handle(now, ViewerInput::Written);
            let output = session.poll(now, &feed, driver.replay.as_ref().map(SharedStream::feed));
            let rests = matches!(output, ViewerOutput::Wait { .. } | ViewerOutput::End(_));
            driver.obey(now, output);
            if rests {
                break;
            }
            prop_assert!(round < heard + 20, "it goes on and on");
        }
        prop_assert!(driver.frames <= 2 * heard + 20);
        drop((session, driver));
        prop_assert_eq!(context.viewers(), 0);
        prop_assert_eq!(context.replays(), 0);
    }
}
