//! How often what happened: a simulator that never gets somewhere proves nothing about it.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of things that happened, by kind and name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Census(BTreeMap<(&'static str, &'static str), u64>);

/// Everything that is counted and has to happen now and then.
const EXPECTED: &[(&str, &[&str])] = &[
    (
        "command",
        &[
            "succeeded",
            "not_applied",
            "unknown",
            "read",
            "abandoned",
            "repeated under its key",
            "waited for an exchange of equal reads",
            "asked for equal reads at once",
        ],
    ),
    ("effect", &["applied", "undone by a loss of state"]),
    (
        "error",
        &[
            "idempotency_conflict",
            "identity_mismatch",
            "invalid_identifier",
            "invalid_request",
            "malformed_response",
            "method_not_allowed",
            "network_error",
            "payload_too_large",
            "response_too_large",
            "runtime_auth_failed",
            "runtime_busy",
            "runtime_error",
            "runtime_stopped",
            "runtime_timeout",
            "runtime_unavailable",
            "unexpected_redirect",
            "unknown_route",
            "unsupported",
            "worker_busy",
            "worker_not_found",
        ],
    ),
    (
        "call",
        &[
            "attempt",
            "repetition",
            "credential read anew",
            "credential accepted",
            "circuit open",
            "share in use",
            "probe answered",
            "probe failed",
            "pooled connection lost",
            "not identified",
            "ended unreported",
            "late report",
        ],
    ),
    (
        "watch",
        &[
            "asked who is there",
            "connect",
            "not identified",
            "resumed",
            "disconnected",
            "resynchronized",
            "refused",
            "credential read anew",
            "ping",
            "pong late",
            "place given up",
            "ended",
            "let go",
            "stale input",
        ],
    ),
    (
        "viewer",
        &[
            "came",
            "came back",
            "came to another replica",
            "snapshot",
            "event",
            "event too large",
            "caught up",
            "joined after replay",
            "joined after snapshot",
            "shared a replay",
            "waited for a replay",
            "paced a replay",
            "upstream_disconnected",
            "upstream_resumed",
            "resynchronized",
            "dropped by a crash",
            "ping",
            "at the end",
        ],
    ),
    (
        "end",
        &[
            "cursor_expired",
            "cursor_malformed",
            "cursor_unknown",
            "identity_mismatch",
            "malformed_frame",
            "network_error",
            "runtime_auth_failed",
            "runtime_timeout",
            "runtime_busy",
            "runtime_error",
            "unexpected_redirect",
            "unsupported",
            "viewer_lagged",
            "worker_not_found",
        ],
    ),
    ("gateway", &["crash", "change told to another loop", "copied a feed again", "token file noticed"]),
    (
        "runtime",
        &["restart", "lost its state", "came back from its disk", "overran a subscriber", "repeated events"],
    ),
    (
        "disk",
        &[
            "waited for",
            "was full",
            "failed",
            "kept what was under way",
            "cut off what was torn",
            "lost what was said",
            "lost a worker",
            "a worker was taken back",
            "answer was the same after a crash",
            "refused a command",
        ],
    ),
    (
        "network",
        &[
            "refused",
            "request lost",
            "response lost",
            "stalled",
            "arrived after the stall",
            "partitioned",
            "stream broken",
            "stream held",
            "proxy",
            "hung",
            "base URLs swapped",
            "asked another machine",
        ],
    ),
];

impl Census {
    pub(super) fn count(&mut self, kind: &'static str, name: &'static str) {
        *self.0.entry((kind, name)).or_default() += 1;
    }

    /// Counts something whose name is a code on the wire.
    pub(super) fn count_code(&mut self, kind: &'static str, code: &str) {
        let known = EXPECTED.iter().filter(|(of, _)| *of == kind).flat_map(|(_, names)| names.iter());
        self.count(kind, known.into_iter().find(|name| **name == code).copied().unwrap_or("other"));
    }

    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(*what).or_default() += count;
        }
    }

    /// What should have happened and has not.
    pub fn missing(&self) -> Vec<String> {
        let expected = EXPECTED.iter().flat_map(|(kind, names)| names.iter().map(move |name| (*kind, *name)));
        expected
            .filter(|what| !self.0.contains_key(what))
            .map(|(kind, name)| format!("{kind}: {name}"))
            .collect()
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, name), count) in &self.0 {
            writeln!(f, "{count:>12}  {kind}: {name}")?;
        }
        Ok(())
    }
}
