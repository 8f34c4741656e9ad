//! What is told of a request that has been answered.

use std::time::Duration;

use http::{Method, StatusCode};
use sekisho_core::error::{Error, Outcome};
use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_core::trace::RequestTrace;

/// A request that has been answered, or a stream that is over: all that its line in the log and its span are made of.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredRequest<'a> {
    /// What names it.
    pub trace: &'a RequestTrace,
    /// Its method, which may be any that a client sends.
    pub method: &'a Method,
    /// The route as the documentation writes it, empty where there is none.
    pub route: &'static str,
    /// The status of the response.
    pub status: StatusCode,
    /// Why it failed, or what ended the stream, where something did.
    pub error: Option<&'a Error>,
    /// The runtime that it asked for, where it was understood so far; else the error may say it.
    pub about_runtime: Option<&'a RuntimeId>,
    /// The worker that it asked for, likewise.
    pub about_worker: Option<&'a WorkerId>,
    /// Attempts at runtimes that it led to.
    pub attempts: u32,
    /// How long all took that was asked of runtimes.
    pub upstream: Option<Duration>,
    /// How many frames a stream was.
    pub frames: Option<u64>,
    /// From its head to its response, or to the end of the stream.
    pub took: Duration,
}

impl<'a> AnsweredRequest<'a> {
    /// Whether it is a server that failed, and not the client.
    pub fn is_failure(&self) -> bool {
        self.status.is_server_error()
    }

    /// The code of the error.
    pub fn code(&self) -> Option<&'static str> {
        self.error.map(|error| error.kind().code())
    }

    /// Whose fault the error is.
    pub fn origin(&self) -> Option<&'static str> {
        self.error.map(|error| error.kind().origin().name())
    }

    /// In which phase of an exchange with a runtime it came.
    pub fn phase(&self) -> Option<&'static str> {
        self.error.and_then(|error| error.kind().phase())
    }

    /// Whether a command that failed may have happened.
    pub fn outcome(&self) -> Option<&'static str> {
        self.error.and_then(Error::outcome).map(Outcome::name)
    }

    /// The runtime that it was about.
    pub fn runtime_id(&self) -> Option<&'a str> {
        self.about_runtime.or_else(|| self.error.and_then(Error::runtime_id)).map(RuntimeId::as_str)
    }

    /// The worker that it was about.
    pub fn worker_id(&self) -> Option<&'a str> {
        self.about_worker.or_else(|| self.error.and_then(Error::worker_id)).map(WorkerId::as_str)
    }

    /// The attempts at runtimes, where there were any.
    pub fn attempts(&self) -> Option<u32> {
        Some(self.attempts).filter(|attempts| *attempts > 0)
    }
}
