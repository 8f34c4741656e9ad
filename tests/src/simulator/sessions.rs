//! The loop around a viewer's session, as `sekisho_core::viewer` wants it.

use bytes::Bytes;
use sekisho_core::error::ErrorKind;
use sekisho_core::feed::Item;
use sekisho_core::viewer::{Closing, ViewerInput, ViewerOutput, ViewerSession, ViewerWait};

use super::account::{Account, Seen};
use super::clock::{Time, time};
use super::invariants::Invariant;
use super::planted::Planted;
use super::streams::COPIED_AFTER;
use super::trace::{Shown, To};
use super::viewers::{Person, Stay};
use super::world::{Event, World};

/// The most that a session may say before it waits or writes.
const MAX_OUTPUTS: u32 = 6;

/// A session and its driver.
pub(super) struct SessionRun {
    pub(super) session: ViewerSession,
    /// At which gateway, on which of its loops.
    at: (usize, usize),
    pub(super) stream: usize,
    /// Its replay stream.
    replay: Option<usize>,
    /// Whether it waits, and would hear of something new. Otherwise it writes.
    waiting: bool,
    /// When it last came to read, or had read a frame.
    free_at: Time,
    /// Names the wake-up that still counts.
    wake: u64,
}

impl SessionRun {
    pub(super) fn new(session: ViewerSession, at: (usize, usize), stream: usize, now: Time) -> Self {
        Self { session, at, stream, replay: None, waiting: false, free_at: now, wake: 0 }
    }
}

