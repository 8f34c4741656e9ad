//! What a runtime answers, and what a client makes of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::command::{Command, Operation};
use super::rejection::Rejection;
use super::wire::{
    Ack, Capability, ConfigBundle, InputAck, Intent, Profile, Reference, RuntimeSummary, Transcript, WireRef,
    WorkerDetail, WorkerEnd, WorkerFacts, WorkerSummary,
};
use crate::error::ErrorKind;
use crate::id::RuntimeId;
use crate::secret::Scrubber;

/// The answer to a command that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Command::Runtime`].
    Runtime(RuntimeSummary),
    /// To [`Command::Workers`].
    Workers(Vec<WorkerSummary>),
    /// To [`Command::Worker`] and [`Command::Create`].
    Worker(Box<WorkerDetail>),
    /// To [`Command::Input`].
    Input(InputAck),
    /// To [`Command::Stop`] and [`Command::Cancel`].
    Ack(Ack),
    /// To [`Command::Transcript`].
    Transcript(Transcript),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RuntimeBody<T> {
    pub(crate) runtime: T,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WorkersBody<T> {
    pub(crate) workers: T,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WorkerBody<T> {
    pub(crate) worker: T,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AckBody<T> {
    pub(crate) ack: T,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct TranscriptBody<T> {
    pub(crate) transcript: T,
}

/// A JSON response.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Plain structs of texts and numbers: there is no map with keys that JSON could not have.
    let mut response = Response::new(serde_json::to_vec(body).expect("plain data").into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Reply {
    /// The response that carries the reply, on the runtime's side.
    pub fn response(&self) -> Response<Bytes> {
        match self {
            Self::Runtime(runtime) => json(StatusCode::OK, &RuntimeBody { runtime }),
            Self::Workers(workers) => json(StatusCode::OK, &WorkersBody { workers }),
            Self::Worker(worker) => json(StatusCode::OK, &WorkerBody { worker }),
            Self::Input(ack) => json(StatusCode::OK, &AckBody { ack }),
            Self::Ack(ack) => json(StatusCode::OK, &AckBody { ack }),
            Self::Transcript(transcript) => json(StatusCode::OK, &TranscriptBody { transcript }),
        }
    }

    /// What the runtime `runtime_id` answers to `command`.
    ///
    /// The identity of what comes back is checked first, on the runtime's very words; then every text in it
    /// passes `scrubber`, so that nothing which this returns holds a secret. An id that holds one comes out as no
    /// id at all.
    pub fn from_response(
        command: &Command,
        runtime_id: &RuntimeId,
        scrubber: &Scrubber,
        response: &Response<Bytes>,
    ) -> Result<Self, Rejection> {
        if response.status() != StatusCode::OK {
            return Err(Rejection::of_command(command, scrubber, response));
        }
        let body = response.body();
        let mut reply = match command.operation() {
            Operation::ReadRuntime => Self::Runtime(decode::<RuntimeBody<_>>(body)?.runtime),
            Operation::ListWorkers => Self::Workers(decode::<WorkersBody<_>>(body)?.workers),
            Operation::GetWorker | Operation::CreateWorker => {
                Self::Worker(Box::new(decode::<WorkerBody<_>>(body)?.worker))
            }
            Operation::SendInput => Self::Input(decode::<AckBody<_>>(body)?.ack),
            Operation::StopWorker | Operation::CancelWorker => Self::Ack(decode::<AckBody<_>>(body)?.ack),
            Operation::ReadTranscript => Self::Transcript(decode::<TranscriptBody<_>>(body)?.transcript),
            // No command is to observe.
            Operation::ObserveEvents => return Err(Rejection::new(ErrorKind::Internal, None)),
        };
        if !reply.speaks_of(command, runtime_id) {
            return Err(Rejection::new(ErrorKind::IdentityMismatch, None));
        }
        reply.scrub(scrubber);
        Ok(reply)
    }

    fn speaks_of(&self, command: &Command, runtime_id: &RuntimeId) -> bool {
        let asked = |worker: &WireRef| {
            worker.runtime_id == runtime_id.as_str()
                && command.worker_id().is_none_or(|worker_id| worker.worker_id == worker_id.as_str())
        };
        match self {
            Self::Runtime(runtime) => runtime.runtime_id == runtime_id.as_str(),
            Self::Workers(workers) => workers.iter().all(|worker| {
                asked(&worker.worker_ref)
                    && worker.runtime_id == worker.worker_ref.runtime_id
                    && worker.worker_id == worker.worker_ref.worker_id
            }),
            Self::Worker(worker) => {
                asked(&worker.worker_ref)
                    && worker.runtime_id == worker.worker_ref.runtime_id
                    && worker.worker_id == worker.worker_ref.worker_id
            }
            Self::Input(ack) => asked(&ack.worker_ref),
            Self::Ack(ack) => asked(&ack.worker_ref),
            Self::Transcript(transcript) => {
                asked(&transcript.worker_ref) && transcript.items.iter().all(|item| asked(&item.worker_ref))
            }
        }
    }
}

fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, Rejection> {
    // To check it all at once is far cheaper than each text by itself.
    let decoded = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    };
    decoded.map_err(|error| {
        // The parser's own words repeat what it read, and its positions tell how long that was.
        let message = match error.classify() {
            serde_json::error::Category::Data => "the runtime's reply is not of the shape of v1",
            _ => "the runtime's reply is not JSON",
        };
        Rejection::new(ErrorKind::MalformedResponse, Some(message))
    })
}

/// Takes secrets out of every text in place.
trait Scrub {
    fn scrub(&mut self, scrubber: &Scrubber);
}

impl Scrub for String {
    fn scrub(&mut self, scrubber: &Scrubber) {
        if let Cow::Owned(clean) = scrubber.text(self) {
            *self = clean;
        }
    }
}

impl<T: Scrub> Scrub for Option<T> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.iter_mut().for_each(|part| part.scrub(scrubber));
    }
}

impl<T: Scrub> Scrub for Vec<T> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.iter_mut().for_each(|part| part.scrub(scrubber));
    }
}

