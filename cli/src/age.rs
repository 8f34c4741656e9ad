//! Times in short.

use std::time::{Duration, SystemTime};

/// How long ago a time was (RFC 3339), in its largest unit; empty where that cannot be told.
pub(crate) fn ago(time: &str, now: SystemTime) -> String {
    since(time, now).map(short).unwrap_or_default()
}

/// How long ago a time was.
pub(crate) fn since(time: &str, now: SystemTime) -> Option<Duration> {
    let time = humantime::parse_rfc3339_weak(time).ok()?;
    // The clock of another machine may be ahead.
    Some(now.duration_since(time).unwrap_or_default())
}

fn short(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let now = humantime::parse_rfc3339_weak("2026-01-10T12:00:00Z").unwrap();
        for (time, said) in [
            ("2026-01-10T11:59:59.500Z", "0s"),
            ("2026-01-10T11:58:00Z", "2m"),
            ("2026-01-10T01:00:00Z", "11h"),
            ("2026-01-01T12:00:00Z", "9d"),
            ("2026-01-10T12:00:09Z", "0s"),
            ("yesterday", ""),
        ] {
            assert_eq!(ago(time, now), said, "{time}");
        }
    }
}
