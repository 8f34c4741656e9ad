//! From an action to calls, and from how they ended to the response.

pub(super) mod lists;

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use self::lists::{all_requests, all_workers, left_out, of_end, page, requests, runtimes, wanted};
#[cfg(feature = "pages")]
use super::asset::Asset;
use super::json;
use super::request::{Action, AllWorkers};
use super::view::{
    AckReply, HealthReply, Items, Presenter, RuntimeReply, RuntimeView, TranscriptReply, WorkerReply,
};
use crate::call::Call;
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::{Error, ErrorKind, Misuse, Outcome};
use crate::id::RuntimeId;
use crate::policy::Policy;
use crate::registry::{OVERVIEW_TIMEOUT, Registry};
use crate::runtime_api::{Command, Contains, Feature, Operation, Reply};

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
    /// Which runtimes are asked, in order; with an error, why one is not.
    asked: Vec<(RuntimeId, Option<Error>)>,
}

/// What the response is about.
#[derive(Debug)]
enum Subject {
    /// The gateway itself, which asks no runtime.
    Gateway(StatusCode, &'static str),
    /// There is nothing that it could be.
    Unknown,
    #[cfg(feature = "pages")]
    Asset(Asset),
    Runtimes,
    Runtime,
    AllWorkers(AllWorkers),
    AllRequests,
    Command(Command),
}

type End = (RuntimeId, Result<Reply, Error>);

const JSON: &str = "application/json";

/// The code of the diagnostic that a runtime did not honour the key of a command.
pub const KEY_NOT_HONOURED: &str = "key_not_honoured";

impl Exchange {
    /// Which runtimes to ask for this action. Each call is to be driven to its end, all of them at once.
    ///
    /// `draining` is whether the gateway is shutting down, so that it is no longer ready.
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
        let of_all = |ids: Vec<RuntimeId>, command: Command| -> Vec<(RuntimeId, Command)> {
            ids.into_iter().map(|id| (id, command.clone())).collect()
        };
        let overview = Some(OVERVIEW_TIMEOUT);
        let (subject, commands, timeout) = match action {
            Action::Health => return Self::of_gateway(StatusCode::OK, "ok"),
            Action::Ready if draining => {
                return Self::of_gateway(StatusCode::SERVICE_UNAVAILABLE, "draining");
            }
            Action::Ready => return Self::of_gateway(StatusCode::OK, "ready"),
            Action::Metrics => (Subject::Unknown, Vec::new(), None),
            #[cfg(feature = "pages")]
            Action::Asset(asset) => (Subject::Asset(asset), Vec::new(), None),
            Action::Runtimes => {
                let commands = of_all(permitted(Operation::ReadRuntime), Command::Runtime);
                (Subject::Runtimes, commands, overview)
            }
            Action::AllWorkers(asked) => {
                let commands = wanted(registry, &asked, permitted(Operation::ListWorkers));
                (Subject::AllWorkers(asked), commands, overview)
            }
            Action::AllRequests => {
                let commands = of_all(permitted(Operation::ListAllRequests), Command::AllRequests);
                (Subject::AllRequests, commands, overview)
            }
            Action::Runtime(runtime_id) => (Subject::Runtime, vec![(runtime_id, Command::Runtime)], overview),
            Action::Command { runtime_id, command } => {
                let sent = match &command {
                    Command::Workers(filter) => page(registry, &runtime_id, filter),
                    // It is filtered here, when no secret is in it any more. A runtime that filtered would let a client
                    // try out, text by text, what is hidden from it.
                    Command::Transcript { worker_id, start, limit, contains: Some(_) } => {
                        let (worker_id, start, limit) = (worker_id.clone(), *start, *limit);
                        Command::Transcript { worker_id, start, limit, contains: None }
                    }
                    command => command.clone(),
                };
                (Subject::Command(command), vec![(runtime_id, sent)], None)
            }
        };
        let mut calls = Vec::with_capacity(commands.len());
        let mut asked = Vec::with_capacity(commands.len());
        for (runtime_id, command) in commands {
            let call = match policy.permits(command.operation(), &runtime_id, command.worker_id()) {
                true => registry.call(now, &runtime_id, command, timeout),
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
    ///
    /// # Errors
    /// What went wrong, which [`problem`](super::problem()) answers; a [`Misuse`] where `ends` are not the results of just
    /// those calls.
    pub fn response(
        self,
        registry: &Registry,
        policy: &dyn Policy,
        now: Now,
        ends: Vec<Result<Reply, Error>>,
    ) -> Result<Response<Bytes>, Error> {
        let mut ends = ends.into_iter();
        if self.asked.iter().filter(|(_, refusal)| refusal.is_none()).count() != ends.len() {
            return Err(Misuse::ResultCount.into());
        }
        let mut results = self.asked.into_iter().map_while(|(runtime_id, refusal)| {
            let end = refusal.map_or_else(|| ends.next(), |error| Some(Err(error)))?;
            Some((runtime_id, end))
        });
        let one = |end: Option<End>, show: &dyn Fn(End) -> Result<Response<Bytes>, Error>| {
            show(end.ok_or(Misuse::ResultCount)?)
        };
        match &self.subject {
            Subject::Gateway(status, word) => {
                Ok(json(*status, JSON, &HealthReply { status: (*word).into() }))
            }
            Subject::Unknown => Err(Error::new(ErrorKind::UnknownRoute)),
            #[cfg(feature = "pages")]
            Subject::Asset(asset) => Ok(asset.response()),
            Subject::Runtimes => Ok(json(StatusCode::OK, JSON, &runtimes(registry, now, results))),
            Subject::AllWorkers(asked) => {
                all_workers(registry, policy, asked, results).map(|shown| json(StatusCode::OK, JSON, &shown))
            }
            Subject::AllRequests => Ok(json(StatusCode::OK, JSON, &all_requests(registry, policy, results))),
            Subject::Runtime => one(results.next(), &|end| runtime(registry, now, end)),
            Subject::Command(command) => one(results.next(), &|end| reply(registry, policy, command, end)),
        }
    }
}

/// A runtime that cannot be reached is there all the same; one that is not configured, or that the policy hides from
/// this client, is not.
fn runtime(registry: &Registry, now: Now, (runtime_id, end): End) -> Result<Response<Bytes>, Error> {
    let diagnostics = match end {
        Err(error) if matches!(error.kind(), ErrorKind::UnknownRuntime | ErrorKind::Denied) => {
            return Err(error);
        }
        end => of_end(registry, &runtime_id, &end),
    };
    let runtime = runtime_view(registry, now, &runtime_id, diagnostics)
        .ok_or_else(|| Error::new(ErrorKind::UnknownRuntime).of_runtime(&runtime_id))?;
    Ok(json(StatusCode::OK, JSON, &RuntimeReply { runtime }))
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

/// The response to one command.
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
    let diagnostics = || key_not_honoured(&presenter, command).into_iter().collect();
    Ok(match (reply, command, command.worker_id()) {
        (Reply::Workers(list), Command::Workers(filter), _) => {
            json(StatusCode::OK, JSON, &lists::workers(&presenter, filter, list)?)
        }
        (Reply::Worker(worker), Command::Create { .. }, _) => {
            let worker = presenter.worker(*worker).ok_or_else(unusable)?;
            // Relative to where the create was sent, so that it is right behind any prefix.
            let location = format!("workers/{}", worker.worker_id);
            let body = WorkerReply { worker, diagnostics: diagnostics() };
            let mut response = json(StatusCode::CREATED, JSON, &body);
            // Ids are made of characters that a header value may hold.
            let location = HeaderValue::from_str(&location).expect("made of an id");
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        (Reply::Worker(worker), ..) => {
            let worker = presenter.worker(*worker).ok_or_else(unusable)?;
            json(StatusCode::OK, JSON, &WorkerReply { worker, diagnostics: Vec::new() })
        }
        (Reply::Input(ack), _, Some(worker_id)) => {
            let ack = presenter.input_ack(worker_id, &ack);
            json(StatusCode::OK, JSON, &AckReply { ack, diagnostics: diagnostics() })
        }
        (Reply::Ack(ack), _, Some(worker_id)) => {
            let ack = presenter.ack(worker_id, &ack);
            json(StatusCode::OK, JSON, &AckReply { ack, diagnostics: diagnostics() })
        }
        (Reply::Transcript(page), Command::Transcript { worker_id, contains, .. }, _) => {
            let diagnostics = left_out(&runtime_id, page.left_out).into_iter().collect();
            let mut transcript = presenter.transcript(worker_id, page);
            let is_asked_for = Contains::filter(contains.as_ref());
            transcript.items.retain(|item| is_asked_for(&item.content));
            json(StatusCode::OK, JSON, &TranscriptReply { transcript, diagnostics })
        }
        (Reply::Requests(list), _, asked) => json(StatusCode::OK, JSON, &requests(&presenter, asked, list)),
        (Reply::Profiles(list), ..) => {
            let diagnostics = left_out(&runtime_id, list.left_out).into_iter().collect();
            json(StatusCode::OK, JSON, &Items { items: list.profiles, diagnostics, next_after: None })
        }
        (Reply::Removed, ..) => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        _ => return Err(Misuse::ForeignResult.into()),
    })
}

/// That a command had a key, and a runtime that knows of none.
fn key_not_honoured(presenter: &Presenter<'_>, command: &Command) -> Option<Diagnostic> {
    command.idempotency_key()?;
    let message = "this runtime does not honour idempotency keys: sent again, the command happens again";
    let diagnostic = Diagnostic::new(KEY_NOT_HONOURED, Severity::Warning, message);
    (!presenter.health.has(Feature::Idempotency)).then(|| diagnostic.of_runtime(&presenter.spec.runtime_id))
}

pub(super) fn presenter<'a>(
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
