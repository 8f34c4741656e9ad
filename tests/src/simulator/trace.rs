//! What happened in a world, line by line.

use std::fmt::{self, Write};

use bytes::Bytes;

use super::clock::Time;

/// How much of what happens is noted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// What was shown to clients and viewers.
    Shown,
    /// That, and what a log would say.
    Logged,
    /// Every single thing.
    All,
}

/// Something that a client or viewer was shown, or a line of a log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) at: Time,
    /// The runtime that it is about, where it is about one.
    pub(super) runtime: Option<usize>,
    pub(super) to: To,
    pub(super) what: Bytes,
}

/// Who was shown something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    Client(usize),
    Viewer(usize),
    Log,
}

/// What was noted.
#[derive(Default)]
pub(super) struct Trace {
    pub(super) detail: Detail,
    pub(super) text: String,
    pub(super) shown: Vec<Shown>,
}

impl Trace {
    /// Notes a single thing, where every single thing is noted.
    pub(super) fn note(&mut self, now: Time, what: fmt::Arguments<'_>) {
        if self.detail == Detail::All {
            let _ = writeln!(self.text, "{:>12.6} {what}", now.as_secs_f64());
        }
    }

    pub(super) fn show(&mut self, shown: Shown) {
        if self.detail == Detail::All {
            let _ = writeln!(self.text, "{:>12.6} {shown}", shown.at.as_secs_f64());
        }
        if self.detail >= Detail::Shown {
            self.shown.push(shown);
        }
    }

    pub(super) fn logs(&self) -> bool {
        self.detail >= Detail::Logged
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shown to {:?}: {}", self.to, String::from_utf8_lossy(&self.what))
    }
}

/// Where two accounts of a world first differ.
pub(super) fn difference<'a>(
    one: impl IntoIterator<Item = &'a Shown>,
    other: impl IntoIterator<Item = &'a Shown>,
) -> Option<(Time, String)> {
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let tell = |shown: Option<&Shown>| match shown {
        Some(shown) => format!("{:?} {shown}", shown.at),
        None => "nothing more".to_owned(),
    };
    loop {
        match (one.next(), other.next()) {
            (None, None) => return None,
            (left, right) if left == right => {}
            (left, right) => {
                let at = left.or(right).map_or(Time::ZERO, |shown| shown.at);
                return Some((at, format!("{}\n    but then {}", tell(left), tell(right))));
            }
        }
    }
}
