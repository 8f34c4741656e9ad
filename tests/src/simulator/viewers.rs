//! Viewers, and how a gateway shows them a stream.

use bytes::Bytes;
use http::Request;
use sekisho_core::browser_api::Observation;
use sekisho_core::cursor::{Sealer, UpstreamCursor};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::{Encoder, Feed, FeedPosition, Item, Join, Next, caught_up, closing_diagnostic};
use sekisho_core::policy::AllowAll;
use sekisho_core::watch::OnExpiredCursor;

use super::account::{Account, Seen};
use super::clock::Time;
use super::invariants::Invariant;
use super::plan::{ViewerPlan, With};
use super::planted::Planted;
use super::scripted::worker_name;
use super::trace::{Shown, To};
use super::watches::{Advance, Owner};
use super::world::{Event, World, runtime_name};

/// How long a stream of a viewer's own may be open and silent without having met the feed.
const CATCH_UP_TIMEOUT: Time = Time::from_secs(60);

/// How long somebody stays away who was sent away and comes back.
const AWAY: Time = Time::from_millis(700);

/// How long before the end somebody must have come to have seen everything by then: long enough to notice a
/// connection that is gone, and to make another.
const SETTLED: Time = Time::from_secs(45);

/// Somebody who comes and goes.
pub(super) struct Person {
    runtime: usize,
    worker: usize,
    pub(super) pace: u64,
    returns: u32,
    /// How often it has come.
    stays: u32,
    pub(super) stay: Option<Stay>,
    gateway: usize,
    /// The cursors it has seen, oldest first.
    cursors: Vec<Seen>,
}

/// One stay of a viewer's.
pub(super) struct Stay {
    pub(super) number: u32,
    gateway: usize,
    of_loop: usize,
    stream: usize,
    encoder: Encoder,
    position: Position,
    pub(super) account: Account,
    began: Time,
    /// Whether it would take a frame now.
    pub(super) waiting: bool,
    /// Names the deadline that still counts by which a stream of its own must have met the feed.
    pull: u64,
}

enum Position {
    /// Not yet in the feed.
    Joining(Option<UpstreamCursor>),
    /// On a stream of its own, until it meets the feed.
    Private(usize, Option<UpstreamCursor>),
    /// In the feed.
    Live(FeedPosition),
}

impl Person {
    pub(super) fn new(plan: &ViewerPlan) -> Self {
        let ViewerPlan { runtime, worker, pace, returns } = *plan;
        Self { runtime, worker, pace, returns, stays: 0, stay: None, gateway: 0, cursors: Vec::new() }
    }
}

