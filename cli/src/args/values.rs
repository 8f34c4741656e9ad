//! Values of arguments.

use std::str::FromStr;
use std::time::SystemTime;

use clap::ValueEnum;
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::{MAX_CONTAINS, WorkerStatus};

/// A worker, or all workers of a runtime.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Watched {
    /// One worker.
    Worker(WorkerRef),
    /// All that run on this runtime.
    Runtime(RuntimeId),
}

impl FromStr for Watched {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains('/') {
            true => text.parse().map(Self::Worker).map_err(|error| format!("{error}")),
            false => text.parse().map(Self::Runtime).map_err(|error| format!("{error}")),
        }
    }
}

/// A moment in the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Time(SystemTime);

impl Time {
    /// Whether it is after this time, which is RFC 3339.
    pub(crate) fn is_after(&self, at: &str) -> bool {
        humantime::parse_rfc3339_weak(at).is_ok_and(|at| self.0 > at)
    }

    /// Whether it is before this time, which is RFC 3339.
    pub(crate) fn is_before(&self, at: &str) -> bool {
        humantime::parse_rfc3339_weak(at).is_ok_and(|at| self.0 < at)
    }
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if let Ok(time) = humantime::parse_rfc3339_weak(text) {
            return Ok(Self(time));
        }
        let ago = humantime::parse_duration(text)
            .map_err(|_| "neither how long ago, as in 10m, nor a time, as in 2026-01-31T12:00:00Z")?;
        SystemTime::now().checked_sub(ago).map(Self).ok_or("before all times")
    }
}

/// What a list of workers is sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum SortKey {
    /// When they were created, as the API lists them
    Created,
    /// Their full names
    Worker,
    /// The names that their creators gave them
    Name,
    /// Their status
    Status,
    /// When they last said something, the newest first
    Output,
    /// When they ended, the newest first
    Ended,
}

/// A key and a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pair(pub(crate) String, pub(crate) String);

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self(key.to_owned(), value.to_owned())),
            _ => Err("not of the form KEY=VALUE"),
        }
    }
}

/// A variable and its value, which is the one that it has here where none is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Variable(pub(crate) String, pub(crate) String);

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(Pair(name, value)) = text.parse() {
            return Ok(Self(name, value));
        }
        match std::env::var(text) {
            Ok(value) if !text.is_empty() => Ok(Self(text.to_owned(), value)),
            _ => Err("there is no such variable here, and no value is given".into()),
        }
    }
}

/// The state of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Status(pub(crate) WorkerStatus);

impl FromStr for Status {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        Ok(Self(match text {
            "running" => WorkerStatus::Running,
            "stopped" => WorkerStatus::Stopped,
            "cancelled" => WorkerStatus::Cancelled,
            _ => return Err("not one of running, stopped, cancelled"),
        }))
    }
}

/// A text that transcripts can be searched for.
pub(super) fn searchable(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=MAX_CONTAINS => Ok(text.to_owned()),
        _ => Err(format!("a text of 1 to {MAX_CONTAINS} characters is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_as_how_long_ago_or_when() {
        let time: Time = "2026-01-31T12:00:00Z".parse().unwrap();
        assert!(time.is_after("2026-01-31T11:59:59.999Z"));
        assert!(!time.is_after("2026-01-31T12:00:00Z") && !time.is_before("2026-01-31T12:00:00Z"));
        assert!(time.is_before("2026-01-31T12:00:00.001Z") && !time.is_before("soon"));
        assert!(!"10m".parse::<Time>().unwrap().is_after("2999-01-01T00:00:00Z"));
        for text in ["", "yesterday", "10", "999999999999999y"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
