//! What the service manager is told that has started a server (`sd_notify(3)`): nothing where it is not systemd.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// That the server accepts connections, and what is shown as its status.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// That it takes its configuration over anew. It has to say that it is [ready] again when that is done.
pub fn reloading() {
    // Later versions of systemd compare it with when they asked for it.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// That it is about to end, and may take so long for it.
pub fn stopping(within: Duration) {
    let micros = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

/// How often it has to say that it is [alive] where that is watched: half of the time after which it is taken for
/// dead, as systemd recommends.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|within| within / 2)
}

/// That it is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(kind = ?error.kind(), "the service manager cannot be told");
    }
}