impl World<'_> {
    /// A viewer comes to a gateway.
    pub(super) fn come(&mut self, viewer: usize, gateway: usize, with: With) {
        if self.viewers[viewer].stay.is_some() {
            return;
        }
        let cursors = &self.viewers[viewer].cursors;
        let seen = match with {
            With::Nothing => None,
            With::Last | With::Damaged => cursors.last().cloned(),
            With::Earlier(back) => cursors.iter().rev().nth(back % cursors.len().max(1)).cloned(),
            With::Foreign => Some(self.foreign_cursor(viewer, gateway)),
        };
        let person = &mut self.viewers[viewer];
        if person.stays > 0 && person.gateway != gateway {
            self.census.count("viewer", "came to another replica");
        }
        person.gateway = gateway;
        person.stays += 1;
        let number = person.stays;
        let (runtime, worker) = (person.runtime, person.worker);
        let mut cursor = seen.as_ref().map(|seen| seen.cursor.clone());
        if with == With::Damaged {
            cursor = cursor.map(damaged);
        }
        self.note(format_args!("viewer {viewer} comes to {gateway} with {cursor:?}"));
        self.census.count("viewer", "came");
        let expected = self.expected(gateway, (runtime, worker), with, seen.as_ref());
        let of_loop = number as usize % self.gateways[gateway].loops.len();
        let mut account = Account::new(seen.as_ref().filter(|_| expected.is_ok()).map(|seen| seen.at));
        match self.let_in(viewer, (gateway, of_loop), (runtime, worker), cursor) {
            Ok((encoder, place, stream)) => {
                if let Err(kind) = expected {
                    self.violate(Invariant::CursorsHold, || format!("{kind:?} was let in"));
                }
                let now = self.now();
                self.viewers[viewer].stay = Some(Stay {
                    number,
                    gateway,
                    of_loop,
                    stream,
                    encoder,
                    position: Position::Joining(place),
                    account,
                    began: now,
                    waiting: false,
                    pull: 0,
                });
                self.clock.at(now, Event::Read { viewer, stay: number });
            }
            Err(error) => {
                if expected != Err(error.kind()) {
                    self.violate(Invariant::CursorsHold, || format!("{error}, and not {expected:?}"));
                }
                self.say_farewell(viewer, &mut account, &error);
                self.closed(viewer, &mut account, number, error.kind().close_code());
            }
        }
    }

    /// What a gateway should make of a cursor.
    fn expected(
        &self,
        gateway: usize,
        of: (usize, usize),
        with: With,
        seen: Option<&Seen>,
    ) -> Result<(), ErrorKind> {
        match seen {
            None => Ok(()),
            Some(_) if with == With::Damaged => Err(ErrorKind::CursorMalformed),
            // A gateway is known by the key that it was given; that it forgets it is its own fault.
            Some(seen) if seen.key != self.plan.gateways[gateway].key => Err(ErrorKind::CursorUnknown),
            Some(seen) if seen.of != of => Err(ErrorKind::CursorMalformed),
            Some(_) => Ok(()),
        }
    }

    fn let_in(
        &mut self,
        viewer: usize,
        at: (usize, usize),
        of: (usize, usize),
        cursor: Option<String>,
    ) -> Result<(Encoder, Option<UpstreamCursor>, usize), Error> {
        let (runtime, worker) = (runtime_name(of.0), worker_name(of.1));
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let (head, ()) = Request::builder()
            .uri(format!("/api/runtimes/{runtime}/workers/{worker}/events/ws{query}"))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
            .into_parts();
        let viewed = Observation::parse(&head).ok_or_else(|| Error::new(ErrorKind::UnknownRoute))??.of?;
        self.refresh_token(at.0, at.1, of.0);
        self.gateways[at.0].loops[at.1].permit_observation(&AllowAll, &viewed.worker)?;
        let mut encoder = self.encoder(at.0, of.0, of.1);
        let place = viewed.cursor.map(|cursor| encoder.open(&cursor)).transpose()?;
        let stream = self.follow(viewer, at, of)?;
        Ok((encoder, place, stream))
    }

    /// A cursor of a worker that this viewer does not ask for.
    fn foreign_cursor(&self, viewer: usize, gateway: usize) -> Seen {
        let Person { runtime, worker, .. } = self.viewers[viewer];
        let of = (runtime, worker + 1);
        let mut sealer = Sealer::new(&self.gateways[gateway].cursor_key(), self.worker_ref(of.0, of.1));
        let cursor = UpstreamCursor::new("wo_1").map(|place| sealer.seal(&place)).unwrap_or_default();
        Seen { cursor, key: self.plan.gateways[gateway].key, of, at: None }
    }

    /// A viewer would take a frame.
    pub(super) fn read(&mut self, viewer: usize, number: u32) {
        let Some(stay) = self.viewers[viewer].stay.as_ref().filter(|stay| stay.number == number) else {
            return;
        };
        if let Position::Private(watch, _) = stay.position {
            self.begin_to_listen(watch);
        }
        self.pull(viewer, true);
    }

    /// Something has come on a viewer's own stream.
    pub(super) fn pull_if_waiting(&mut self, viewer: usize) {
        if self.viewers[viewer].stay.as_ref().is_some_and(|stay| stay.waiting) {
            self.pull(viewer, false);
        }
    }

    /// Shows a viewer the next frame, where there is one.
    fn pull(&mut self, viewer: usize, anew: bool) {
        while self.violation.is_none() {
            match self.ready(viewer) {
                Err(error) => return self.end_stay(viewer, &error),
                Ok(Some(item)) => return self.show_next(viewer, &item),
                Ok(None) => {}
            }
            let Some(stay) = &mut self.viewers[viewer].stay else { return };
            if let Some(error) = self.streams[stay.stream].ended.clone() {
                return self.end_stay(viewer, &error);
            }
            let Position::Private(watch, _) = stay.position else {
                stay.waiting = true;
                return;
            };
            let advance = self.advance(watch);
            let Some(stay) = &mut self.viewers[viewer].stay else { return };
            match advance {
                Advance::Event(event) => {
                    let Some(item) = stay.encoder.encode(event) else { continue };
                    // It may be over when this viewer is in the feed, which then would not say so.
                    if item.is_notice() {
                        continue;
                    }
                    if let Position::Private(_, place) = &mut stay.position {
                        *place = item.place().cloned().or(place.take());
                    }
                    return self.show_next(viewer, &item);
                }
                Advance::Stopped(result) => {
                    let error = result.err().unwrap_or_else(|| Error::new(ErrorKind::Internal));
                    return self.end_stay(viewer, &error);
                }
                Advance::Waiting => {
                    let began_to_wait = !std::mem::replace(&mut stay.waiting, true);
                    if anew || began_to_wait {
                        stay.pull += 1;
                        let meet_by = Event::MeetBy { viewer, stay: stay.number, pull: stay.pull };
                        self.clock.at(self.clock.now() + CATCH_UP_TIMEOUT, meet_by);
                    }
                    return;
                }
            }
        }
    }

    /// A stream of a viewer's own has been silent for long, and has not met the feed.
    pub(super) fn give_up_meeting(&mut self, viewer: usize, number: u32, pull: u64) {
        let stay = self.viewers[viewer].stay.as_ref();
        let Some(stay) = stay.filter(|stay| stay.number == number && stay.pull == pull && stay.waiting)
        else {
            return;
        };
        let Position::Private(watch, _) = stay.position else { return };
        if self.is_live(watch) {
            self.census.count("viewer", "never met the feed");
            self.check_expiry(viewer);
            self.end_stay(viewer, &Error::new(ErrorKind::CursorExpired));
        } else {
            let meet_by = Event::MeetBy { viewer, stay: number, pull };
            self.clock.at(self.clock.now() + CATCH_UP_TIMEOUT, meet_by);
        }
    }

    /// Nothing may be called expired that is still there.
    fn check_expiry(&mut self, viewer: usize) {
        let person = &self.viewers[viewer];
        let Some(at) = person.stay.as_ref().and_then(|stay| stay.account.position) else { return };
        if self.sites[person.runtime].machine.has(person.worker, at) {
            self.violate(Invariant::TypedEnd, || format!("viewer {viewer}: {at:?} has not expired"));
        }
    }

    /// The next frame, where one is there already.
    fn ready(&mut self, viewer: usize) -> Result<Option<Item>, Error> {
        let Person { runtime, worker, ref mut stay, .. } = self.viewers[viewer];
        let Some(stay) = stay else { return Ok(None) };
        let feed = &self.streams[stay.stream].feed;
        let at = (stay.gateway, stay.of_loop);
        match &mut stay.position {
            Position::Live(viewer) => next(feed, viewer),
            Position::Private(_, None) => Ok(None),
            Position::Private(watch, Some(place)) => {
                let Join::Ready(mut position, _) = feed.join(Some(place)) else { return Ok(None) };
                let (watch, item) = (*watch, next(feed, &mut position));
                stay.position = Position::Live(position);
                stay.pull += 1;
                let how = if stay.account.came_with_cursor {
                    "joined after replay"
                } else {
                    "joined after snapshot"
                };
                self.census.count("viewer", how);
                self.drop_watch(watch);
                item
            }
            Position::Joining(place) => match feed.join(place.as_ref()) {
                Join::NotYet => Ok(None),
                Join::Ready(mut position, opening) => {
                    let item = match opening {
                        Some(snapshot) => Ok(Some(snapshot)),
                        None => next(feed, &mut position),
                    };
                    stay.position = Position::Live(position);
                    item
                }
                Join::NeedsReplay | Join::NeedsSnapshot => {
                    let place = place.take();
                    let at_lost_place = match place {
                        Some(_) => OnExpiredCursor::Stop,
                        None => OnExpiredCursor::Resynchronize,
                    };
                    let watch = self.watch(
                        at,
                        (runtime, worker),
                        place.clone(),
                        at_lost_place,
                        Owner::Viewer(viewer),
                    )?;
                    if let Some(stay) = &mut self.viewers[viewer].stay {
                        stay.position = Position::Private(watch, place);
                    }
                    Ok(None)
                }
            },
        }
    }

    fn show_next(&mut self, viewer: usize, item: &Item) {
        let Some(mut stay) = self.viewers[viewer].stay.take() else { return };
        stay.waiting = false;
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
        self.clock.at(next, Event::Read { viewer, stay: stay.number });
        self.viewers[viewer].stay = Some(stay);
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

    fn show(&mut self, viewer: usize, account: &mut Account, text: &Bytes) {
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

    fn say_farewell(&mut self, viewer: usize, account: &mut Account, error: &Error) {
        self.census.count_code("end", error.kind().code());
        if !self.is_planted(Planted::EndsSilently) {
            self.show(viewer, account, closing_diagnostic(error).text());
        }
    }

    fn end_stay(&mut self, viewer: usize, error: &Error) {
        let Some(mut stay) = self.viewers[viewer].stay.take() else { return };
        self.let_go_of(viewer, &stay);
        self.say_farewell(viewer, &mut stay.account, error);
        self.closed(viewer, &mut stay.account, stay.number, error.kind().close_code());
    }

    /// A viewer's connection is closed with a code, which alone tells whether it may come back.
    fn closed(&mut self, viewer: usize, account: &mut Account, number: u32, code: u16) {
        if let Err(facts) = account.close(code) {
            self.violate(Invariant::TypedEnd, || format!("viewer {viewer}: {facts}"));
        }
        if matches!(code, 1001 | 4000..=4499) {
            self.return_later(viewer, number);
        }
        // Come back without it: the cursor is no good any more.
        if matches!(code, 4400..=4499) {
            self.viewers[viewer].cursors.clear();
        }
    }

    fn return_later(&mut self, viewer: usize, number: u32) {
        let person = &mut self.viewers[viewer];
        if person.returns > 0 {
            person.returns -= 1;
            self.clock.at(self.clock.now() + AWAY, Event::Return { viewer, stay: number });
        }
    }

    /// A viewer comes back that was sent away and may.
    pub(super) fn come_back(&mut self, viewer: usize, number: u32) {
        let person = &self.viewers[viewer];
        if person.stays == number && person.stay.is_none() {
            self.census.count("viewer", "came back");
            let (key, here) = (self.plan.gateways[person.gateway].key, person.gateway);
            let replicas = self.plan.gateways.iter().enumerate();
            let elsewhere = replicas.filter(|(at, it)| it.key == key && *at != here).map(|(at, _)| at).next();
            let gateway = if number.is_multiple_of(2) { elsewhere.unwrap_or(here) } else { here };
            self.come(viewer, gateway, With::Last);
        }
    }

    /// A viewer leaves by itself.
    pub(super) fn leave(&mut self, viewer: usize) {
        if let Some(stay) = self.viewers[viewer].stay.take() {
            self.let_go_of(viewer, &stay);
        }
    }

    fn let_go_of(&mut self, viewer: usize, stay: &Stay) {
        if let Position::Private(watch, _) = stay.position {
            self.drop_watch(watch);
        }
        self.unfollow(viewer, stay.stream);
    }

    /// All viewers of a gateway lose their connections, and nobody tells them why.
    pub(super) fn drop_viewers(&mut self, gateway: usize) {
        for viewer in 0..self.viewers.len() {
            let stay = self.viewers[viewer].stay.take_if(|stay| stay.gateway == gateway);
            if let Some(stay) = stay {
                self.census.count("viewer", "dropped by a crash");
                self.let_go_of(viewer, &stay);
                self.return_later(viewer, stay.number);
            }
        }
    }

    /// Whether a viewer has seen everything, now that everything has been well for long.
    pub(super) fn check_rest(&mut self, viewer: usize) {
        let person = &self.viewers[viewer];
        let Some(stay) = &person.stay else { return };
        let site = &self.sites[person.runtime];
        let head = site.machine.head(person.worker);
        if !site.plan.kind.is_honest() || self.now() < stay.began + SETTLED {
            return;
        }
        let live = matches!(stay.position, Position::Live(_));
        let (position, caught_up) = (stay.account.position, stay.account.caught_up);
        if !live || !caught_up || position != head {
            self.violate(Invariant::ComesToRest, || {
                format!(
                    "viewer {viewer} is at {position:?} of {head:?}, live: {live}, caught up: {caught_up}"
                )
            });
        } else {
            self.census.count("viewer", "at the end");
        }
    }
}

fn next(feed: &Feed, viewer: &mut FeedPosition) -> Result<Option<Item>, Error> {
    match feed.next(viewer) {
        Next::Frame(item) => Ok(Some(item)),
        Next::CaughtUp => Ok(Some(caught_up())),
        Next::Nothing => Ok(None),
        Next::Lagged => Err(Error::new(ErrorKind::ViewerLagged)),
    }
}

/// The same cursor, but for one character.
fn damaged(cursor: String) -> String {
    let at = cursor.len() / 2;
    let other = if cursor.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &cursor[..at], &cursor[at + 1..])
}
