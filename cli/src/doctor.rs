//! A check of the connection to each runtime, phase by phase.

mod tls;
mod unix_path;

use std::thread;
use std::time::{Duration, Instant};

use anstyle::Style;
use sekisho_config::Remote;
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::gateway_client::{GatewayEvent, Problem};
use sekisho_core::id::{RuntimeId, WorkerId, WorkerRef};
use sekisho_core::runtime_api::{Command, Feature, Reply, WorkerStatus, WorkerSummary};
use sekisho_core::transport::Target;
use sekisho_transport_blocking::{Phase, Step, probe};
use serde::Serialize;

use crate::args::Global;
use crate::backend::{Backend, Direct, read_configuration};
use crate::failure::{Failure, exit_status};
use crate::show::{Show, Table};
use crate::text::{BAD, FAINT, GOOD, STRONG, WARNING, painted};

/// How long a stream may take to show a worker's state.
const OBSERVE_WITHIN: Duration = Duration::from_secs(5);

/// A worker that no runtime has: the answer for it tells as much as that for a worker that there is.
const NO_WORKER: &str = "sekisho-doctor.no-worker";

/// What was found about one runtime.
#[derive(Serialize)]
struct Report {
    runtime_id: RuntimeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    checks: Vec<Check>,
}

/// What was found in one phase.
#[derive(Serialize)]
struct Check {
    phase: &'static str,
    ok: bool,
    took_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// A runtime, and what the configuration has for it.
struct Examined {
    runtime_id: RuntimeId,
    /// `None` for the runtime in this process.
    remote: Option<Remote>,
}

pub(crate) fn run(
    global: &Global,
    only: &[RuntimeId],
    show_endpoints: bool,
    show: Show,
) -> Result<(), Failure> {
    let Some(path) = &global.config else {
        return Err(Failure::Usage(
            "doctor needs --config: a server does not tell where its runtimes are".into(),
        ));
    };
    let runtimes = read_configuration(path)?;
    let embedded = runtimes.embedded.iter().map(|embedded| embedded.runtime_id.clone());
    let mut examined: Vec<Examined> =
        embedded.map(|runtime_id| Examined { runtime_id, remote: None }).collect();
    for remote in &runtimes.remotes {
        examined.push(Examined { runtime_id: remote.runtime_id.clone(), remote: Some(remote.clone()) });
    }
    if let Some(unknown) = only.iter().find(|id| !examined.iter().any(|runtime| runtime.runtime_id == **id)) {
        return Err(Failure::Usage(format!("the configuration has no runtime {unknown}")));
    }
    examined.retain(|runtime| only.is_empty() || only.contains(&runtime.runtime_id));
    runtimes.warnings.iter().for_each(|warning| show.note(WARNING, warning));
    let direct = Direct::new(runtimes)?;

    let mut failed = None;
    thread::scope(|scope| {
        let looks: Vec<_> = examined
            .iter()
            .map(|runtime| scope.spawn(|| examine(&direct, runtime, show_endpoints)))
            .collect();
        for look in looks {
            let report = look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let worst = report.checks.iter().filter_map(|check| check.code).find(|_| failed.is_none());
            failed = failed.or(worst);
            if show.json {
                show.json_line(&report)?;
            } else {
                report.print(show)?;
            }
        }
        Ok::<(), Failure>(())
    })?;
    match failed {
        Some(code) => Err(Failure::Status(exit_status(code))),
        None => Ok(()),
    }
}

fn examine(direct: &Direct, runtime: &Examined, show_endpoints: bool) -> Report {
    let Examined { runtime_id, remote } = runtime;
    let mut checks = Vec::new();
    let mut endpoint = None;
    if let Some(remote) = remote {
        let target = remote.base_url.target();
        if show_endpoints {
            endpoint = Some(crate::endpoint::endpoint(&target));
        }
        let steps = probe(&target, remote.tls.as_ref(), remote.limits.connect);
        checks.extend(steps.into_iter().map(|step| of_step(step, remote, &target)));
    }
    if checks.iter().all(|check: &Check| check.ok) {
        ask(direct, runtime, &mut checks);
    }
    Report { runtime_id: runtime_id.clone(), endpoint, checks }
}

/// What the runtime itself says, once there is a way to it.
fn ask(direct: &Direct, Examined { runtime_id, remote }: &Examined, checks: &mut Vec<Check>) {
    let has_token = remote.as_ref().is_some_and(|remote| remote.token.is_some());
    let started = Instant::now();
    let reply = direct.call(runtime_id, Command::Runtime);
    let took = started.elapsed();
    match &reply {
        Err(error) if error.kind() == ErrorKind::RuntimeAuthFailed => {
            let advice = match has_token {
                true => "the token that token_file or token_env names is not the runtime's",
                false => "the runtime asks for a token: name it with token_file or token_env",
            };
            return checks.push(Check { advice: Some(advice), ..failed("auth", took, error) });
        }
        // A runtime that asks for no token answers the same.
        Ok(_) if remote.is_some() => {
            let detail = if has_token { "the token was accepted" } else { "no token is needed" };
            checks.push(passed("auth", took, detail.into()));
        }
        _ => {}
    }
    match reply {
        Ok(Reply::Runtime(summary)) => {
            let keys = match summary.has(Feature::Idempotency) {
                true => "repeats are safe (idempotency)",
                false => "no features beyond v1",
            };
            checks.push(passed("version", took, format!("v1, {}, {keys}", summary.backend)));
        }
        Ok(_) => return,
        Err(error) => {
            let mut check = failed("version", took, &error);
            // A runtime's own error has a code.
            if matches!(error.kind(), ErrorKind::RuntimeError | ErrorKind::RuntimeBusy)
                && error.runtime_code().is_none()
            {
                check.advice = Some(
                    "a proxy in front of the runtime answers for it: see whether it reaches the runtime",
                );
            }
            return checks.push(check);
        }
    }
    let started = Instant::now();
    let workers = match direct.call(runtime_id, Command::workers()) {
        Ok(Reply::Workers(list)) => list.workers,
        Ok(_) => return,
        Err(error) => return checks.push(failed("workers", started.elapsed(), &error)),
    };
    let running = workers.iter().filter(|worker| worker.status == WorkerStatus::Running);
    let detail = format!("{} listed, {} running", workers.len(), running.clone().count());
    checks.push(passed("workers", started.elapsed(), detail));
    let named = running
        .into_iter()
        .next()
        .or(workers.first())
        .and_then(|worker: &WorkerSummary| worker.worker_id.parse().ok());
    checks.push(observe(direct, runtime_id, named));
}

/// Looks at a worker's stream; where there is no worker, at the refusal of a stream of one that there is not.
fn observe(direct: &Direct, runtime_id: &RuntimeId, named: Option<WorkerId>) -> Check {
    let there_is_one = named.is_some();
    // A constant that is an id.
    let worker_id = named.unwrap_or_else(|| NO_WORKER.parse().expect("an id"));
    let worker = WorkerRef { runtime_id: runtime_id.clone(), worker_id };
    let started = Instant::now();
    // A stream that is opened has begun at nothing yet, and cannot fail.
    let Ok(mut stream) = direct.open_stream(&worker, None) else {
        return failed("observe", started.elapsed(), &Error::new(ErrorKind::Internal));
    };
    let (detail, code, advice) = loop {
        match stream.next_until(started + OBSERVE_WITHIN) {
            Some(Ok(GatewayEvent::Event(_))) => {
                return passed("observe", started.elapsed(), format!("{worker} is there to be seen"));
            }
            Some(Ok(_)) => {}
            Some(Err(Err(problem))) if problem.code == ErrorKind::WorkerNotFound.code() && !there_is_one => {
                let detail = "there is no worker to be seen, and it says so".into();
                return passed("observe", started.elapsed(), detail);
            }
            Some(Err(Err(problem))) => {
                let Problem { detail, code, .. } = *problem;
                let kind = ErrorKind::from_code(&code).unwrap_or(ErrorKind::Internal);
                // Commands came through before.
                let advice = match kind {
                    ErrorKind::Unsupported | ErrorKind::MalformedResponse | ErrorKind::RuntimeError => Some(
                        "commands come through and the stream does not: a proxy in between may not pass on the Upgrade header",
                    ),
                    kind => advice(kind),
                };
                break (detail, kind.code(), advice);
            }
            Some(Err(Ok(()))) | None => {
                let kind = ErrorKind::RuntimeTimeout(sekisho_core::error::TimeoutPhase::Response);
                break ("no snapshot in time".into(), kind.code(), advice(kind));
            }
        }
    };
    Check {
        phase: "observe",
        ok: false,
        took_ms: milliseconds(started.elapsed()),
        code: Some(code),
        detail,
        advice,
    }
}

fn of_step(Step { phase, took, result }: Step, remote: &Remote, target: &Target) -> Check {
    let name = match phase {
        Phase::Resolve => "name",
        Phase::Connect => "connect",
        Phase::Tls => "tls",
        _ => "connection",
    };
    let Err(cause) = result else { return passed(name, took, String::new()) };
    let kind = ErrorKind::from(cause);
    // What the transport does not tell, as it makes no difference to it.
    let fault = match (phase, target, &remote.tls) {
        (Phase::Connect, Target::Unix(path), _) => unix_path::fault(path),
        (Phase::Tls, Target::Tcp { host, port, .. }, Some(config)) => {
            tls::fault(host, *port, config, remote.limits.connect)
        }
        _ => None,
    };
    Check {
        phase: name,
        ok: false,
        took_ms: milliseconds(took),
        code: Some(kind.code()),
        detail: fault.unwrap_or_else(|| cause.detail().to_owned()),
        advice: advice(kind),
    }
}

fn passed(phase: &'static str, took: Duration, detail: String) -> Check {
    Check { phase, ok: true, took_ms: milliseconds(took), code: None, detail, advice: None }
}

fn failed(phase: &'static str, took: Duration, error: &Error) -> Check {
    Check {
        phase,
        ok: false,
        took_ms: milliseconds(took),
        code: Some(error.kind().code()),
        detail: error.detail().to_owned(),
        advice: advice(error.kind()),
    }
}

fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

/// What to do about it.
fn advice(kind: ErrorKind) -> Option<&'static str> {
    use sekisho_core::error::NetworkPhase::{Connect, Receive, Resolve, Send, Tls};
    Some(match kind {
        ErrorKind::Network(Resolve) => "check the host in base_url, and whether this machine can resolve it",
        ErrorKind::Network(Connect) => {
            "check that the runtime runs, that it listens at the base_url's port, and no firewall is in between"
        }
        ErrorKind::Network(Tls) => {
            "check that the certificate is for the base_url's host; name its issuer with ca_file if the system does not know it"
        }
        ErrorKind::Network(Send | Receive) => {
            "something closes connections before they are answered: look at the runtime's log, and at proxies"
        }
        ErrorKind::RuntimeTimeout(_) => {
            "the machine or the network is slow, or drops packets: raise connect_timeout_ms or response_timeout_ms if that is how it is"
        }
        ErrorKind::IdentityMismatch => {
            "another runtime answers there: runtime_id must be the id that the runtime itself goes by"
        }
        ErrorKind::MalformedResponse | ErrorKind::UnexpectedRedirect | ErrorKind::Unsupported => {
            "what answers there is not a worker-runtime: check the base_url's port and path"
        }
        ErrorKind::RuntimeBusy | ErrorKind::RuntimeError | ErrorKind::RuntimeStopped => {
            "look at the runtime's own log"
        }
        _ => return None,
    })
}

impl Report {
    fn print(&self, show: Show) -> Result<(), Failure> {
        let name = painted(show.color, STRONG, self.runtime_id.as_str());
        let endpoint =
            self.endpoint.as_ref().map(|endpoint| painted(show.color, FAINT, &format!("  {endpoint}")));
        show.line(format!("{name}{}", endpoint.unwrap_or_default()))?;
        let mut table = Table::untitled(3);
        for check in &self.checks {
            let (mark, style) = if check.ok { ("  ✓", GOOD) } else { ("  ✗", BAD) };
            let detail = match check.code {
                Some(code) => format!("{} ({code})", check.detail),
                None => check.detail.clone(),
            };
            table.row([
                (format!("{mark} {}", check.phase), style),
                (format!("{:.1} ms", check.took_ms), FAINT),
                (detail, Style::new()),
            ]);
        }
        show.table(&table)?;
        for advice in self.checks.iter().filter_map(|check| check.advice) {
            show.line(format!("    → {advice}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_of_the_way_has_its_advice() {
        for kind in ErrorKind::all().into_iter().filter(|kind| kind.phase().is_some()) {
            assert!(advice(kind).is_some(), "{kind:?}");
        }
    }
}
