//! Where programs keep what outlasts them.

use std::env;
use std::path::PathBuf;

/// Where that is kept which outlasts a process, where the file names no place for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StatePlace {
    /// In this process alone.
    Process,
    /// In the state directory.
    StateDirectory,
    /// There, but it is neither made nor read now: a configuration is only looked at.
    Unused,
}

/// `$STATE_DIRECTORY`, as systemd sets it, else `sekisho` below `$XDG_STATE_HOME` or `~/.local/state`.
pub(crate) fn state_directory() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).and_then(absolute);
    // systemd separates several directories with a colon; the first is the unit's own.
    let of_systemd = env::var("STATE_DIRECTORY").ok();
    let of_systemd = of_systemd.as_deref().and_then(|paths| paths.split(':').next()).map(PathBuf::from);
    let state = || variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    of_systemd.and_then(absolute).or_else(|| Some(state()?.join("sekisho")))
}
