//! Several addresses of one name, of which some may be silent (RFC 8305, "Happy Eyeballs").

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an address may be silent before the next one is tried beside it (RFC 8305, 5).
pub const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How many addresses of a name are tried at most.
pub const MAX_ADDRESSES: usize = 16;

/// Decides which addresses of a name to try, and when. The connection that is there first is used, the others are
/// dropped.
///
/// ```
/// use std::net::SocketAddr;
/// use std::time::Instant;
///
/// use sekisho_core::transport::{AddressRace, CONNECTION_ATTEMPT_DELAY, RaceStep};
///
/// let (first, second): (SocketAddr, SocketAddr) = ("[2001:db8::1]:443".parse()?, "192.0.2.1:443".parse()?);
/// let now = Instant::now();
/// let mut race = AddressRace::new([second, first]);
/// assert_eq!(race.poll(now), RaceStep::Connect(first));
/// assert_eq!(race.poll(now), RaceStep::Wait { until: Some(now + CONNECTION_ATTEMPT_DELAY) });
/// // It is silent. Both are waited for from here on.
/// assert_eq!(race.poll(now + CONNECTION_ATTEMPT_DELAY), RaceStep::Connect(second));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct AddressRace {
    waiting: VecDeque<SocketAddr>,
    /// When the next one is tried, unless one fails before.
    next_at: Option<Instant>,
    under_way: usize,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RaceStep {
    /// Begin to connect to this address, and poll again.
    Connect(SocketAddr),
    /// Wait for a connection, for one to [fail](AddressRace::failed), or for the instant.
    Wait {
        /// `None` where there is no further address.
        until: Option<Instant>,
    },
    /// All have failed.
    Lost,
}

impl AddressRace {
    /// A race between these addresses, in the order of the resolver but for the families: they take turns, IPv6 first
    /// (RFC 8305, 4).
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let (sixth, fourth): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
        let (mut sixth, mut fourth) = (sixth.into_iter(), fourth.into_iter());
        let mut waiting = VecDeque::new();
        loop {
            let before = waiting.len();
            waiting.extend(sixth.next());
            waiting.extend(fourth.next());
            if waiting.len() == before {
                break;
            }
        }
        waiting.truncate(MAX_ADDRESSES);
        Self { waiting, next_at: None, under_way: 0 }
    }

    /// What to do next. To be called until it says to wait.
    pub fn poll(&mut self, now: Instant) -> RaceStep {
        let is_due = self.next_at.is_none_or(|next_at| next_at <= now);
        if is_due && let Some(address) = self.waiting.pop_front() {
            self.under_way += 1;
            self.next_at = Some(now + CONNECTION_ATTEMPT_DELAY);
            return RaceStep::Connect(address);
        }
        match self.under_way {
            0 => RaceStep::Lost,
            _ => RaceStep::Wait { until: self.next_at.filter(|_| !self.waiting.is_empty()) },
        }
    }

    /// One of those that are under way has failed: the next one is tried at once.
    pub fn failed(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.next_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 7700).into()
    }

    fn v6(last: u16) -> SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 7700).into()
    }

    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn families_take_turns() {
        let mut race = AddressRace::new([v4(1), v4(2), v6(1), v4(3), v6(2)]);
        let now = epoch();
        for expected in [v6(1), v4(1), v6(2), v4(2), v4(3)] {
            assert_eq!(race.poll(now), RaceStep::Connect(expected));
            race.failed();
        }
        assert_eq!(race.poll(now), RaceStep::Lost);
    }

    #[test]
    fn a_silent_address_keeps_no_other_from_being_tried() {
        let mut race = AddressRace::new([v4(1), v4(2), v4(3)]);
        let mut now = epoch();
        assert_eq!(race.poll(now), RaceStep::Connect(v4(1)));
        for address in [v4(2), v4(3)] {
            let RaceStep::Wait { until: Some(until) } = race.poll(now) else { panic!() };
            assert_eq!(until, now + CONNECTION_ATTEMPT_DELAY);
            now = until;
            assert_eq!(race.poll(now), RaceStep::Connect(address));
        }
        assert_eq!(race.poll(now), RaceStep::Wait { until: None });
        for _ in 0..2 {
            race.failed();
            assert_eq!(race.poll(now), RaceStep::Wait { until: None });
        }
        race.failed();
        assert_eq!(race.poll(now), RaceStep::Lost);
    }

    #[test]
    fn no_name_has_addresses_without_end() {
        let mut race = AddressRace::new((0..=255).map(v4));
        let now = epoch();
        let mut tried = 0;
        while let RaceStep::Connect(_) = race.poll(now) {
            tried += 1;
            race.failed();
        }
        assert_eq!(tried, MAX_ADDRESSES);
        assert_eq!(AddressRace::new([]).poll(now), RaceStep::Lost);
    }
}
