//! What a viewer has been shown, and what may therefore come next.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use sekisho_core::runtime_api::SNAPSHOT_PREFIX;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::census::Census;
use super::gateway::MAX_EVENT;
use super::invariants::Invariant;
use super::ledger::At;
use super::scripted::worker_name;
use super::world::Site;

/// A cursor that a viewer has seen.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) cursor: String,
    /// The key that it was sealed with.
    pub(super) key: u8,
    /// Whose it is: the numbers of runtime and worker.
    pub(super) of: (usize, usize),
    /// The place that it stands for, where that is known.
    pub(super) at: Option<At>,
}

/// The frame of each event, under a key.
#[derive(Default)]
pub(super) struct Known(BTreeMap<(u8, usize, String), Bytes>);

/// What one viewer has seen in one stay.
#[derive(Default)]
pub(super) struct Account {
    pub(super) came_with_cursor: bool,
    /// Where it is.
    pub(super) position: Option<At>,
    /// Whether a snapshot has been seen, or was not needed.
    begun: bool,
    after_gap: bool,
    pub(super) caught_up: bool,
    /// Whether it was told, before it was live, that the runtime is away.
    joined_away: bool,
    pub(super) shown: u32,
    /// The code of the last frame, where it was a diagnostic.
    last_code: Option<String>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    envelope: Option<Envelope<'a>>,
    #[serde(borrow)]
    diagnostic: Option<Diagnostic<'a>>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    runtime_id: Cow<'a, str>,
    #[serde(borrow)]
    worker_id: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Diagnostic<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

type Broken = (Invariant, String);

impl Account {
    /// A stay that begins after a place, or with a snapshot.
    pub(super) fn new(after: Option<Option<At>>) -> Self {
        Self {
            came_with_cursor: after.is_some(),
            position: after.flatten(),
            begun: after.is_some(),
            ..Self::default()
        }
    }

    /// Checks that a frame is one that may come next.
    pub(super) fn see(
        &mut self,
        text: &Bytes,
        site: &Site,
        worker: usize,
        (key, runtime): (u8, usize),
        known: &mut Known,
        census: &mut Census,
    ) -> Result<(), Broken> {
        let Ok(Frame { envelope, diagnostic }) = serde_json::from_slice(text) else {
            return Err((Invariant::FramesInOrder, format!("{} is no frame", String::from_utf8_lossy(text))));
        };
        if self.last_code.as_deref().is_some_and(|code| close_code(code).is_some()) {
            return Err((Invariant::TypedEnd, "something follows the end".to_owned()));
        }
        if self.joined_away && !self.caught_up && !ends_joining(diagnostic.as_ref()) {
            return Err((Invariant::FramesInOrder, "an outage from before".to_owned()));
        }
        self.last_code = diagnostic.as_ref().map(|diagnostic| diagnostic.code.to_string());
        if let Some(Diagnostic { code }) = diagnostic {
            return self.hear(&code, census);
        }
        let Some(envelope) = envelope else {
            return Err((Invariant::FramesInOrder, "a frame without anything in it".to_owned()));
        };
        if envelope.runtime_id != site.runtime_id.as_str() || envelope.worker_id != worker_name(worker) {
            return Err((Invariant::FramesInOrder, "an event of another worker".to_owned()));
        }
        let id = (key, runtime, envelope.event_id.to_string());
        let (text, is_honest) = (text.clone(), site.plan.kind.is_honest());
        match known.0.get(&id) {
            Some(same) if *same != text && is_honest => {
                return Err((Invariant::SameForEverybody, format!("{} has two faces", envelope.event_id)));
            }
            Some(_) => {}
            None => drop(known.0.insert(id, text)),
        }
        self.follow(&envelope, site, worker, census)
    }

    fn hear(&mut self, code: &str, census: &mut Census) -> Result<(), Broken> {
        let is_the_end = close_code(code).is_some();
        if self.after_gap && !is_the_end {
            return Err((
                Invariant::ResynchronizedBeforeJump,
                format!("{code} between a gap and its snapshot"),
            ));
        }
        if !self.begun && !is_the_end {
            return Err((Invariant::SnapshotFirst, format!("{code} comes first")));
        }
        match code {
            "resynchronized" => self.after_gap = true,
            "caught_up" if self.caught_up => {
                return Err((Invariant::FramesInOrder, "caught up twice".to_owned()));
            }
            "caught_up" => self.caught_up = true,
            "upstream_disconnected" if !self.caught_up && !self.joined_away => self.joined_away = true,
            "upstream_disconnected" | "upstream_resumed" if !self.caught_up => {
                return Err((Invariant::FramesInOrder, "an outage from before".to_owned()));
            }
            "upstream_disconnected" | "upstream_resumed" => {}
            _ if is_the_end => return Ok(()),
            _ => return Err((Invariant::TypedEnd, format!("{code} is not a known close code"))),
        }
        census.count_code("viewer", &code.replace("caught_up", "caught up"));
        Ok(())
    }

