//! How a command fails, and which exit status says so.

use std::io;
use std::process::ExitCode;

use sekisho_config::ConfigError;
use sekisho_core::error::{ErrorKind, Outcome};
use sekisho_core::gateway_client::{GATEWAY_TIMEOUT, Problem};

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The gateway, a runtime, or the way to either.
    #[error("{}", said(.0))]
    Problem(Box<Problem>),
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
    /// What the doctor found, which has been shown.
    #[error("not all is well")]
    Unwell(u8),
    /// Whoever read the output has read enough.
    #[error("nobody reads on")]
    NobodyReads,
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self::Problem(problem)
    }
}

impl Failure {
    /// A failure to write the output; a closed pipe is none that anybody wants to hear of.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Io { what: "cannot write the output", error },
        }
    }

    /// The exit status (see `sekisho --help`).
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NobodyReads => 0,
            Self::Io { .. } => 1,
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Unwell(status) => *status,
            Self::Problem(problem) => exit_status(&problem.code),
        })
    }
}

/// The exit status of a problem's code.
pub(crate) fn exit_status(code: &str) -> u8 {
    use ErrorKind::*;
    let Some(kind) = ErrorKind::from_code(code) else {
        // The three codes of the way to a gateway, and those of gateways to come.
        return if code == GATEWAY_TIMEOUT { 6 } else { 5 };
    };
    match kind {
        InvalidRequest | InvalidIdentifier | PayloadTooLarge | UnsupportedMediaType | CursorMalformed
        | CursorUnknown | IdempotencyConflict | UnknownProfile => 2,
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
        detail if detail.starts_with(title) => format!("{about}{detail}"),
        detail => format!("{about}{title}: {detail}"),
    };
    text.push_str(&format!(" ({code}"));
    let more = [&problem.phase, &problem.runtime_code].into_iter().flatten();
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
                "cursor_malformed cursor_unknown idempotency_conflict invalid_identifier invalid_request payload_too_large unknown_profile unsupported_media_type",
            ),
            (3, "request_gone unknown_runtime worker_not_found"),
            (
                4,
                "conflict cursor_expired identity_mismatch malformed_frame malformed_response network_error not_allowed request_already_answered response_too_large runtime_auth_failed runtime_busy runtime_error runtime_stopped runtime_unavailable unexpected_redirect unsupported worker_busy worker_not_running worker_running",
            ),
            (
                5,
                "denied going_away host_not_allowed internal method_not_allowed observation_only origin_not_allowed too_many_viewers unauthorized unknown_route viewer_lagged",
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
    fn what_happened_is_said_in_one_line() {
        let problem = Problem {
            code: "network_error".into(),
            title: "The way to the runtime failed".into(),
            detail: "no connection\u{1b}[31m".into(),
            origin: sekisho_core::error::Origin::Network,
            status: Some(502),
            retryable: true,
            runtime_id: Some("box".into()),
            worker_id: Some("w".into()),
            phase: Some("connect".into()),
            outcome: Some(Outcome::NotApplied),
            runtime_code: None,
            retry_after: None,
        };
        assert_eq!(
            Failure::from(Box::new(problem)).to_string(),
            "box/w: The way to the runtime failed: no connection␛[31m (network_error, connect); it did not take effect"
        );
    }
}
