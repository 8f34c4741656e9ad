//! The connection of one viewer, whatever it is shown.

use std::time::Instant;

use super::message::ViewerWait;
use super::quota::Permit;
use crate::heartbeat::{Beat, Heartbeat, PING_EVERY};

/// Whether the viewer is still there, whether it takes what is written, and when it has to go.
pub(crate) struct Link {
    permit: Permit,
    heartbeat: Heartbeat,
    /// Since when something is being written.
    writing_since: Option<Instant>,
    /// When to go, once the gateway shuts down.
    leave_at: Option<Instant>,
}

/// What is due for a connection.
pub(crate) enum Due {
    /// To ping.
    Ping,
    /// The viewer is gone.
    Overdue,
    /// The viewer has to go, as the gateway shuts down.
    Leave,
}

impl Link {
    pub(super) fn new(now: Instant, permit: Permit) -> Self {
        Self { permit, heartbeat: Heartbeat::new(now), writing_since: None, leave_at: None }
    }

    pub(crate) fn pong(&mut self) {
        self.heartbeat.pong();
    }

    /// Takes that the gateway shuts down.
    pub(crate) fn drain(&mut self, now: Instant) {
        self.leave_at.get_or_insert_with(|| now + self.permit.going_away_in());
    }

    /// Takes that a frame of so many bytes, or a ping of none, is being written.
    pub(crate) fn writes(&mut self, now: Instant, bytes: usize) {
        if bytes > 0 {
            self.heartbeat.wrote(bytes);
        }
        self.writing_since = Some(now);
    }

    /// Takes that it is written.
    pub(crate) fn written(&mut self, now: Instant) {
        let Some(since) = self.writing_since.take() else { return };
        self.heartbeat.extend(now.saturating_duration_since(since));
    }

    /// What to wait for while something is being written.
    pub(crate) fn writing(&self, now: Instant) -> Option<(Instant, ViewerWait)> {
        self.writing_since.map(|_| (now + PING_EVERY, ViewerWait::Write))
    }

    /// What is due now.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        match self.heartbeat.poll(now) {
            Beat::Overdue => Some(Due::Overdue),
            Beat::Ping => Some(Due::Ping),
            Beat::WaitToPing(_) | Beat::WaitForPong(_) => {
                self.leave_at.filter(|at| *at <= now).map(|_| Due::Leave)
            }
        }
    }

    /// What to wait for, where nothing is due.
    pub(crate) fn wait(&mut self, now: Instant) -> (Instant, ViewerWait) {
        let (until, why) = match self.heartbeat.poll(now) {
            Beat::WaitForPong(until) => (until, ViewerWait::Pong),
            Beat::WaitToPing(until) => (until, ViewerWait::Ping),
            // What is due was said before.
            Beat::Ping | Beat::Overdue => (now, ViewerWait::Ping),
        };
        match self.leave_at.filter(|at| *at < until) {
            Some(at) => (at, ViewerWait::Drain),
            None => (until, why),
        }
    }
}
