//! Where the log goes, in which form, and how much of it.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::lines::Lines;

/// The form of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line, the fields of the event beside `timestamp`, `level`, `target` and `message`.
    Json,
}

/// A text is no [`Format`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("neither text nor json")]
pub struct InvalidFormat;

impl FromStr for Format {
    type Err = InvalidFormat;

    fn from_str(text: &str) -> Result<Self, InvalidFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(InvalidFormat),
        }
    }
}

/// How much is logged: a level, or several separated by commas for targets, as in `info,sekisho_server=debug`.
#[derive(Clone, PartialEq, Debug)]
pub struct Levels(Targets);

/// A text is no [`Levels`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not a level (error, warn, info, debug, trace, off), or levels of targets as in info,sekisho_server=debug"
)]
pub struct InvalidLevels;

impl Default for Levels {
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl FromStr for Levels {
    type Err = InvalidLevels;

    fn from_str(text: &str) -> Result<Self, InvalidLevels> {
        // A name without a level would be a target of which everything is logged.
        let is_level = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
        let levels = (!text.is_empty() && text.split(',').all(is_level)).then(|| text.parse().ok()).flatten();
        levels.map(Self).ok_or(InvalidLevels)
    }
}

impl Levels {
    /// Those of the environment variable `RUST_LOG`, where it has any.
    pub fn of_environment() -> Option<Self> {
        std::env::var("RUST_LOG").ok()?.parse().ok()
    }
}

/// The log of a program, until it is dropped.
pub struct Logging {
    lines: Lines,
    levels: reload::Handle<Targets, Registry>,
    /// Whether the environment says how much is logged, whatever a configuration says.
    fixed: bool,
}

impl Logging {
    /// Has events written to standard error, as `RUST_LOG` says or, without it, from `info` on; without a `format`, as
    /// text on a terminal and as JSON elsewhere. It has no effect where the program that embeds this has a log of its own.
    ///
    /// Only sekisho itself is heard, whatever the levels are: what a library would say of addresses and headers is not for
    /// the log.
    ///
    /// # Errors
    ///
    /// Those of the system that has no thread to give.
    pub fn to_stderr(format: Option<Format>) -> io::Result<Self> {
        let is_terminal = io::stderr().is_terminal();
        let format = format.unwrap_or(if is_terminal { Format::Text } else { Format::Json });
        let lost_line = match format {
            Format::Text => |lost| format!(" WARN sekisho_telemetry: log lines were lost lost={lost}\n"),
            Format::Json => |lost| {
                format!(
                    "{{\"level\":\"WARN\",\"target\":\"sekisho_telemetry\",\"message\":\"log lines were lost\",\"lost\":{lost}}}\n"
                )
            },
        };
        let lines = Lines::new(io::stderr(), lost_line)?;
        let of_environment = Levels::of_environment();
        let fixed = of_environment.is_some();
        let (levels, handle) = reload::Layer::new(of_environment.unwrap_or_default().0);
        let filter = levels.and(ours());
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone()).with_ansi(is_terminal);
        let layer = match format {
            Format::Text => layer.with_filter(filter).boxed(),
            Format::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        };
        let _ = tracing_subscriber::registry().with(layer).try_init();
        Ok(Self { lines, levels: handle, fixed })
    }

    /// Logs as much as this from now on; without effect where `RUST_LOG` says how much.
    pub fn use_levels(&self, levels: Levels) {
        if !self.fixed {
            // It fails where there is another log than this.
            let _ = self.levels.reload(levels.0);
        }
    }

    /// How many lines have been lost because what reads them was too slow.
    pub fn lost_lines(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let lines = self.lines.clone();
        move || lines.lost()
    }

    /// Waits a moment for all lines to be written, before the process ends.
    pub fn flush(&self) {
        self.lines.flush();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging").field("fixed", &self.fixed).finish_non_exhaustive()
    }
}

fn ours() -> FilterFn {
    filter_fn(|metadata| metadata.target().starts_with("sekisho"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_or_refused() {
        for text in ["info", "off", "warn,sekisho_server=trace", "sekisho=debug"] {
            assert!(text.parse::<Levels>().is_ok(), "{text}");
        }
        for text in ["", " ", "loud", "info,sekisho=loud", "a=b=c"] {
            assert_eq!(text.parse::<Levels>(), Err(InvalidLevels), "{text}");
        }
    }
}