impl World<'_> {
    fn run_of(&mut self, viewer: usize) -> Option<&mut SessionRun> {
        self.viewers[viewer].stay.as_mut().map(|stay| &mut stay.run)
    }

    /// A viewer has taken the frame that it was shown.
    pub(super) fn written(&mut self, viewer: usize, number: u32) {
        let now = self.instant();
        let Some(stay) = self.viewers[viewer].stay.as_mut().filter(|stay| stay.number == number) else {
            return;
        };
        stay.run.session.handle(now, ViewerInput::Written);
        stay.run.free_at = time(now);
        self.drive_session(viewer);
    }

    /// The time has come that a session waited for, or there is something new in its feed.
    pub(super) fn wake_session(&mut self, viewer: usize, number: u32, wake: u64) {
        let stay = self.viewers[viewer].stay.as_ref();
        if stay.is_some_and(|stay| stay.number == number && stay.run.waiting && stay.run.wake == wake) {
            self.drive_session(viewer);
        }
    }

    /// There is something new in the feed of a stream, or it has ended. Those who write hear of it once they are done.
    pub(super) fn wake_sessions(&mut self, number: usize) {
        let mut now = self.now();
        if self.is_planted(Planted::WaitsForSlowest) {
            let paces = self.streams[number].viewers.iter().map(|viewer| self.viewers[*viewer].pace);
            now += Time::from_millis(paces.max().unwrap_or_default());
        }
        for viewer in &self.streams[number].viewers {
            if let Some(stay) = self.viewers[*viewer].stay.as_ref().filter(|stay| stay.run.waiting) {
                let (stay, wake) = (stay.number, stay.run.wake);
                self.clock.at(now, Event::WakeSession { viewer: *viewer, stay, wake });
            }
        }
    }

    /// Obeys a session until it writes, waits or has ended.
    pub(super) fn drive_session(&mut self, viewer: usize) {
        let mut said = 0;
        while self.violation.is_none() {
            said += 1;
            if said > MAX_OUTPUTS {
                return self.violate(Invariant::Bounded, || "a session goes on and on".to_owned());
            }
            let Some(output) = self.poll_session(viewer) else { return };
            match output {
                ViewerOutput::Frame(item) => return self.show_next(viewer, &item),
                ViewerOutput::Ping => self.answer_ping(viewer),
                ViewerOutput::OpenReplay(order) => {
                    let Some(at) = self.run_of(viewer).map(|run| run.at) else { return };
                    let replay = self.view_replay(viewer, at, order);
                    let now = self.instant();
                    let Some(run) = self.run_of(viewer) else { return };
                    match replay {
                        Ok(replay) => run.replay = Some(replay),
                        Err(error) => run.session.handle(now, ViewerInput::ReplayEnded(error)),
                    }
                }
                ViewerOutput::WakeReplay => {
                    if let Some(replay) = self.run_of(viewer).and_then(|run| run.replay) {
                        self.drive_stream(replay);
                    }
                }
                ViewerOutput::CloseReplay => self.close_replay(viewer),
                ViewerOutput::End(closing) => return self.end_stay(viewer, closing),
                ViewerOutput::Wait { until, why } => {
                    return self.let_session_wait(viewer, time(until), why);
                }
            }
        }
    }

    fn poll_session(&mut self, viewer: usize) -> Option<ViewerOutput> {
        let now = self.instant();
        let run = &mut self.viewers[viewer].stay.as_mut()?.run;
        run.waiting = false;
        let stream = &self.streams[run.stream];
        let hides = self.options.planted == Some(Planted::HidesEnd);
        if let Some(error) = stream.ended(run.at.1).filter(|_| !hides) {
            run.session.handle(now, ViewerInput::StreamEnded(error.clone()));
        }
        let replay = run.replay.map(|replay| &self.streams[replay]);
        let hides = self.options.planted == Some(Planted::HidesReplayEnd);
        if let Some(error) = replay.and_then(|replay| replay.ended(run.at.1)).filter(|_| !hides) {
            run.session.handle(now, ViewerInput::ReplayEnded(error.clone()));
        }
        let replay = replay.map(|replay| replay.feed(run.at.1));
        Some(run.session.poll(now, stream.feed(run.at.1), replay))
    }

    /// Every viewer answers at once.
    fn answer_ping(&mut self, viewer: usize) {
        let (now, loses) = (self.instant(), self.is_planted(Planted::LosesPongs));
        self.census.count("viewer", "ping");
        let Some(run) = self.run_of(viewer) else { return };
        run.session.handle(now, ViewerInput::Written);
        if !loses {
            run.session.handle(now, ViewerInput::Pong);
        }
    }

    fn close_replay(&mut self, viewer: usize) {
        let Some(stay) = &mut self.viewers[viewer].stay else { return };
        let Some(replay) = stay.run.replay.take() else {
            return self.violate(Invariant::Bounded, || "a replay is closed that there is not".to_owned());
        };
        let how = match (stay.run.session.is_following(), stay.account.came_with_cursor) {
            (false, _) => "asked for another replay",
            (true, true) => "joined after replay",
            (true, false) => "joined after snapshot",
        };
        self.census.count("viewer", how);
        self.leave_stream(viewer, replay);
    }

    fn let_session_wait(&mut self, viewer: usize, until: Time, why: ViewerWait) {
        if until <= self.now() || why == ViewerWait::Write {
            self.violate(Invariant::NoPastDeadline, || format!("a session waits for {why:?}"));
        }
        if why == ViewerWait::Turn {
            self.census.count("viewer", "waited for a replay");
        }
        let Some(stay) = &mut self.viewers[viewer].stay else { return };
        stay.run.waiting = true;
        stay.run.wake += 1;
        let wake = Event::WakeSession { viewer, stay: stay.number, wake: stay.run.wake };
        self.clock.at(until, wake);
    }

    fn show_next(&mut self, viewer: usize, item: &Item) {
        self.check_prompt(viewer, item);
        let Some(mut stay) = self.viewers[viewer].stay.take() else { return };
        let shown = stay.account.shown;
        let skips = (self.is_planted(Planted::SkipsSnapshot) && shown == 0 && item.is_snapshot())
            || (self.is_planted(Planted::SkipsFrame) && shown % 7 == 6);
        if skips {
            stay.account.shown += 1;
        } else {
            let text = self.falsified(viewer, item.text());
            self.show(viewer, &mut stay.account, &text);
            if self.is_planted(Planted::RepeatsFrame) && shown % 7 == 6 {
                self.show(viewer, &mut stay.account, &text);
            }
        }
        if let Some(cursor) = item.cursor() {
            let person = &mut self.viewers[viewer];
            let at = stay.account.position;
            person.cursors.push(Seen {
                cursor: cursor.to_owned(),
                key: self.plan.gateways[stay.gateway].key,
                of: (person.runtime, person.worker),
                at,
            });
        }
        let next = self.now() + Time::from_millis(self.viewers[viewer].pace);
        if !self.is_planted(Planted::ForgetsWritten) || shown % 7 != 6 {
            self.clock.at(next, Event::Written { viewer, stay: stay.number });
        }
        self.viewers[viewer].stay = Some(stay);
    }

    /// What has come is shown when the viewer has read what came before it, and no later. A replica that has missed an
    /// update hears of it with its next copy.
    fn check_prompt(&mut self, viewer: usize, item: &Item) {
        let Some(run) = self.viewers[viewer].stay.as_ref().map(|stay| &stay.run) else { return };
        let Some(came) = self.streams[run.stream].came_at(item.event()) else { return };
        let due = came.max(run.free_at) + COPIED_AFTER;
        if run.replay.is_none() && run.session.is_following() && self.now() > due {
            let late = self.now() - due;
            self.violate(Invariant::Prompt, || format!("viewer {viewer} is shown a frame {late:?} late"));
        }
    }

    /// The text as a gateway shows it that has a fault.
    fn falsified(&self, viewer: usize, text: &Bytes) -> Bytes {
        let replaced = |from: &str, to: &str| String::from_utf8_lossy(text).replacen(from, to, 1).into();
        match self.options.planted {
            Some(Planted::ShowsDifferently) if viewer % 2 == 1 => {
                replaced(r#""kind":"event""#, r#""kind": "event""#)
            }
            Some(Planted::BypassesScrubber) => {
                let secrets = &self.sites[self.viewers[viewer].runtime].secrets;
                replaced("[redacted]", &secrets.authority)
            }
            _ => text.clone(),
        }
    }

    pub(super) fn show(&mut self, viewer: usize, account: &mut Account, text: &Bytes) {
        let Person { runtime, worker, gateway, .. } = self.viewers[viewer];
        let shown =
            Shown { at: self.now(), runtime: Some(runtime), to: To::Viewer(viewer), what: text.clone() };
        self.trace.show(shown);
        account.shown += 1;
        let site = &self.sites[runtime];
        if !site.plan.kind.is_honest()
            && let Some(secret) = site.secrets.found_in(text)
        {
            let facts = format!("{secret} in {}", String::from_utf8_lossy(text));
            return self.violate(Invariant::NothingSecretShown, || facts);
        }
        let key = self.plan.gateways[gateway].key;
        let checked = account.see(text, site, worker, (key, runtime), &mut self.known, &mut self.census);
        if let Err((invariant, facts)) = checked {
            self.violate(invariant, || format!("viewer {viewer}: {facts}"));
        }
    }

    fn end_stay(&mut self, viewer: usize, closing: Option<Closing>) {
        let Some(closing) = closing else {
            return self
                .violate(Invariant::TypedEnd, || format!("viewer {viewer} is there, and taken for gone"));
        };
        if closing.error().kind() == ErrorKind::CursorExpired
            && let Some(replay) = self.run_of(viewer).and_then(|run| run.replay)
            && !self.streams[replay].watch_ended
        {
            self.census.count("viewer", "never met the feed");
            self.check_expiry(viewer);
        }
        let Some(stay) = self.viewers[viewer].stay.take() else { return };
        let Stay { number, run, mut account, .. } = stay;
        self.drop_session(viewer, run);
        self.close(viewer, &mut account, number, &closing);
    }

    /// Nothing may be called expired that is still there.
    fn check_expiry(&mut self, viewer: usize) {
        let person = &self.viewers[viewer];
        let Some(at) = person.stay.as_ref().and_then(|stay| stay.account.position) else { return };
        if self.sites[person.runtime].machine.has(person.worker, at) {
            self.violate(Invariant::TypedEnd, || format!("viewer {viewer}: {at:?} has not expired"));
        }
    }

    pub(super) fn drop_session(&mut self, viewer: usize, run: SessionRun) {
        let SessionRun { session, stream, replay, .. } = run;
        // Its place in the replay is free before the replay is looked at.
        drop(session);
        replay.into_iter().chain([stream]).for_each(|stream| self.leave_stream(viewer, stream));
    }
}
