//! What the author of a transport needs, on one page.
//!
//! A transport performs I/O and decides nothing. The machines of this crate say what to do; the transport does it
//! within the given bounds and reports what happened. To write one:
//!
//! 1. **Perform an [`Attempt`].** Connect to its [`Target`] within [`AttemptLimits::connect`], or take a connection from
//!    an [`IdlePool`], as [`Attempt::via`] allows. An [`AddressRace`] says which of several addresses to try, and when. Send [`Attempt::request`] as it is, once. Follow no redirect, use no
//!    proxy, add no header; a transport that keeps no connections adds `Connection: close` alone.
//! 2. **Report the whole response, or a [`Failure`].** Read a head of at most [`MAX_HEAD`] bytes and [`MAX_HEADERS`]
//!    lines within [`AttemptLimits::response`], and a body of at most [`AttemptLimits::max_body`] bytes within
//!    [`AttemptLimits::body`]. A failure names its [cause](FailureCause) and whether a byte of the request may have
//!    been sent: core decides from that whether to repeat a command and which outcome to report.
//!    [`CallInput::report`](super::call::CallInput::report) makes an input of either.
//! 3. **Drive a [`Call`](super::call::Call)** with the loop that its module describes. Steps 1 to 3 are a transport for
//!    commands, shown below.
//! 4. **Open a stream for a [`Connect`].** Add a random `Sec-WebSocket-Key` to the request and send it, on a connection as
//!    [`Connect::via`] allows, which then is the stream's own. Report with
//!    [`WatchInput::opened`](super::watch::WatchInput::opened) that the stream is there, or why it is [not](Unopened).
//! 5. **Report its frames, pongs and end.** Take messages of at most [`MAX_FRAME`] bytes. Report each text message and
//!    each pong, and at the end the [`Loss`]. A [`Watch`](super::watch::Watch) says when to ping and when to close.
//! 6. **Read tokens from a [`TokenSource`]** when a machine asks for it, and feed the result.
//! 7. **For a runtime in the same process** ([`Target::InProcess`]) call [`InProcess`] in place of all this I/O.
//!
//! ```
//! use std::time::Instant;
//!
//! use sekisho_core::call::{Call, CallInput, CallOutput};
//! use sekisho_core::error::Error;
//! use sekisho_core::runtime_api::Reply;
//! use sekisho_core::transport::InProcess;
//!
//! /// A transport for runtimes in the same process: drives a call to its end.
//! fn drive(call: &mut Call, runtime: &dyn InProcess) -> Result<Reply, Error> {
//!     loop {
//!         match call.poll(Instant::now()) {
//!             CallOutput::Send(attempt) => {
//!                 let response = runtime.handle(&attempt.request);
//!                 call.handle(Instant::now(), CallInput::report(attempt.id, Ok(response)));
//!             }
//!             CallOutput::RefreshCredential => call.handle(Instant::now(), CallInput::Credential(None)),
//!             CallOutput::Wait { until, .. } => std::thread::sleep(until - Instant::now()),
//!             CallOutput::Done(result) => return result,
//!         }
//!     }
//! }
//! # use std::task::{Context, Poll};
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use sekisho_core::registry::{Registry, RuntimeSpec};
//! # use sekisho_core::runtime_api::Command;
//! # struct Empty;
//! # impl InProcess for Empty {
//! #     fn handle(&self, _: &Request<Bytes>) -> Response<Bytes> { Response::new(r#"{"workers":[]}"#.into()) }
//! #     fn observe(&self, _: &Request<Bytes>) -> Result<Box<dyn sekisho_core::transport::Frames>, Response<Bytes>> {
//! #         Err(Response::new(Bytes::new()))
//! #     }
//! # }
//! # let mut registry = Registry::new(vec![RuntimeSpec::embedded("embedded".parse()?)], 1)?;
//! # let mut call = registry.call(Instant::now(), &"embedded".parse()?, Command::workers(), None)?;
//! # assert_eq!(drive(&mut call, &Empty), Ok(Reply::Workers(vec![].into())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `core/examples/own_event_loop` is a transport over sockets, for a program that has an event loop of its own.
//!
//! What such a transport must never do is to show a [`Target`], a request or an address to anyone: errors are made of
//! [`FailureCause`] alone.

mod attempt;
mod connection;
mod in_process;
mod limits;
mod race;
mod stream;

use std::time::Instant;

pub use attempt::{Attempt, AttemptId, AttemptLimits, Failure, FailureCause};
pub use connection::{Identity, IdlePool, Pooled, Via};
pub(crate) use connection::{WeakIdentity, ends_connection};
pub use in_process::{Frames, InProcess, PendingResponse};
pub use limits::{
    MAX_FRAME, MAX_HEAD, MAX_HEADERS, MAX_IDLE, MAX_IDLE_CONNECTIONS, MAX_IDLE_FOR_ONCE,
    MAX_LONG_IDLE_CONNECTIONS, MAX_REFUSAL, MAX_WRITE_BUFFER, PING_TIMEOUT, READ_BUFFER, REPORT_GRACE,
    UNCOUNTED_REPLY,
};
pub use race::{AddressRace, CONNECTION_ATTEMPT_DELAY, MAX_ADDRESSES, RaceStep};
pub use stream::{ConnId, Connect, ConnectLimits, Loss, Unopened};

use crate::secret::Token;
pub use crate::secret::base_url::Target;

/// Where a runtime's token is kept, to be read anew when it is replaced.
pub trait TokenSource: Send + Sync {
    /// The token as it is now; `None` where it cannot be read.
    fn read(&self) -> Option<Token>;

    /// The token, if it is another one than when it was last read. Cheap enough to be called for every command.
    fn changed(&self, now: Instant) -> Option<Token>;
}
