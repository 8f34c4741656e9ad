//! How a command fails, and which exit status says so.

use std::io;
use std::process::ExitCode;

use sekisho_config::ConfigError;
use sekisho_core::error::{ErrorKind, Outcome};
use sekisho_core::gateway_client::{GATEWAY_TIMEOUT, Problem};
use sekisho_core::runtime_api::{EndReason, WorkerEnd};

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The gateway or a runtime failed, or cannot be reached.
    #[error("{}{}", said(.problem), hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    Problem {
        /// What went wrong.
        problem: Box<Problem>,
        /// What the user of the command line may do about it.
        hint: Option<String>,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was said on the command line.
    #[error("{0}")]
    Usage(String),
    /// Reading or writing on this side.
    #[error("{what}: {}", .error.kind())]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The exit status says it, and what was printed says why: a worker's own status, or what the doctor found.
    #[error("exit status {0}")]
    Status(u8),
    /// Another worker has the id now.
    #[error("{0} is another worker now: nothing more is sent to it")]
    Replaced(String),
    /// The output is no longer read.
    #[error("the output is no longer read")]
    ReaderGone,
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self::Problem { problem, hint: None }
    }
}

impl Failure {
    /// A failure to write the output. A closed pipe is no error to tell of.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Io { what: "cannot write the output", error },
        }
    }

    /// This exit status, where it is not 0.
    pub(crate) fn of_status(status: u8) -> Result<(), Self> {
        if status == 0 { Ok(()) } else { Err(Self::Status(status)) }
    }

    /// The same with a hint, where it is a problem.
    pub(crate) fn with_hint(self, of: impl FnOnce(&Problem) -> Option<String>) -> Self {
        match self {
            Self::Problem { problem, hint: None } => Self::Problem { hint: of(&problem), problem },
            other => other,
        }
    }

    /// The exit status (see `sekisho --help`).
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Io { .. } => 1,
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Replaced(_) => 3,
            Self::Status(status) => *status,
            Self::Problem { problem, .. } => exit_status(&problem.code),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }
}

/// The exit status of a worker that has ended: its program's, or 128 and the number of the signal that ended it, as a
/// shell has it. A worker that ended in another way, and one whose runtime does not tell, has none and counts as 0;
/// one that could not start, or whose end is not its own, as 1.
pub(crate) fn end_status(end: Option<&WorkerEnd>) -> u8 {
    let Some(end) = end else { return 0 };
    let of_signal = end.signal.map(|signal| 128 + signal);
    match end.exit_code.or(of_signal).map(u8::try_from) {
        Some(Ok(status)) => status,
        Some(Err(_)) => 1,
        None => match end.reason {
            EndReason::NotStarted | EndReason::RuntimeLost | EndReason::StoreFailed => 1,
            _ => 0,
        },
    }
}

/// The exit status of a problem's code.
pub(crate) fn exit_status(code: &str) -> u8 {
    use ErrorKind::*;
    let Some(kind) = ErrorKind::from_code(code) else {
        // The three codes of a client that cannot reach a gateway, and those of gateways to come.
        return if code == GATEWAY_TIMEOUT { 6 } else { 5 };
    };
    match kind {
        InvalidRequest | InvalidIdentifier | PayloadTooLarge | HeadTooLarge | UnsupportedMediaType
        | CursorMalformed | CursorUnknown | IdempotencyConflict | UnknownProfile => 2,
        UnknownRuntime | WorkerNotFound | RequestGone => 3,
        RuntimeTimeout(_) => 6,
        RuntimeStopped
        | WorkerBusy
        | WorkerNotRunning
        | WorkerRunning
        | RequestAlreadyAnswered
        | Conflict
        | NotAllowed
        | Unsupported
        | Network(_)
        | RuntimeAuthFailed
        | RuntimeError
        | MalformedResponse
        | ResponseTooLarge
        | UnexpectedRedirect
        | IdentityMismatch
        | RuntimeBusy
        | RuntimeUnavailable
        | CursorExpired
        | MalformedFrame => 4,
        _ => 5,
    }
}

