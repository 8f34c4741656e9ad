//! Every state that a session can be in, and what each input does there.

use super::*;

/// A session, its feed, and a clock.
struct Scene {
    now: Instant,
    context: Arc<StreamContext>,
    feed: Feed,
    session: ViewerSession,
    replay: Option<SharedStream>,
}

/// What is known of a worker before its viewer comes.
struct Scenario {
    ring: usize,
    feed: Vec<WatchEvent>,
    cursor: Option<&'static str>,
}

/// The feed's ring begins after `c1`: it has `c2` and `c3`.
fn overrun(cursor: Option<&'static str>) -> Scenario {
    Scenario { ring: 2, feed: vec![snapshot("c0"), event("c1"), event("c2"), event("c3")], cursor }
}

fn fresh(feed: &[WatchEvent]) -> Scenario {
    Scenario { ring: 100, feed: feed.to_vec(), cursor: None }
}

impl Scenario {
    fn with(self, cursor: &'static str) -> Self {
        Self { cursor: Some(cursor), ..self }
    }

    /// A session that has said nothing yet.
    fn opened(self) -> Scene {
        let now = epoch();
        let context = context(self.ring, 10);
        let mut encoder = context.encoder(worker());
        let mut seal = |at: &str| encoder.encode(event(at)).unwrap().cursor().unwrap().to_owned();
        let request = StreamRequest { worker: worker(), cursor: self.cursor.map(&mut seal), client: None };
        let session = ViewerSession::open(now, &context, &registry(), request).unwrap();
        let mut scene = Scene { now, feed: Feed::new(context.limits()), context, session, replay: None };
        self.feed.into_iter().for_each(|event| scene.comes(event));
        scene
    }

    /// A session that is in the feed and has been shown all of it.
    #[track_caller]
    fn following(self) -> Scene {
        let mut scene = self.opened();
        scene.shown();
        assert!(scene.session.is_following());
        scene
    }

    /// A session that has said that it needs a replay.
    #[track_caller]
    fn replaying(self) -> Scene {
        let expected = self.cursor;
        let mut scene = self.opened();
        assert_eq!(scene.says(), ["open"]);
        let watch = scene.replay.as_ref().unwrap().watch(scene.now, &mut registry()).unwrap();
        assert_eq!(watch.upstream_cursor().map(UpstreamCursor::as_str), expected);
        assert!(!scene.session.is_following());
        scene
    }

    /// A replay that is open, and silent from now on.
    #[track_caller]
    fn replaying_live(self) -> Scene {
        let mut scene = self.replaying();
        scene.replays(WatchEvent::Live);
        scene
    }
}

impl Scene {
    /// Something comes in the feed.
    fn comes(&mut self, event: WatchEvent) {
        let item = self.context.encoder(worker()).encode(event).unwrap();
        self.feed.apply(item);
    }

    fn poll(&mut self) -> ViewerOutput {
        let replay = self.replay.as_ref().map(SharedStream::feed);
        let output = self.session.poll(self.now, &self.feed, replay);
        match &output {
            ViewerOutput::OpenReplay(order) => {
                assert!(self.replay.is_none(), "two replays at once");
                self.replay = Some(SharedStream::replay(self.now, &self.context, order.clone(), 1));
            }
            ViewerOutput::CloseReplay => drop(self.replay.take().unwrap()),
            _ => {}
        }
        output
    }

    fn hears(&mut self, input: ViewerInput) {
        self.session.handle(self.now, input);
    }

    fn replays(&mut self, event: WatchEvent) {
        self.replay_hears(SharedStreamInput::Watch(event));
    }

    fn replay_hears(&mut self, input: SharedStreamInput) {
        if let Some(replay) = &mut self.replay {
            replay.handle(self.now, input);
        }
        self.drive_replay();
    }

    /// Obeys the replay stream until it waits.
    fn drive_replay(&mut self) {
        while let Some(replay) = &mut self.replay {
            match replay.poll(self.now) {
                SharedStreamOutput::Update(FeedUpdate::Ended(error)) => {
                    self.hears(ViewerInput::ReplayEnded(error));
                }
                SharedStreamOutput::Update(FeedUpdate::Frame(_) | FeedUpdate::Shrunk(_)) => {}
                SharedStreamOutput::Observed(_) => panic!("a replay tells the registry nothing"),
                SharedStreamOutput::Wait { until, .. } => return assert!(until.unwrap() > self.now),
                SharedStreamOutput::End => return,
            }
        }
    }

