//! The worker-runtime API, v1 (RUNTIME-API.md): both sides of the wire from one definition.
//!
//! | | a client | a runtime |
//! |---|---|---|
//! | a command | [`Command::request`] | [`Command::from_request`] |
//! | its answer | [`Reply::from_response`] | [`Reply::response`] |
//! | a refusal | [`Rejection`] | [`Fault::response`] |
//! | to watch a worker | [`Observe::request`] | [`Observe::from_request`] |
//! | a frame of its stream | [`Frame::from_text`] | [`Frame::into_text`] |
//!
//! Where both sides are in one process there is no wire: [`InProcess`](crate::transport::InProcess) is all that a transport needs then.
//!
//! What one side writes the other reads back as the same value, and what deployed runtimes were recorded writing
//! is read and written again byte for byte.

mod command;
mod fault;
mod observation;
mod rejection;
mod reply;
mod wire;

pub(crate) use command::to_json;
pub use command::{Command, CommandError, IdempotencyKey, InvalidIdempotencyKey, Operation};
pub use fault::{Fault, FaultCode};
pub(crate) use observation::ask_for_websocket;
pub use observation::{
    Envelope, Frame, MalformedFrame, Observe, SNAPSHOT_PREFIX, StreamDiagnostic, is_websocket_upgrade,
};
pub use rejection::{MAX_RETRY_AFTER, Rejection};
pub use reply::Reply;
pub(crate) use reply::{AckBody, RuntimeBody, TranscriptBody, WorkerBody};
pub use wire::{
    Ack, Capability, ConfigBundle, CreateWorker, EndReason, FEATURE_IDEMPOTENCY, Input, InputAck, InputKind,
    Intent, Profile, Reason, Reference, RuntimeLimits, RuntimeStatus, RuntimeSummary, Transcript,
    TranscriptItem, WireRef, WorkerActivity, WorkerDetail, WorkerEnd, WorkerFacts, WorkerStatus,
    WorkerSummary,
};
