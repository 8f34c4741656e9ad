//! What a runtime answers, and what a client makes of it.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::command::Command;
use super::operation::Operation;
use super::rejection::Rejection;
use super::scrub::Scrub;
use super::wire::{
    Ack, InputAck, NextAfter, ProfileList, RequestList, RuntimeSummary, StoreDiagnostic, Transcript, WireRef,
    WorkerDetail, WorkerList,
};
use crate::error::ErrorKind;
use crate::id::RuntimeId;
use crate::json::{Readable, readable, with_whole_characters};
use crate::secret::Scrubber;

/// The answer to a command that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Command::Runtime`].
    Runtime(RuntimeSummary),
    /// To [`Command::Workers`].
    Workers(WorkerList),
    /// To [`Command::Worker`] and [`Command::Create`].
    Worker(Box<WorkerDetail>),
    /// To [`Command::Input`].
    Input(InputAck),
    /// To every other command that changes something about a worker.
    Ack(Ack),
    /// To [`Command::Transcript`].
    Transcript(Transcript),
    /// To [`Command::Requests`] and [`Command::AllRequests`].
    Requests(RequestList),
    /// To [`Command::Profiles`].
    Profiles(ProfileList),
    /// To [`Command::Remove`].
    Removed,
    /// To a command whose answer the caller has already: what a call ends with that recognises
    /// answers. No runtime is asked for it.
    Unchanged,
}

#[derive(Serialize, Deserialize)]
struct RuntimeBody<T> {
    runtime: T,
}

#[derive(Serialize, Deserialize)]
struct WorkerBody<T> {
    worker: T,
}

#[derive(Serialize, Deserialize)]
struct AckBody<T> {
    ack: T,
}

#[derive(Serialize, Deserialize)]
struct TranscriptBody<T> {
    transcript: T,
}

/// A JSON response.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Plain structs of texts and numbers, and maps whose keys are texts: all of it can be JSON.
    let mut response = Response::new(serde_json::to_vec(body).expect("plain data").into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The status of a success.
fn success(operation: Operation) -> StatusCode {
    match operation {
        Operation::RemoveWorker => StatusCode::NO_CONTENT,
        _ => StatusCode::OK,
    }
}

impl Reply {
    /// The response that carries the reply, on the runtime's side.
    pub fn response(&self) -> Response<Bytes> {
        match self {
            Self::Runtime(runtime) => json(StatusCode::OK, &RuntimeBody { runtime }),
            Self::Workers(list) => json(StatusCode::OK, list),
            Self::Worker(worker) => json(StatusCode::OK, &WorkerBody { worker }),
            Self::Input(ack) => json(StatusCode::OK, &AckBody { ack }),
            Self::Ack(ack) => json(StatusCode::OK, &AckBody { ack }),
            Self::Transcript(transcript) => json(StatusCode::OK, &TranscriptBody { transcript }),
            Self::Requests(list) => json(StatusCode::OK, list),
            Self::Profiles(list) => json(StatusCode::OK, list),
            Self::Removed => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = success(Operation::RemoveWorker);
                response
            }
            Self::Unchanged => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            }
        }
    }

    /// What the runtime `runtime_id` answers to `command`.
    ///
    /// The identity of what comes back is checked first, on the runtime's very words; then every text in it
    /// passes `scrubber`, so that nothing which this returns holds a secret. An id that holds one comes out as no
    /// id at all. An entry of a list that cannot be read is left out, and counted.
    pub fn from_response(
        command: &Command,
        runtime_id: &RuntimeId,
        scrubber: &Scrubber,
        response: &Response<Bytes>,
    ) -> Result<Self, Rejection> {
        if response.status() != success(command.operation()) {
            return Err(Rejection::of_command(command, scrubber, response));
        }
        let body = Body::of(response.body());
        let mut reply = Self::read(command.operation(), &body)?;
        if !reply.speaks_of(command, runtime_id) {
            return Err(Rejection::new(ErrorKind::IdentityMismatch, None));
        }
        if !body.text.as_ref().is_ok_and(|text| scrubber.leaves_alone(text)) {
            reply.scrub(scrubber);
        }
        Ok(reply)
    }

    /// How the answer to an operation is read.
    fn read(operation: Operation, body: &Body<'_>) -> Result<Self, Rejection> {
        Ok(match operation {
            Operation::ReadRuntime => Self::Runtime(body.whole::<RuntimeBody<_>>()?.runtime),
            Operation::ListWorkers => Self::Workers(body.whole_or_parts(workers)?),
            Operation::GetWorker | Operation::CreateWorker => {
                Self::Worker(Box::new(body.whole::<WorkerBody<_>>()?.worker))
            }
            Operation::SendInput => Self::Input(body.whole::<AckBody<_>>()?.ack),
            Operation::StopWorker
            | Operation::CancelWorker
            | Operation::InterruptWorker
            | Operation::ResizeWorker
            | Operation::ResumeWorker
            | Operation::AnswerRequest => Self::Ack(body.whole::<AckBody<_>>()?.ack),
            Operation::RemoveWorker => Self::Removed,
            Operation::ReadTranscript => {
                Self::Transcript(body.whole_or_parts::<TranscriptBody<_>>(transcript)?.transcript)
            }
            Operation::ListRequests | Operation::ListAllRequests => {
                Self::Requests(body.whole_or_parts(requests)?)
            }
            Operation::ListProfiles => Self::Profiles(body.whole_or_parts(profiles)?),
            // No command is to observe.
            Operation::ObserveEvents => return Err(Rejection::new(ErrorKind::Internal, None)),
        })
    }

    fn speaks_of(&self, command: &Command, runtime_id: &RuntimeId) -> bool {
        let asked = |worker: &WireRef| {
            worker.runtime_id == runtime_id.as_str()
                && command.worker_id().is_none_or(|worker_id| worker.worker_id == worker_id.as_str())
        };
        match self {
            Self::Runtime(runtime) => runtime.runtime_id == runtime_id.as_str(),
            Self::Workers(list) => list.workers.iter().all(|worker| {
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
            Self::Requests(list) => {
                list.requests.iter().all(|request| request.worker_ref.as_ref().is_none_or(asked))
            }
            Self::Profiles(_) | Self::Removed | Self::Unchanged => true,
        }
    }
}

/// A response's body, as text where it is one.
struct Body<'a> {
    bytes: &'a Bytes,
    text: Result<Cow<'a, str>, std::str::Utf8Error>,
}

