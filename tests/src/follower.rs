//! A viewer that counts what it sees.

use std::net::SocketAddr;

use crate::viewer::{Seen, Viewer};

/// Follows the numbers of a runtime's events, and comes back wherever the close code says so.
pub struct Follower {
    /// Its connection.
    pub viewer: Viewer,
    /// The number of the next event, once that is known.
    pub expected: Option<u64>,
    /// Whether a snapshot may come next, and with it a jump in the numbers.
    pub jump_allowed: bool,
    /// How often it was told of a gap.
    pub resynchronized: usize,
}

impl Follower {
    /// Begins with a snapshot.
    pub fn new(gateway: SocketAddr) -> Self {
        let viewer = Viewer::open(gateway, "rt/w", None);
        Self { viewer, expected: None, jump_allowed: true, resynchronized: 0 }
    }

    /// Reads until the event with this number. The gateway may be another one each time that it is come back to.
    ///
    /// # Panics
    ///
    /// Where one is missing or comes twice.
    pub fn read_to(&mut self, last: u64, gateway: impl Fn() -> SocketAddr) {
        while self.expected.is_none_or(|expected| expected <= last) {
            match self.viewer.see() {
                Seen::Event { payload, event_id, .. } if event_id.starts_with("snapshot:") => {
                    assert!(std::mem::take(&mut self.jump_allowed), "a snapshot that nothing announced");
                    self.expected = Some(payload["data"]["at"].as_u64().unwrap() + 1);
                }
                Seen::Event { payload, .. } => {
                    let number: u64 = payload["data"]["text"].as_str().unwrap().parse().unwrap();
                    assert_eq!(Some(number), self.expected);
                    self.expected = Some(number + 1);
                }
                Seen::Diagnostic(code) if code == "resynchronized" => {
                    self.jump_allowed = true;
                    self.resynchronized += 1;
                }
                Seen::Diagnostic(_) => {}
                Seen::Closed(1001 | 1006 | 4000..=4399) => {
                    let cursor = self.viewer.cursor.clone();
                    self.jump_allowed = cursor.is_none();
                    self.viewer = Viewer::open(gateway(), "rt/w", cursor.as_deref());
                }
                Seen::Closed(code) => panic!("closed with {code}"),
            }
        }
    }
}
