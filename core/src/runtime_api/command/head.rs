//! How a command is read from a request, the same on both wires: first the head, then the body.

use std::str::FromStr;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::Command;
use crate::id::{IdError, RequestId, WorkerId};
use crate::query::{self, QueryError};
use crate::runtime_api::contains::Contains;
#[cfg(feature = "pages")]
use crate::runtime_api::filter::FILTER;
use crate::runtime_api::filter::WorkerFilter;
use crate::runtime_api::key::{IdempotencyKey, InvalidIdempotencyKey};
use crate::runtime_api::operation::Operation;
use crate::runtime_api::path::Captures;
use crate::runtime_api::wire::{CreateWorker, Input, Nothing};

/// A command whose body has not been read yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) operation: Operation,
    pub(crate) worker_id: Option<WorkerId>,
    request_id: Option<RequestId>,
    key: Option<IdempotencyKey>,
    query: Query,
}

/// What a query asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Query {
    None,
    Page { start: Option<u64>, limit: Option<u64>, contains: Option<Contains> },
    Filter(WorkerFilter),
}

/// What is wrong with a request's head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum HeadError {
    WorkerId(IdError),
    RequestId(IdError),
    Query(QueryError),
    Key(InvalidIdempotencyKey),
}

/// The parameters of a page of a transcript.
const PAGE: [&str; 4] = ["start", "limit", "contains", "ignore_case"];

/// The longest text that a transcript is searched for, in characters.
pub const MAX_CONTAINS: usize = 256;

fn page(query: Option<&str>) -> Result<Query, QueryError> {
    let [start, limit, contains, ignore_case] = query::parameters(query, PAGE)?;
    if contains.as_ref().is_some_and(|text| !(1..=MAX_CONTAINS).contains(&text.chars().count())) {
        return Err(QueryError::Other { name: "contains", expected: "a text of 1 to 256 characters" });
    }
    let ignore_case = query::flag("ignore_case", ignore_case.as_deref())?.unwrap_or_default();
    let contains = contains.map(|text| Contains { text: text.into_owned(), ignore_case });
    Ok(Query::Page {
        start: query::number("start", start.as_deref())?,
        limit: query::number("limit", limit.as_deref())?,
        contains,
    })
}

/// The parameters of an operation's query: those that [`Head::read`] takes.
#[cfg(feature = "pages")]
pub(crate) fn parameters(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::ListWorkers => &FILTER,
        Operation::ReadTranscript => &PAGE,
        Operation::ObserveEvents => &["cursor"],
        _ => &[],
    }
}

/// How a wire reads bodies, and what it says of those that are not what they should be.
pub(crate) trait ReadBody {
    type Error;

    fn is_empty(&self) -> bool;

    fn json<T: DeserializeOwned>(&self) -> Result<T, Self::Error>;

    fn create(&self) -> Result<CreateWorker, Self::Error>;

    fn input(&self) -> Result<Input, Self::Error>;

    /// What is said of an operation that is no command.
    fn unknown_route(&self) -> Self::Error;

    fn optional<T: DeserializeOwned + Default>(&self) -> Result<T, Self::Error> {
        match self.is_empty() {
            true => Ok(T::default()),
            false => self.json(),
        }
    }
}

fn id<T: FromStr<Err = IdError>>(segment: Option<&str>) -> Result<Option<T>, IdError> {
    segment.map(|segment| percent_decode_str(segment).decode_utf8_lossy().parse()).transpose()
}

impl Head {
    /// Reads what stands in path, query and headers.
    pub(crate) fn read(
        operation: Operation,
        captures: Captures<'_>,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self, HeadError> {
        let worker_id = id(captures.worker_id).map_err(HeadError::WorkerId)?;
        let request_id = id(captures.request_id).map_err(HeadError::RequestId)?;
        let key = match operation.takes_key() {
            true => IdempotencyKey::from_headers(headers).map_err(HeadError::Key)?,
            false => None,
        };
        let query = match operation {
            Operation::ListWorkers => WorkerFilter::from_query_of_one(query).map(Query::Filter),
            Operation::ReadTranscript => page(query),
            _ => query::parameters(query, []).map(|[]| Query::None),
        };
        Ok(Self { operation, worker_id, request_id, key, query: query.map_err(HeadError::Query)? })
    }

    /// The command, with its body read.
    pub(crate) fn command<B: ReadBody>(self, body: &B) -> Result<Command, B::Error> {
        let Self { operation, worker_id, request_id, key, query } = self;
        // An id is there where the operation's path has one.
        Ok(match (operation, worker_id, query) {
            (Operation::ReadRuntime, ..) => Command::Runtime,
            (Operation::ListWorkers, _, Query::Filter(filter)) => Command::Workers(filter),
            (Operation::CreateWorker, ..) => Command::Create { worker: Box::new(body.create()?), key },
            (Operation::ListAllRequests, ..) => Command::AllRequests,
            (Operation::ListProfiles, ..) => Command::Profiles,
            (Operation::GetWorker, Some(worker_id), _) => Command::Worker(worker_id),
            (Operation::RemoveWorker, Some(worker_id), _) => Command::Remove(worker_id),
            (Operation::ListRequests, Some(worker_id), _) => Command::Requests(worker_id),
            (Operation::ReadTranscript, Some(worker_id), Query::Page { start, limit, contains }) => {
                Command::Transcript { worker_id, start, limit, contains }
            }
            (Operation::SendInput, Some(worker_id), _) => {
                Command::Input { worker_id, input: body.input()?, key }
            }
            (Operation::StopWorker, Some(worker_id), _) => {
                Command::Stop { worker_id, reason: body.optional()? }
            }
            (Operation::CancelWorker, Some(worker_id), _) => {
                Command::Cancel { worker_id, reason: body.optional()? }
            }
            (Operation::InterruptWorker, Some(worker_id), _) => {
                let Nothing {} = body.optional()?;
                Command::Interrupt { worker_id, key }
            }
            (Operation::ResumeWorker, Some(worker_id), _) => {
                let Nothing {} = body.optional()?;
                Command::Resume(worker_id)
            }
            (Operation::ResizeWorker, Some(worker_id), _) => {
                Command::Resize { worker_id, size: body.json()? }
            }
            (Operation::AnswerRequest, Some(worker_id), _) => {
                let request_id = request_id.ok_or_else(|| body.unknown_route())?;
                Command::Answer { worker_id, request_id, answer: body.json()?, key }
            }
            _ => return Err(body.unknown_route()),
        })
    }
}
