//! What can be wrong with an agent, and with what is asked of the machine.

use std::time::Duration;

use thiserror::Error;

/// How an agent ended. What becomes of its process is the driver's to do and to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AgentEnd {
    /// There was never an open session. The process is to be killed.
    NotStarted(StartError),
    /// It ended as it was told to.
    Stopped,
    /// It ended by itself.
    Exited,
    /// It cannot go on. The process is to be killed.
    Failed(AgentFailure),
}

/// Why there is no session.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// It took too long.
    #[error("the agent did not answer to {step} within {after:?}")]
    TimedOut {
        /// What it was asked.
        step: StartStep,
        /// How long all of the start may take.
        after: Duration,
    },
    /// It speaks another version of the protocol.
    #[error("the agent speaks version {version} of the Agent Client Protocol, not version 1")]
    UnsupportedVersion {
        /// That version, as the agent wrote it.
        version: String,
    },
    /// It wants a login that takes a person.
    #[error(
        "the agent asks for a login{}: log in with its own program on the runtime's machine, or name a method that needs no person",
        listed(" (", .methods, ")")
    )]
    LoginRequired {
        /// The methods that it offers.
        methods: Vec<String>,
    },
    /// The profile names a method of authentication that the agent does not have.
    #[error("the agent has no authentication method {method:?}{}", listed("; it has ", .known, ""))]
    UnknownAuthMethod {
        /// The method.
        method: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// It answered with an error.
    #[error("the agent refused {step}: {message}")]
    Refused {
        /// What it was asked.
        step: StartStep,
        /// The error in its words.
        message: String,
    },
    /// It answered with something else than ACP has there.
    #[error("the agent's answer to {step} is not what the protocol says")]
    Malformed {
        /// What it was asked.
        step: StartStep,
    },
    /// It cannot take up a session again.
    #[error("the agent cannot take up a session again")]
    CannotResume,
    /// The profile names a mode that the session does not have.
    #[error("the agent has no mode {mode:?}{}", listed("; it has ", .known, ""))]
    UnknownMode {
        /// The mode.
        mode: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The profile names a model that the session does not have.
    #[error("the agent has no model {model:?}{}", listed("; it has ", .known, ""))]
    UnknownModel {
        /// The model.
        model: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// It ended before the session was open.
    #[error("the agent ended before its session was open")]
    Exited,
    /// It was told to stop before the session was open.
    #[error("the agent was stopped before its session was open")]
    Stopped,
    /// It broke off for a reason that is none of the start's.
    #[error(transparent)]
    Failed(#[from] AgentFailure),
}

/// A list within a message; nothing where it is empty.
fn listed(before: &str, names: &[String], after: &str) -> String {
    match names {
        [] => String::new(),
        names => format!("{before}{}{after}", names.join(", ")),
    }
}

/// A step of the start: the method that the agent is asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StartStep {
    /// `initialize`
    Initialize,
    /// `authenticate`
    Authenticate,
    /// `session/new`
    NewSession,
    /// `session/load`
    LoadSession,
    /// `session/resume`
    ResumeSession,
    /// `session/set_mode`
    SetMode,
    /// `session/set_model`
    SetModel,
    /// `session/set_config_option`
    SetOption,
}

impl StartStep {
    /// The method.
    pub fn method(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Authenticate => "authenticate",
            Self::NewSession => "session/new",
            Self::LoadSession => "session/load",
            Self::ResumeSession => "session/resume",
            Self::SetMode => "session/set_mode",
            Self::SetModel => "session/set_model",
            Self::SetOption => "session/set_config_option",
        }
    }
}

impl std::fmt::Display for StartStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.method())
    }
}

/// Why an agent cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[non_exhaustive]
pub enum AgentFailure {
    /// A message that had to be read is over [`MAX_LINE`](crate::limits::MAX_LINE).
    #[error("the agent wrote a message of more than 8 MiB")]
    LineTooLong,
    /// More than [`MAX_UNWRITTEN`](crate::limits::MAX_UNWRITTEN) waits for it to read.
    #[error("the agent does not read what it is written")]
    NotReading,
}

/// Why a prompt is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[non_exhaustive]
pub enum PromptError {
    /// [`MAX_QUEUED_PROMPTS`](crate::limits::MAX_QUEUED_PROMPTS) wait already. In v1: `worker_busy`.
    #[error("as many prompts wait for the agent as may")]
    Busy,
    /// It is over [`MAX_PROMPT`](crate::limits::MAX_PROMPT).
    #[error("the prompt is over 1 MiB")]
    TooLong,
    /// The agent takes no prompt any more. In v1: `worker_not_running`.
    #[error("the agent takes no prompt any more")]
    Ended,
}

/// Why an answer to a request is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Another answer was first. In v1: `request_already_answered`.
    #[error("the request has another answer already")]
    AlreadyAnswered,
    /// There is no such request, or none any more. In v1: `request_gone`.
    #[error("there is no such request any more")]
    Gone,
    /// The request has no such option.
    #[error("the request has no such option")]
    UnknownOption,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_words() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        for (error, expected) in [
            (
                StartError::TimedOut { step: StartStep::Initialize, after: Duration::from_secs(30) },
                "the agent did not answer to initialize within 30s",
            ),
            (
                StartError::UnsupportedVersion { version: "2".into() },
                "the agent speaks version 2 of the Agent Client Protocol, not version 1",
            ),
            (
                StartError::LoginRequired { methods: names() },
                "the agent asks for a login (a, b): log in with its own program on the runtime's machine, or name a method that needs no person",
            ),
            (
                StartError::UnknownMode { mode: "x".into(), known: names() },
                "the agent has no mode \"x\"; it has a, b",
            ),
            (StartError::UnknownModel { model: "x".into(), known: vec![] }, "the agent has no model \"x\""),
            (
                StartError::Refused { step: StartStep::NewSession, message: "no".into() },
                "the agent refused session/new: no",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