    /// What it says now, up to where it waits, in short. Everything is written at once, and pings are answered.
    #[track_caller]
    fn says(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..100 {
            said.push(match self.poll() {
                ViewerOutput::Frame(item) => {
                    self.hears(ViewerInput::Written);
                    short(&item)
                }
                ViewerOutput::Ping => {
                    self.hears(ViewerInput::Written);
                    self.hears(ViewerInput::Pong);
                    "ping".to_owned()
                }
                ViewerOutput::OpenReplay(_) => "open".to_owned(),
                ViewerOutput::WakeReplay => {
                    self.drive_replay();
                    continue;
                }
                ViewerOutput::CloseReplay => "close".to_owned(),
                ViewerOutput::End(closing) => {
                    said.push(match &closing {
                        Some(closing) => format!("end {}", closing.close_code()),
                        None => "gone".to_owned(),
                    });
                    assert!(matches!(self.poll(), ViewerOutput::End(None)), "the end is said once");
                    return said;
                }
                ViewerOutput::Wait { until, why } => {
                    assert!(until > self.now, "it waits for what is past: {why:?}");
                    return said;
                }
            });
        }
        panic!("it goes on and on");
    }

    /// The same, for the frames up to where the viewer is live.
    #[track_caller]
    fn shown(&mut self) -> Vec<String> {
        let said = self.says();
        assert_eq!(said.last().map(String::as_str), Some("caught_up"), "{said:?}");
        said
    }