impl<'a> Body<'a> {
    fn of(bytes: &'a Bytes) -> Self {
        // To check it all at once is far cheaper than each text by itself.
        Self { bytes, text: std::str::from_utf8(bytes).map(Cow::Borrowed) }
    }

    fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        match &self.text {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(self.bytes),
        }
    }

    /// What the body is, all of it, with U+FFFD for halves of characters.
    fn whole<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        let first = self.parse();
        let Ok(text) = &self.text else { return first.map_err(malformed) };
        match (first, with_whole_characters(text)) {
            (Err(_), Cow::Owned(whole)) => serde_json::from_str(&whole).map_err(malformed),
            (first, _) => first.map_err(malformed),
        }
    }

    /// The same, or what can be read of it in parts.
    fn whole_or_parts<T: DeserializeOwned>(
        &self,
        parts: fn(&str) -> serde_json::Result<T>,
    ) -> Result<T, Rejection> {
        match (self.parse(), &self.text) {
            (Err(_), Ok(text)) => parts(&with_whole_characters(text)).map_err(malformed),
            (first, _) => first.map_err(malformed),
        }
    }
}

fn malformed(error: serde_json::Error) -> Rejection {
    // The parser's own words repeat what it read, and its positions tell how long that was.
    let message = match error.classify() {
        serde_json::error::Category::Data => "the runtime's reply is not of the shape of v1",
        _ => "the runtime's reply is not JSON",
    };
    Rejection::new(ErrorKind::MalformedResponse, Some(message))
}

fn workers(text: &str) -> serde_json::Result<WorkerList> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        workers: Vec<&'a RawValue>,
        #[serde(default)]
        next_after: NextAfter,
        #[serde(default)]
        diagnostics: Vec<StoreDiagnostic>,
    }
    let Parts { workers, next_after, diagnostics } = serde_json::from_str(text)?;
    let Readable { entries: workers, left_out } = readable(&workers);
    Ok(WorkerList { workers, next_after, left_out, diagnostics })
}

fn requests(text: &str) -> serde_json::Result<RequestList> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        requests: Vec<&'a RawValue>,
    }
    let Parts { requests } = serde_json::from_str(text)?;
    let Readable { entries: requests, left_out } = readable(&requests);
    Ok(RequestList { requests, left_out })
}

fn profiles(text: &str) -> serde_json::Result<ProfileList> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        profiles: Vec<&'a RawValue>,
    }
    let Parts { profiles } = serde_json::from_str(text)?;
    let Readable { entries: profiles, left_out } = readable(&profiles);
    Ok(ProfileList { profiles, left_out })
}

fn transcript(text: &str) -> serde_json::Result<TranscriptBody<Transcript>> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        worker_ref: WireRef,
        start: u64,
        limit: u64,
        total_items: u64,
        #[serde(borrow)]
        items: Vec<&'a RawValue>,
        next_start: Option<u64>,
    }
    let body: TranscriptBody<&RawValue> = serde_json::from_str(text)?;
    let Parts { worker_ref, start, limit, total_items, items, next_start } =
        serde_json::from_str(body.transcript.get())?;
    let Readable { entries: items, left_out } = readable(&items);
    Ok(TranscriptBody {
        transcript: Transcript { worker_ref, start, limit, total_items, items, next_start, left_out },
    })
}

#[cfg(test)]
mod tests;
