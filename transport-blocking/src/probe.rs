//! Looking at the way to a runtime, one phase after the other.

use sekisho_core::transport::{FailureCause, Target};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::socket::{connect_tcp, connect_unix, resolve, start_tls};

/// A phase of making a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// From the name to addresses.
    Resolve,
    /// A TCP connection, or one to a unix socket.
    Connect,
    /// A trusted TLS session.
    Tls,
}

/// What became of a phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Which one.
    pub phase: Phase,
    /// How long it took.
    pub took: Duration,
    /// Whether it went well.
    pub result: Result<(), FailureCause>,
}

/// Makes a connection and drops it, within a time: each phase that there is, up to the first that fails. There is none
/// to a runtime in this process.
pub fn probe(target: &Target, tls: Option<&Arc<ClientConfig>>, within: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    // What went wrong is in the last step.
    let _ = phases(target, tls, Instant::now() + within, &mut steps);
    steps
}

fn phases(
    target: &Target,
    tls: Option<&Arc<ClientConfig>>,
    deadline: Instant,
    steps: &mut Vec<Step>,
) -> Result<(), FailureCause> {
    match target {
        Target::InProcess => Ok(()),
        Target::Unix(path) => timed(steps, Phase::Connect, || connect_unix(path)).map(drop),
        Target::Tcp { host, port, tls: is_tls } => {
            let addresses = timed(steps, Phase::Resolve, || resolve(host, *port, deadline))?;
            let stream = timed(steps, Phase::Connect, || connect_tcp(&addresses, deadline))?;
            if *is_tls {
                timed(steps, Phase::Tls, || start_tls(stream, host, tls, deadline))?;
            }
            Ok(())
        }
    }
}

fn timed<T>(
    steps: &mut Vec<Step>,
    phase: Phase,
    step: impl FnOnce() -> Result<T, FailureCause>,
) -> Result<T, FailureCause> {
    let started = Instant::now();
    let result = step();
    steps.push(Step {
        phase,
        took: started.elapsed(),
        result: result.as_ref().map(drop).map_err(|cause| *cause),
    });
    result
}
