//! Whether the peer of a connection is still there: a ping at a fixed interval, and a bound for the pong.
//!
//! Streams to runtimes, viewers' sessions and the streams of the gateway's clients keep their connections by this one
//! rule. Other traffic neither postpones a ping nor replaces a pong (RFC 6455, 5.5.2 and 5.5.3).

use std::time::{Duration, Instant};

/// The time between two pings, whatever else is sent.
pub const PING_EVERY: Duration = Duration::from_secs(15);

/// The longest time that the peer may take to answer a ping.
pub const PONG_WITHIN: Duration = Duration::from_secs(15);

/// The slowest that a peer reads which is there, in bytes a second.
pub const SLOWEST_READER: usize = 2 << 10;

/// The most that is on its way to a peer, in bytes: what the systems of both sides hold for one that reads slowly.
pub const MAX_UNDER_WAY: usize = 192 << 10;

/// The pings and pongs of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    next_ping: Instant,
    /// How much was written since the last ping, and how much before it that the peer may not have read, in bytes.
    written: usize,
    under_way: usize,
    /// When the oldest ping without an answer is overdue.
    pong_until: Option<Instant>,
}

/// What is due for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beat {
    /// Send a ping.
    Ping,
    /// A pong is overdue: the peer is gone.
    Overdue,
    /// Nothing before this instant, at which the next ping is due.
    WaitToPing(Instant),
    /// Nothing before this instant, by which a pong must have come.
    WaitForPong(Instant),
}

impl Heartbeat {
    /// For a connection that is open from `now` on.
    pub fn new(now: Instant) -> Self {
        Self { next_ping: now + PING_EVERY, written: 0, under_way: 0, pong_until: None }
    }

    /// Takes a pong. It answers all pings before it (RFC 6455, 5.5.3).
    pub fn pong(&mut self) {
        self.pong_until = None;
        self.under_way = 0;
    }

    /// Takes that so many bytes were written, which the peer reads before the next ping: a slow one is given the time.
    pub fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes).min(MAX_UNDER_WAY);
    }

    /// Gives the peer this much more time for its pong: for a driver that could not read while it was writing.
    pub fn extend(&mut self, time: Duration) {
        self.pong_until = self.pong_until.map(|until| until + time);
    }

    /// What is due. [`Beat::Ping`] is said once for each ping.
    pub fn poll(&mut self, now: Instant) -> Beat {
        if self.pong_until.is_some_and(|until| until <= now) {
            return Beat::Overdue;
        }
        if self.next_ping <= now {
            self.next_ping = now + PING_EVERY;
            self.under_way = (self.under_way + std::mem::take(&mut self.written)).min(MAX_UNDER_WAY);
            let reading = Duration::from_secs((self.under_way / SLOWEST_READER) as u64);
            self.pong_until.get_or_insert(now + PONG_WITHIN + reading);
            return Beat::Ping;
        }
        match self.pong_until {
            Some(until) if until <= self.next_ping => Beat::WaitForPong(until),
            _ => Beat::WaitToPing(self.next_ping),
        }
    }
}

#[cfg(test)]
mod tests;
