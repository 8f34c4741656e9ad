//! From an action to calls, and from how they ended to the response.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use super::json;
use super::problem::problem;
use super::request::Action;
use super::view::{Diagnostic, Presenter, RuntimeView, Severity, WorkerView};
use crate::call::Call;
use crate::error::{Error, ErrorKind, Outcome};
use crate::id::RuntimeId;
use crate::policy::Policy;
use crate::registry::{OVERVIEW_TIMEOUT, Registry};
use crate::runtime_api::{
    AckBody, Command, Operation, Reply, RuntimeBody, TranscriptBody, WorkerBody, WorkerSummary,
};

/// The time, for reckoning and for showing.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never goes back.
    pub instant: Instant,
    /// What clocks on walls say.
    pub wall: SystemTime,
}

/// One request between its [`Action`] and its response.
#[derive(Debug)]
pub struct Exchange {
    subject: Subject,
    /// Who is asked, in order; with an error, why he is not.
    asked: Vec<(RuntimeId, Option<Error>)>,
}

/// What the response is about.
#[derive(Debug)]
enum Subject {
    /// The gateway itself, which needs nobody's word.
    Gateway(StatusCode, &'static str),
    Runtimes,
    Runtime,
    AllWorkers,
    Command(Command),
}

type End = (RuntimeId, Result<Reply, Error>);

#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
    diagnostics: Vec<Diagnostic>,
}

const JSON: &str = "application/json";

impl Exchange {
    /// Whom to ask for this action. Each call is to be driven to its end, all of them at once.
    ///
    /// `draining` is whether the gateway is about to go, so that it is no longer ready.
    pub fn begin(
        registry: &mut Registry,
        policy: &dyn Policy,
        now: Instant,
        draining: bool,
        action: Action,
    ) -> (Self, Vec<Call>) {
        let permitted = |operation| -> Vec<RuntimeId> {
            let may = |id: &&RuntimeId| policy.permits(operation, id, None);
            registry.runtime_ids().iter().filter(may).cloned().collect()
        };
        let overview = Some(OVERVIEW_TIMEOUT);
        let (subject, runtime_ids, command, patience) = match action {
            Action::Health => return Self::of_gateway(StatusCode::OK, "ok"),
            Action::Ready if draining => {
                return Self::of_gateway(StatusCode::SERVICE_UNAVAILABLE, "draining");
            }
            Action::Ready => return Self::of_gateway(StatusCode::OK, "ready"),
            Action::Runtimes => {
                (Subject::Runtimes, permitted(Operation::ReadRuntime), Command::Runtime, overview)
            }
            Action::AllWorkers => {
                (Subject::AllWorkers, permitted(Operation::ListWorkers), Command::Workers, overview)
            }
            Action::Runtime(runtime_id) => (Subject::Runtime, vec![runtime_id], Command::Runtime, overview),
            Action::Command { runtime_id, command } => {
                (Subject::Command(command.clone()), vec![runtime_id], command, None)
            }
        };
        let mut calls = Vec::with_capacity(runtime_ids.len());
        let mut asked = Vec::with_capacity(runtime_ids.len());
        for runtime_id in runtime_ids {
            let call = match policy.permits(command.operation(), &runtime_id, command.worker_id()) {
                true => registry.call(now, &runtime_id, command.clone(), patience),
                false => Err(command.refused(Error::new(ErrorKind::Denied), &runtime_id)),
            };
            let refusal = call.map(|call| calls.push(call)).err();
            asked.push((runtime_id, refusal));
        }
        (Self { subject, asked }, calls)
    }

    fn of_gateway(status: StatusCode, word: &'static str) -> (Self, Vec<Call>) {
        (Self { subject: Subject::Gateway(status, word), asked: Vec::new() }, Vec::new())
    }

    /// The response, from how the calls ended, in the order in which [`Exchange::begin`] gave them out.
    pub fn response(
        self,
        registry: &Registry,
        policy: &dyn Policy,
        now: Now,
        ends: Vec<Result<Reply, Error>>,
    ) -> Response<Bytes> {
        let mut ends = ends.into_iter();
        let unfinished = || Err(Error::with_detail(ErrorKind::Internal, "a call was not driven to its end"));
        let mut results = self.asked.into_iter().map(|(runtime_id, refusal)| {
            let end = match refusal {
                Some(error) => Err(error),
                None => ends.next().unwrap_or_else(unfinished),
            };
            (runtime_id, end)
        });
        let one = |end: Option<End>, show: &dyn Fn(End) -> Result<Response<Bytes>, Error>| {
            end.map_or_else(|| Err(Error::new(ErrorKind::Internal)), show)
        };
        let shown = match &self.subject {
            Subject::Gateway(status, word) => Ok(json(*status, JSON, &serde_json::json!({ "status": word }))),
            Subject::Runtimes => Ok(runtimes(registry, now, results)),
            Subject::AllWorkers => Ok(all_workers(registry, policy, results)),
            Subject::Runtime => one(results.next(), &|end| runtime(registry, now, end)),
            Subject::Command(command) => one(results.next(), &|end| reply(registry, policy, command, end)),
        };
        shown.unwrap_or_else(|error| problem(&error))
    }
}

fn runtimes(registry: &Registry, now: Now, ends: impl Iterator<Item = End>) -> Response<Bytes> {
    let mut shown = Items { items: Vec::new(), diagnostics: Vec::new() };
    for (runtime_id, end) in ends {
        let diagnostics: Vec<Diagnostic> = end.as_ref().err().map(Diagnostic::from).into_iter().collect();
        shown.diagnostics.extend(diagnostics.iter().cloned());
        shown.items.extend(runtime_view(registry, now, &runtime_id, diagnostics));
    }
    json(StatusCode::OK, JSON, &shown)
}

