//! What processes and threads have used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the threads of these processes have run, in the scheduler's own count: to the nanosecond, where
/// `/proc/PID/stat` counts in ticks.
pub(crate) fn cpu_time(ids: &[u32]) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for id in ids {
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            total += run_time(&thread?.path())?;
        }
    }
    Ok(total)
}

/// One thread of this process.
pub(crate) struct Thread(PathBuf);

impl Thread {
    /// The one that asks.
    pub(crate) fn current() -> io::Result<Self> {
        fs::read_link("/proc/thread-self").map(|thread| Self(Path::new("/proc").join(thread)))
    }

    /// How long it has run.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        run_time(&self.0)
    }
}

fn run_time(thread: &Path) -> io::Result<Duration> {
    let count = fs::read_to_string(thread.join("schedstat"))?;
    let run = count.split(' ').next().and_then(|run| run.parse().ok());
    Ok(Duration::from_nanos(run.ok_or(io::ErrorKind::InvalidData)?))
}

/// What a process has in memory, in KiB: its share of what several have.
pub(crate) fn memory(id: u32) -> io::Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.strip_suffix("kB"));
    share.and_then(|share| share.trim().parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