    #[track_caller]
    fn waits(&mut self) -> (Duration, ViewerWait) {
        match self.poll() {
            ViewerOutput::Wait { until, why } => (until - self.now, why),
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass as a driver does: it polls at each instant that the session waits for.
    #[track_caller]
    fn passes(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut said = self.says();
        while !said.last().is_some_and(|last| last.starts_with("end") || last == "gone") {
            let ViewerOutput::Wait { until, .. } = self.poll() else { panic!("it had said that it waits") };
            // A replay stream has times of its own.
            let until = until.min(self.now + MOMENT * 500);
            if until > end {
                break;
            }
            self.now = until;
            self.drive_replay();
            said.extend(self.says());
        }
        self.now = end;
        if !said.last().is_some_and(|last| last.starts_with("end") || last == "gone") {
            self.drive_replay();
            said.extend(self.says());
        }
        said.retain(|said| said != "ping");
        said
    }
}

// ---- Coming in.

#[test]
fn who_is_kept_out() {
    struct NotThisOne;
    impl Policy for NotThisOne {
        fn permits(
            &self,
            operation: Operation,
            _: &crate::id::RuntimeId,
            worker_id: Option<&crate::id::WorkerId>,
        ) -> bool {
            assert_eq!((operation, worker_id), (Operation::ObserveEvents, Some(&worker().worker_id)));
            false
        }
    }
    let (now, open) = (epoch(), context(10, 1));
    let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
    let strict = StreamContext::new(key, Arc::new(NotThisOne), FeedLimits::default(), 1);
    let other_key = CursorKey::from_bytes([8; CursorKey::LENGTH]);
    let other = StreamContext::new(other_key, Arc::new(AllowAll), FeedLimits::default(), 1);
    let foreign = other.encoder(worker()).encode(event("c1")).unwrap().cursor().unwrap().to_owned();
    let elsewhere = WorkerRef { runtime_id: "other".parse().unwrap(), ..worker() };
    let strict = Arc::new(strict);
    let cases = [
        (&open, elsewhere, None, ErrorKind::UnknownRuntime),
        (&strict, worker(), None, ErrorKind::Denied),
        (&open, worker(), Some("nonsense".to_owned()), ErrorKind::CursorMalformed),
        (&open, worker(), Some(foreign), ErrorKind::CursorUnknown),
    ];
    for (context, worker, cursor, kind) in cases {
        let request = StreamRequest { worker, cursor, client: None };
        let error = ViewerSession::open(now, context, &registry(), request).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(context.viewers(), 0, "a viewer that is kept out takes no place");
    }
    let open_one = || {
        let request = StreamRequest { worker: worker(), cursor: None, client: None };
        ViewerSession::open(now, &open, &registry(), request)
    };
    let first = open_one().unwrap();
    assert_eq!(open.viewers(), 1);
    assert_eq!(open_one().unwrap_err().kind(), ErrorKind::TooManyViewers);
    drop(first);
    assert_eq!(open_one().unwrap().worker(), &worker());
}

#[test]
fn a_feed_that_has_nothing_yet_is_waited_for() {
    for scenario in [fresh(&[]), fresh(&[]).with("c0")] {
        let mut scene = scenario.opened();
        assert_eq!(scene.says(), [] as [&str; 0]);
        assert!(!scene.session.is_following());
        scene.comes(snapshot("c0"));
        assert!(matches!(scene.shown().len(), 1 | 2));
    }
}

#[test]
fn how_a_viewer_begins_that_the_feed_has_everything_for() {
    let feed = [snapshot("c0"), event("c1"), event("c2")];
    for (scenario, expected) in [
        (fresh(&feed), &["snapshot c0", "c1", "c2", "caught_up"][..]),
        (fresh(&feed).with("c0"), &["c1", "c2", "caught_up"]),
        (fresh(&feed).with("c2"), &["caught_up"]),
        (overrun(Some("c2")), &["c3", "caught_up"]),
    ] {
        let mut scene = scenario.opened();
        assert_eq!(scene.shown(), expected);
        assert!(scene.session.is_following());
        scene.comes(event("c9"));
        assert_eq!(scene.says(), ["c9"]);
    }
}

// ---- The replay.

#[test]
fn a_replay_meets_the_feed_where_the_feed_has_its_last_frame() {
    let mut scene = overrun(Some("c0")).replaying_live();
    scene.replays(event("c1"));
    assert_eq!(scene.says(), ["c1"]);
    scene.replays(event("c2"));
    assert_eq!(scene.says(), ["c2", "close", "c3", "caught_up"]);
    assert!(scene.session.is_following());
    // What the replay stream had on its way does not matter any more.
    scene.replays(event("c3"));
    scene.hears(ViewerInput::ReplayEnded(Error::new(ErrorKind::CursorExpired)));
    assert_eq!(scene.says(), [] as [&str; 0]);
}

#[test]
fn a_viewer_without_a_cursor_begins_with_the_snapshot_of_its_replay() {
    let mut scene = overrun(None).replaying_live();
    scene.replays(snapshot("c2"));
    assert_eq!(scene.says(), ["snapshot c2", "close", "c3", "caught_up"]);
}

#[test]
fn the_feed_may_come_to_the_cursor_of_a_replay_that_is_ahead() {
    let mut scene = overrun(Some("c0")).replaying_live();
    for at in ["c1", "c5"] {
        scene.replays(event(at));
        assert_eq!(scene.says(), [at]);
    }
    scene.comes(event("c4"));
    assert_eq!(scene.says(), [] as [&str; 0]);
    scene.comes(event("c5"));
    assert_eq!(scene.says(), ["close", "caught_up"]);
}

#[test]
fn the_feed_may_come_to_the_cursor_before_the_replay_has_said_anything() {
    let mut scene = overrun(Some("c4")).replaying();
    scene.comes(event("c4"));
    assert_eq!(scene.says(), ["close", "caught_up"]);
}

#[test]
fn a_new_snapshot_of_the_feed_does_for_a_viewer_that_has_seen_nothing() {
    let mut scene = overrun(None).replaying();
    scene.comes(WatchEvent::Resynchronized);
    scene.comes(snapshot("d0"));
    assert_eq!(scene.says(), ["close", "snapshot d0", "caught_up"]);
}

#[test]
fn outages_of_a_replay_are_not_shown_and_gaps_are() {
    let mut scene = overrun(None).replaying_live();
    scene.replays(snapshot("c9"));
    assert_eq!(scene.says(), ["snapshot c9"]);
    for event in
        [away(), WatchEvent::Live, WatchEvent::Resumed { nothing_missed: true }, away(), WatchEvent::Live]
    {
        scene.replays(event);
        assert_eq!(scene.says(), [] as [&str; 0]);
    }
    scene.replays(WatchEvent::Resynchronized);
    assert_eq!(scene.says(), ["resynchronized"]);
    // The feed comes to what was last shown before the gap: to go on there would contradict what was told.
    scene.comes(event("c9"));
    assert_eq!(scene.says(), [] as [&str; 0]);
    scene.replays(snapshot("c9"));
    assert_eq!(scene.says(), ["snapshot c9", "close", "caught_up"]);
}

#[test]
fn the_end_of_a_replay_is_the_viewers() {
    for (result, code) in [
        (Err(Error::new(ErrorKind::CursorExpired)), "end 4400"),
        (Err(Error::new(ErrorKind::WorkerNotFound)), "end 4504"),
        (Ok(()), "end 4002"),
    ] {
        let mut scene = overrun(Some("c0")).replaying_live();
        scene.replays(event("c1"));
        scene.replay_hears(SharedStreamInput::WatchEnded(result));
        assert_eq!(scene.says(), ["c1", code], "what it had said is shown before");
    }
}

#[test]
fn a_replay_is_given_up_that_is_live_and_silent_for_too_long() {
    let mut scene = overrun(Some("c0")).replaying();
    // At another time than the pings.
    scene.passes(MOMENT * 5);
    scene.replays(WatchEvent::Live);
    assert_eq!(scene.passes(CATCH_UP_TIMEOUT - MOMENT), [] as [&str; 0]);
    scene.replays(event("c1"));
    assert_eq!(scene.passes(CATCH_UP_TIMEOUT - MOMENT), ["c1"], "each frame gives it the time again");
    // What happens in the feed does not help a replay that says nothing.
    scene.comes(event("c4"));
    assert_eq!(scene.passes(MOMENT), ["end 4400"]);
}

#[test]
fn no_time_passes_for_a_replay_that_is_not_connected() {
    let mut scene = overrun(Some("c0")).replaying();
    assert_eq!(scene.passes(CATCH_UP_TIMEOUT * 3), [] as [&str; 0], "not connected yet");
    scene.replays(WatchEvent::Live);
    scene.passes(CATCH_UP_TIMEOUT / 2);
    scene.replays(away());
    assert_eq!(scene.passes(CATCH_UP_TIMEOUT * 3), [] as [&str; 0], "disconnected");
    scene.replays(WatchEvent::Live);
    assert_eq!(scene.passes(CATCH_UP_TIMEOUT - MOMENT), [] as [&str; 0]);
    assert_eq!(scene.passes(MOMENT), ["end 4400"]);
}

#[test]
fn no_time_passes_for_a_replay_while_its_viewer_does_not_read() {
    let mut scene = overrun(Some("c0")).replaying_live();
    scene.replays(event("c1"));
    assert!(matches!(scene.poll(), ViewerOutput::Frame(_)));
    scene.now += CATCH_UP_TIMEOUT * 2;
    scene.drive_replay();
    assert_eq!(scene.waits().1, ViewerWait::Write);
    scene.hears(ViewerInput::Written);
    assert_eq!(scene.says(), ["ping"]);
    assert_eq!(scene.passes(CATCH_UP_TIMEOUT - MOMENT), [] as [&str; 0]);
    assert_eq!(scene.passes(MOMENT), ["end 4400"]);
}

#[test]
fn a_replay_that_was_not_asked_for_is_ignored() {
    let mut scene = fresh(&[]).opened();
    scene.hears(ViewerInput::ReplayEnded(Error::new(ErrorKind::Internal)));
    assert_eq!(scene.says(), [] as [&str; 0]);
}

// ---- In the feed.

#[test]
fn one_frame_is_said_until_it_is_written() {
    let mut scene = fresh(&[snapshot("c0"), event("c1")]).opened();
    assert!(matches!(scene.poll(), ViewerOutput::Frame(_)));
    for _ in 0..2 {
        assert_eq!(scene.waits().1, ViewerWait::Write);
    }
    scene.hears(ViewerInput::Written);
    assert_eq!(scene.says(), ["c1", "caught_up"]);
}

#[test]
fn a_viewer_that_the_ring_has_overtaken_has_lagged() {
    let mut scene = Scenario { ring: 2, feed: vec![snapshot("c0")], cursor: None }.following();
    for at in ["c1", "c2", "c3"] {
        scene.comes(event(at));
    }
    assert_eq!(scene.says(), ["end 4001"]);
}

#[test]
fn outages_are_told_to_a_viewer_that_is_there() {
    let mut scene = fresh(&[snapshot("c0")]).following();
    for event in
        [away(), WatchEvent::Resumed { nothing_missed: true }, WatchEvent::Resynchronized, snapshot("d0")]
    {
        scene.comes(event);
    }
    let expected = ["upstream_disconnected", "upstream_resumed", "resynchronized", "snapshot d0"];
    assert_eq!(scene.says(), expected);
}

#[test]
fn the_end_of_the_shared_stream_comes_after_what_the_feed_still_has() {
    let ended = || ViewerInput::StreamEnded(Error::new(ErrorKind::RuntimeError));
    let mut following = fresh(&[snapshot("c0")]).following();
    following.comes(event("c1"));
    following.hears(ended());
    following.hears(ViewerInput::StreamEnded(Error::new(ErrorKind::Denied)));
    assert_eq!(following.says(), ["c1", "end 4002"]);
    let mut joining = fresh(&[snapshot("c0")]).opened();
    joining.hears(ended());
    assert_eq!(joining.says(), ["snapshot c0", "caught_up", "end 4002"]);
    let mut waiting = fresh(&[]).opened();
    waiting.hears(ended());
    assert_eq!(waiting.says(), ["end 4002"]);
    let mut replaying = overrun(Some("c0")).replaying_live();
    replaying.replays(event("c1"));
    replaying.hears(ended());
    assert_eq!(replaying.says(), ["c1", "end 4002"]);
}

// ---- At any time.

fn every_stage() -> [Scene; 4] {
    [
        fresh(&[]).opened(),
        overrun(Some("c0")).replaying_live(),
        overrun(None).replaying(),
        fresh(&[snapshot("c0")]).following(),
    ]
}

#[test]
fn a_message_ends_the_stream() {
    for mut scene in every_stage() {
        scene.hears(ViewerInput::Message);
        assert_eq!(scene.says(), ["end 1008"]);
    }
}

#[test]
fn a_viewer_that_is_gone_is_told_nothing() {
    for mut scene in every_stage() {
        scene.replays(snapshot("c0"));
        scene.hears(ViewerInput::Gone);
        assert_eq!(scene.says(), ["gone"]);
        for input in [ViewerInput::Message, ViewerInput::Drain, ViewerInput::Gone] {
            scene.hears(input);
            assert!(matches!(scene.poll(), ViewerOutput::End(None)));
        }
    }
}

#[test]
fn pings_are_regular_and_a_pong_that_is_missing_is_the_end() {
    for mut scene in every_stage() {
        scene.says();
        assert_eq!(scene.waits(), (PING_EVERY, ViewerWait::Ping));
        scene.now += PING_EVERY;
        assert_eq!(scene.says(), ["ping"]);
        scene.now += PING_EVERY;
        assert!(matches!(scene.poll(), ViewerOutput::Ping));
        scene.hears(ViewerInput::Written);
        assert_eq!(scene.waits(), (PONG_WITHIN, ViewerWait::Pong));
        scene.now += PONG_WITHIN;
        assert_eq!(scene.says(), ["gone"]);
    }
}

#[test]
fn frames_postpone_no_ping() {
    let mut scene = fresh(&[snapshot("c0")]).following();
    for number in 0..10 {
        scene.comes(event(&format!("c{number}")));
    }
    scene.now += PING_EVERY;
    let said = scene.says();
    assert_eq!((said[0].as_str(), said.len()), ("ping", 11));
}

#[test]
fn a_pong_may_be_as_late_as_a_write_takes() {
    let mut scene = fresh(&[snapshot("c0")]).following();
    scene.now += PING_EVERY;
    assert!(matches!(scene.poll(), ViewerOutput::Ping));
    scene.now += PONG_WITHIN * 2;
    scene.hears(ViewerInput::Written);
    assert!(matches!(scene.poll(), ViewerOutput::Ping), "the next one is due meanwhile");
    scene.hears(ViewerInput::Written);
    assert_eq!(scene.waits(), (PONG_WITHIN, ViewerWait::Pong));
    scene.hears(ViewerInput::Pong);
    assert_eq!(scene.waits(), (PING_EVERY, ViewerWait::Ping));
}

#[test]
fn a_gateway_that_shuts_down_says_so_in_its_time() {
    for mut scene in every_stage() {
        scene.says();
        scene.hears(ViewerInput::Drain);
        let (pause, why) = scene.waits();
        assert!(pause < GOING_AWAY_EACH && why == ViewerWait::Drain, "{pause:?} {why:?}");
        scene.now += pause - Duration::from_nanos(1);
        scene.hears(ViewerInput::Drain);
        assert_eq!(scene.waits(), (Duration::from_nanos(1), ViewerWait::Drain), "it is said once");
        scene.now += Duration::from_nanos(1);
        assert_eq!(scene.says(), ["end 1001"]);
    }
}

#[test]
fn how_a_stream_is_closed() {
    let error = Error::new(ErrorKind::ViewerLagged);
    let closing = Closing::from(error.clone());
    assert_eq!((closing.close_code(), closing.reason()), (4001, "viewer_lagged"));
    assert_eq!(short(&closing.frame()), "viewer_lagged");
    assert_eq!((closing.error().clone(), closing.into_error()), (error.clone(), error));
}

#[test]
fn what_is_printed_of_a_session() {
    let printed = every_stage().map(|scene| format!("{:?}", scene.session));
    for (printed, stage) in printed.iter().zip(["joining", "replaying", "replaying", "following"]) {
        assert!(printed.contains(stage) && !printed.contains("10.1"), "{printed}");
    }
    let printed = format!("{:?}", context(3, 7));
    assert!(
        printed.contains("max: 7") && printed.contains("max_frames: 3") && !printed.contains("key"),
        "{printed}"
    );
}
