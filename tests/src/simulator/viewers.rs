//! Viewers: how they come, what they have been shown, how they leave and come back.

use http::Request;
use sekisho_core::browser_api::{Observation, Wanted};
use sekisho_core::cursor::{Sealer, UpstreamCursor};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::viewer::{Closing, ViewerSession};

use super::account::{Account, Seen};
use super::clock::Time;
use super::invariants::Invariant;
use super::plan::{ViewerPlan, With};
use super::planted::Planted;
use super::scripted::worker_name;
use super::sessions::SessionRun;
use super::world::{Event, World, runtime_name};

/// How long a viewer that was sent away stays away before it comes back.
const AWAY: Time = Time::from_millis(700);

/// How long before the end a viewer must have joined to have seen everything by then: long enough to notice a
/// connection that is gone, and to make another.
const SETTLED: Time = Time::from_secs(45);

/// A viewer that comes and goes.
pub(super) struct Person {
    pub(super) runtime: usize,
    pub(super) worker: usize,
    pub(super) pace: u64,
    returns: u32,
    /// How often it has come.
    stays: u32,
    pub(super) stay: Option<Stay>,
    pub(super) gateway: usize,
    /// The cursors it has seen, oldest first.
    pub(super) cursors: Vec<Seen>,
}

/// One stay of a viewer's.
pub(super) struct Stay {
    pub(super) number: u32,
    pub(super) gateway: usize,
    pub(super) run: SessionRun,
    pub(super) account: Account,
    began: Time,
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
            Ok(run) => {
                if let Err(kind) = expected {
                    self.violate(Invariant::CursorsHold, || format!("{kind:?} was let in"));
                }
                let began = self.now();
                self.viewers[viewer].stay = Some(Stay { number, gateway, run, account, began });
                self.drive_session(viewer);
            }
            Err(error) => {
                if expected != Err(error.kind()) {
                    self.violate(Invariant::CursorsHold, || format!("{error}, and not {expected:?}"));
                }
                self.close(viewer, &mut account, number, &error.into());
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
    ) -> Result<SessionRun, Error> {
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
        let wanted = Observation::parse(&head).ok_or_else(|| Error::new(ErrorKind::UnknownRoute))??.of?;
        let Wanted::Worker(request) = wanted else { panic!("{wanted:?}") };
        self.refresh_token(at.0, at.1, of.0);
        let gateway = &self.gateways[at.0];
        let session =
            ViewerSession::open(self.instant(), &gateway.streams_of, &gateway.loops[at.1], request)?;
        let stream = self.view_stream(viewer, at, of)?;
        Ok(SessionRun::new(session, at, stream, self.now()))
    }

    /// A cursor of a worker that this viewer does not ask for.
    fn foreign_cursor(&self, viewer: usize, gateway: usize) -> Seen {
        let Person { runtime, worker, .. } = self.viewers[viewer];
        let of = (runtime, worker + 1);
        let mut sealer = Sealer::new(&self.gateways[gateway].cursor_key(), self.worker_ref(of.0, of.1));
        let cursor = UpstreamCursor::new("wo_1").map(|place| sealer.seal(&place)).unwrap_or_default();
        Seen { cursor, key: self.plan.gateways[gateway].key, of, at: None }
    }

    /// A viewer's stream is closed.
    pub(super) fn close(&mut self, viewer: usize, account: &mut Account, number: u32, closing: &Closing) {
        self.census.count_code("end", closing.reason());
        if !self.is_planted(Planted::EndsSilently) {
            self.show(viewer, account, closing.frame().text());
        }
        self.closed(viewer, account, number, closing.close_code());
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
            self.drop_session(viewer, stay.run);
        }
    }

    /// All viewers of a gateway lose their connections, without a close frame.
    pub(super) fn drop_viewers(&mut self, gateway: usize) {
        for viewer in 0..self.viewers.len() {
            let stay = self.viewers[viewer].stay.take_if(|stay| stay.gateway == gateway);
            if let Some(stay) = stay {
                self.census.count("viewer", "dropped by a crash");
                self.drop_session(viewer, stay.run);
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
        let live = stay.run.session.is_following();
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

/// The same cursor, but for one character.
fn damaged(cursor: String) -> String {
    let at = cursor.len() / 2;
    let other = if cursor.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &cursor[..at], &cursor[at + 1..])
}