/// A problem in one line: what happened, to whom, whether it took effect, and the code to look up.
fn said(problem: &Problem) -> String {
    let about = match (&problem.runtime_id, &problem.worker_id) {
        (Some(runtime), Some(worker)) => format!("{runtime}/{worker}: "),
        (Some(runtime), None) => format!("{runtime}: "),
        _ => String::new(),
    };
    let Problem { title, detail, code, .. } = problem;
    let mut text = match &**detail {
        "" => format!("{about}{title}"),
        detail if detail.starts_with(&**title) => format!("{about}{detail}"),
        detail => format!("{about}{title}: {detail}"),
    };
    text.push_str(&format!(" ({code}"));
    let more = [problem.phase.as_deref(), problem.runtime_code.as_deref()].into_iter().flatten();
    for more in more.filter(|more| *more != code) {
        text.push_str(&format!(", {more}"));
    }
    text.push(')');
    match problem.outcome {
        Some(Outcome::NotApplied) => text.push_str("; it did not take effect"),
        Some(Outcome::Unknown) => {
            text.push_str("; it may have taken effect: look before you send it again");
        }
        None => {}
    }
    if let Some(seconds) = problem.retry_after {
        text.push_str(&format!("; worth another try in {seconds} s"));
    }
    crate::text::safe(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_exit_status() {
        let mut table: Vec<(u8, &str)> =
            ErrorKind::all().iter().map(|kind| (exit_status(kind.code()), kind.code())).collect();
        table.sort_unstable();
        table.dedup();
        let expected = [
            (
                2,
                "cursor_malformed cursor_unknown head_too_large idempotency_conflict invalid_identifier invalid_request payload_too_large unknown_profile unsupported_media_type",
            ),
            (3, "request_gone unknown_runtime worker_not_found"),
            (
                4,
                "conflict cursor_expired identity_mismatch malformed_frame malformed_response network_error not_allowed request_already_answered response_too_large runtime_auth_failed runtime_busy runtime_error runtime_stopped runtime_unavailable unexpected_redirect unsupported worker_busy worker_not_running worker_running",
            ),
            (
                5,
                "denied gateway_busy going_away host_not_allowed internal method_not_allowed observation_only origin_not_allowed too_many_viewers unauthorized unknown_route viewer_lagged",
            ),
            (6, "runtime_timeout"),
        ];
        let expected: Vec<(u8, &str)> = expected
            .iter()
            .flat_map(|(status, codes)| codes.split(' ').map(|code| (*status, code)))
            .collect();
        assert_eq!(table, expected);
        assert_eq!(["gateway_unreachable", "gateway_timeout", "not_a_gateway"].map(exit_status), [5, 6, 5]);
    }

    #[test]
    fn a_worker_ends_with_its_own_status() {
        let end = |reason, exit_code, signal| WorkerEnd { reason, exit_code, signal, message: None };
        for (end, status) in [
            (end(EndReason::Exited, Some(0), None), 0),
            (end(EndReason::Exited, Some(7), None), 7),
            (end(EndReason::Exited, Some(300), None), 1),
            (end(EndReason::Signalled, None, Some(9)), 137),
            (end(EndReason::Stopped, None, Some(15)), 143),
            (end(EndReason::Cancelled, None, None), 0),
            (end(EndReason::NotStarted, None, None), 1),
        ] {
            assert_eq!(end_status(Some(&end)), status, "{end:?}");
        }
        assert_eq!(end_status(None), 0);
    }

    #[test]
    fn what_happened_is_said_in_one_line() {
        let problem = Problem {
            code: "network_error".into(),
            title: "The runtime cannot be reached".into(),
            detail: "no connection\u{1b}[31m".into(),
            origin: sekisho_core::error::Origin::Network,
            status: Some(502),
            retryable: true,
            runtime_id: Some("box".into()),
            worker_id: Some("w".into()),
            phase: Some("connect".into()),
            outcome: Some(Outcome::NotApplied),
            runtime_code: None,
            instance: None,
            retry_after: None,
        };
        assert_eq!(
            Failure::from(Box::new(problem)).to_string(),
            "box/w: The runtime cannot be reached: no connection␛[31m (network_error, connect); it did not take effect"
        );
    }
}