impl Scrub for BTreeMap<String, String> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        let is_clean = |text: &String| matches!(scrubber.text(text), Cow::Borrowed(_));
        if self.iter().all(|(name, value)| is_clean(name) && is_clean(value)) {
            return;
        }
        let clean = |text: String| scrubber.text(&text).into_owned();
        *self = std::mem::take(self).into_iter().map(|(name, value)| (clean(name), clean(value))).collect();
    }
}

macro_rules! scrub_fields {
    ($($shape:ty { $($field:ident),+ })+) => {
        $(impl Scrub for $shape {
            fn scrub(&mut self, scrubber: &Scrubber) {
                $(self.$field.scrub(scrubber);)+
            }
        })+
    };
}

scrub_fields! {
    RuntimeSummary { runtime_id, display_name, backend, features, incarnation }
    WireRef { runtime_id, worker_id }
    WorkerSummary { worker_ref, runtime_id, worker_id, intent, profile, facts }
    WorkerDetail {
        worker_ref, runtime_id, worker_id, intent, profile, config_bundle, requested_capabilities,
        workspace_refs, mount_refs, facts
    }
    WorkerFacts { name, labels, created_at, started_at, last_output_at, ended_at, end }
    WorkerEnd { message }
    ConfigBundle { id }
    Capability { name, reason }
    Reference { name, reference }
    InputAck { worker_ref }
    Ack { worker_ref }
    Transcript { worker_ref, items }
    super::wire::TranscriptItem { worker_ref, role, content, at }
}

impl Scrub for Intent {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::Assistant { purpose } => purpose.scrub(scrubber),
            Self::Task { objective } => objective.scrub(scrubber),
            Self::Role { role, purpose } => {
                role.scrub(scrubber);
                purpose.scrub(scrubber);
            }
        }
    }
}

impl Scrub for Profile {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::RuntimeDefault => {}
            Self::Builtin(name) | Self::Named(name) => name.scrub(scrubber),
        }
    }
}

impl Scrub for Reply {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::Runtime(runtime) => runtime.scrub(scrubber),
            Self::Workers(workers) => workers.scrub(scrubber),
            Self::Worker(worker) => worker.scrub(scrubber),
            Self::Input(ack) => ack.scrub(scrubber),
            Self::Ack(ack) => ack.scrub(scrubber),
            Self::Transcript(transcript) => transcript.scrub(scrubber),
        }
    }
}

#[cfg(test)]
mod tests;