/// A runtime that cannot be reached is there all the same; one that is not configured, or not for this client's
/// eyes, is not.
fn runtime(registry: &Registry, now: Now, (runtime_id, end): End) -> Result<Response<Bytes>, Error> {
    let diagnostics = match end {
        Ok(_) => Vec::new(),
        Err(error) if matches!(error.kind(), ErrorKind::UnknownRuntime | ErrorKind::Denied) => {
            return Err(error);
        }
        Err(error) => vec![Diagnostic::from(&error)],
    };
    let runtime = runtime_view(registry, now, &runtime_id, diagnostics)
        .ok_or_else(|| Error::new(ErrorKind::UnknownRuntime).of_runtime(&runtime_id))?;
    Ok(json(StatusCode::OK, JSON, &RuntimeBody { runtime }))
}

fn runtime_view(
    registry: &Registry,
    now: Now,
    runtime_id: &RuntimeId,
    diagnostics: Vec<Diagnostic>,
) -> Option<RuntimeView> {
    let (spec, health) = (registry.spec(runtime_id)?, registry.health(runtime_id)?);
    let last_seen_ago = health.last_seen.map(|seen| now.instant.saturating_duration_since(seen));
    Some(RuntimeView::new(spec, health, last_seen_ago.and_then(|ago| now.wall.checked_sub(ago)), diagnostics))
}

fn all_workers(registry: &Registry, policy: &dyn Policy, ends: impl Iterator<Item = End>) -> Response<Bytes> {
    let mut shown = Items { items: Vec::new(), diagnostics: Vec::new() };
    for (runtime_id, end) in ends {
        match end {
            Ok(Reply::Workers(workers)) => {
                if let Ok(presenter) = presenter(registry, policy, &runtime_id) {
                    let rows = rows(&presenter, workers);
                    shown.items.extend(rows.items);
                    shown.diagnostics.extend(rows.diagnostics);
                }
            }
            Ok(_) => {}
            Err(error) => shown.diagnostics.push((&error).into()),
        }
    }
    json(StatusCode::OK, JSON, &shown)
}

/// What can be shown of a list, and how much cannot.
fn rows(presenter: &Presenter<'_>, workers: Vec<WorkerSummary>) -> Items<WorkerView> {
    let listed = workers.len();
    let items: Vec<WorkerView> = workers.into_iter().filter_map(|worker| presenter.listed(worker)).collect();
    let left_out = listed - items.len();
    let diagnostics = (left_out > 0).then(|| Diagnostic {
        code: ErrorKind::InvalidIdentifier.code(),
        severity: Severity::Warning,
        message: format!("the runtime lists {left_out} more under ids that are not of the form"),
        runtime_id: Some(presenter.spec.runtime_id.clone()),
    });
    Items { items, diagnostics: diagnostics.into_iter().collect() }
}

fn reply(
    registry: &Registry,
    policy: &dyn Policy,
    command: &Command,
    (runtime_id, end): End,
) -> Result<Response<Bytes>, Error> {
    let reply = end?;
    let presenter = presenter(registry, policy, &runtime_id)?;
    // The command happened, but what the runtime made of it cannot be shown.
    let unusable = || {
        let detail = "the runtime calls the worker by something that is no id";
        let changes_something = command.operation().changes_something();
        Error::with_detail(ErrorKind::MalformedResponse, detail)
            .of_runtime(&runtime_id)
            .of_worker(command.worker_id())
            .with_outcome(changes_something.then_some(Outcome::Unknown))
    };
    Ok(match (reply, command.worker_id()) {
        (Reply::Workers(workers), _) => json(StatusCode::OK, JSON, &rows(&presenter, workers)),
        (Reply::Worker(worker), asked) => {
            let worker = presenter.worker(*worker).ok_or_else(unusable)?;
            if asked.is_some() {
                return Ok(json(StatusCode::OK, JSON, &WorkerBody { worker }));
            }
            let location = format!("/api/runtimes/{runtime_id}/workers/{}", worker.worker_id);
            let mut response = json(StatusCode::CREATED, JSON, &WorkerBody { worker: &worker });
            // Ids are made of characters that a header value may hold.
            let location = HeaderValue::from_str(&location).expect("made of ids");
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        (Reply::Input(ack), Some(worker_id)) => {
            json(StatusCode::OK, JSON, &AckBody { ack: presenter.input_ack(worker_id, &ack) })
        }
        (Reply::Ack(ack), Some(worker_id)) => {
            json(StatusCode::OK, JSON, &AckBody { ack: presenter.ack(worker_id, &ack) })
        }
        (Reply::Transcript(page), Some(worker_id)) => {
            json(StatusCode::OK, JSON, &TranscriptBody { transcript: presenter.transcript(worker_id, page) })
        }
        _ => return Err(Error::new(ErrorKind::Internal).of_runtime(&runtime_id)),
    })
}

fn presenter<'a>(
    registry: &'a Registry,
    policy: &'a dyn Policy,
    runtime_id: &RuntimeId,
) -> Result<Presenter<'a>, Error> {
    match (registry.spec(runtime_id), registry.health(runtime_id)) {
        (Some(spec), Some(health)) => Ok(Presenter { spec, health, policy }),
        _ => Err(Error::new(ErrorKind::UnknownRuntime).of_runtime(runtime_id)),
    }
}

#[cfg(test)]
mod tests;