    fn follow(
        &mut self,
        envelope: &Envelope<'_>,
        site: &Site,
        worker: usize,
        census: &mut Census,
    ) -> Result<(), Broken> {
        let place_of_snapshot = envelope.event_id.strip_prefix(SNAPSHOT_PREFIX);
        let place = place_of_snapshot.unwrap_or(&envelope.event_id);
        let at = site.machine.locate(worker, place);
        let is_honest = site.plan.kind.is_honest();
        if is_honest && at.is_none() {
            return Err((Invariant::FramesInOrder, format!("{place} never was a place")));
        }
        let payload = envelope.payload.get();
        if place_of_snapshot.is_some() {
            census.count("viewer", "snapshot");
            if self.begun && !self.after_gap {
                return Err((Invariant::ResynchronizedBeforeJump, format!("a snapshot at {at:?}")));
            }
            if self.position.is_some_and(|position| Some(position) > at) && is_honest {
                return Err((Invariant::FramesInOrder, format!("back from {:?} to {at:?}", self.position)));
            }
            let expected = at.and_then(|at| site.machine.snapshot(worker, at));
            if expected.is_some_and(|expected| !is_shown(&expected, payload)) {
                return Err((Invariant::FramesInOrder, format!("{payload} was never the state at {at:?}")));
            }
            (self.begun, self.after_gap, self.position) = (true, false, at);
            return Ok(());
        }
        census.count("viewer", "event");
        if !self.begun {
            return Err((Invariant::SnapshotFirst, format!("an event at {at:?} comes first")));
        }
        if self.after_gap {
            return Err((
                Invariant::ResynchronizedBeforeJump,
                "an event between a gap and its snapshot".into(),
            ));
        }
        if is_honest {
            let follows = |from, to| site.machine.follows(worker, from, to);
            if !self.position.zip(at).is_some_and(|(from, to)| follows(from, to)) {
                return Err((Invariant::FramesInOrder, format!("{at:?} after {:?}", self.position)));
            }
            let told = at.and_then(|at| site.machine.payload(worker, at));
            if !told.is_some_and(|told| is_shown(&told, payload)) {
                return Err((Invariant::FramesInOrder, format!("{payload} is not what happened at {at:?}")));
            }
        }
        if payload.starts_with(r#"{"event":"sekisho.event_too_large""#) {
            census.count("viewer", "event too large");
        }
        self.position = at;
        Ok(())
    }

    /// Checks that the viewer was told why, and that the code of the close is that of the reason.
    pub(super) fn close(&mut self, code: u16) -> Result<(), String> {
        let said = self.last_code.as_deref();
        match said.and_then(close_code) {
            Some(expected) if expected == code => Ok(()),
            _ => Err(format!("closed with {code} after {said:?}")),
        }
    }
}

/// Whether this may follow where a viewer was told, before it was live, that the runtime is away.
fn ends_joining(diagnostic: Option<&Diagnostic<'_>>) -> bool {
    diagnostic.is_some_and(|it| it.code == "caught_up" || close_code(&it.code).is_some())
}

/// Whether this is how what a runtime said is shown.
fn is_shown(said: &Bytes, shown: &str) -> bool {
    if said.len() <= MAX_EVENT {
        return said == shown;
    }
    shown == format!(r#"{{"event":"sekisho.event_too_large","data":{{"bytes":{}}}}}"#, said.len())
}

/// The close code that follows a diagnostic which is the end (`docs/observation.md`).
fn close_code(diagnostic: &str) -> Option<u16> {
    Some(match diagnostic {
        "going_away" => 1001,
        "observation_only" => 1008,
        "viewer_lagged" => 4001,
        "network_error"
        | "runtime_timeout"
        | "runtime_busy"
        | "runtime_unavailable"
        | "runtime_error"
        | "runtime_stopped" => 4002,
        "too_many_viewers" => 4003,
        "cursor_expired" => 4400,
        "cursor_unknown" => 4401,
        "cursor_malformed" => 4500,
        "unsupported" => 4501,
        "runtime_auth_failed"
        | "malformed_frame"
        | "identity_mismatch"
        | "unexpected_redirect"
        | "malformed_response"
        | "response_too_large" => 4502,
        "denied" => 4503,
        "worker_not_found" | "unknown_runtime" | "invalid_identifier" => 4504,
        // A runtime that refuses a stream with a typed 4xx of its own.
        "invalid_request" | "payload_too_large" | "idempotency_conflict" | "conflict" => 4500,
        "worker_busy" => 4002,
        _ => return None,
    })
}
