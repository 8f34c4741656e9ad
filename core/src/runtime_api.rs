//! The worker-runtime API, v1 (`docs/runtime-api.md`): both sides of the wire from one definition.
//!
//! | | a client | a runtime |
//! |---|---|---|
//! | a command | [`Command::request`] | [`Command::from_request`] |
//! | its answer | [`Reply::from_response`] | [`Reply::response`] |
//! | a refusal | [`Rejection`] | [`Fault::response`] |
//! | to watch a worker | [`Observe::request`] | [`Observe::from_request`] |
//! | a frame of its stream | [`Frame::from_text`] | [`Frame::into_text`] |
//!
//! Where both sides are in one process there is no wire: [`InProcess`](super::transport::InProcess) is all that a transport needs then.
//!
//! What one side writes the other reads back as the same value, and what deployed runtimes were recorded writing
//! is read and written again byte for byte.

mod command;
mod contains;
mod fault;
mod feature;
mod filter;
mod key;
mod observation;
mod operation;
mod path;
mod rejection;
mod reply;
mod scrub;
mod wire;

#[cfg(feature = "pages")]
pub(crate) use command::parameters;
pub use command::{Command, CommandError, MAX_CONTAINS};
pub(crate) use command::{Head, HeadError, ReadBody, to_json};
pub use contains::Contains;
pub use fault::{Fault, FaultCode};
pub use feature::Feature;
#[cfg(feature = "pages")]
pub(crate) use filter::FILTER;
pub use filter::{UnknownAfter, WorkerFilter};
pub use key::{IdempotencyKey, InvalidIdempotencyKey};
pub(crate) use observation::ask_for_websocket;
pub use observation::{
    Envelope, Frame, MalformedFrame, Observe, SNAPSHOT_PREFIX, StreamDiagnostic, is_websocket_upgrade,
};
pub use operation::Operation;
pub(crate) use operation::{OtherMethods, Wire};
pub use rejection::{MAX_RETRY_AFTER, Rejection};
pub use reply::Reply;
#[cfg(feature = "pages")]
pub(crate) use wire::Nothing;
pub(crate) use wire::lenient;
pub use wire::{
    Ack, Answer, Capability, ConfigBundle, CreateWorker, EndReason, Input, InputAck, InputKind, Intent,
    NextAfter, OtherIntent, OtherProfile, Profile, ProfileList, ProfileSummary, Reason, Reference,
    RequestList, RequestOption, RuntimeLimits, RuntimeStatus, RuntimeSummary, StoreDiagnostic, TerminalSize,
    Transcript, TranscriptItem, WireRef, WorkerActivity, WorkerDetail, WorkerEnd, WorkerFacts, WorkerList,
    WorkerRequest, WorkerStatus, WorkerSummary,
};
