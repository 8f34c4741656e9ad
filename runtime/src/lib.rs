//! A worker runtime: child processes as workers, and the worker-runtime API v1 (`docs/runtime-api.md`) as a function.
//!
//! [`Runtime::respond`] takes an `http::Request<Bytes>` and gives an `http::Response<Bytes>`. A program that embeds
//! a runtime calls it, a server carries it over a wire: the binary `sekisho-runtime` does (feature `serve`, in
//! module `serve`). There is no second definition of v1 in here: requests are read and replies written by
//! [`sekisho_core::runtime_api`].
//!
//! ```
//! use std::task::{Context, Poll, Waker};
//!
//! use bytes::Bytes;
//! use sekisho_core::runtime_api::{Command, CreateWorker, Input, InputKind, Intent, Observe, Profile, Reply};
//! use sekisho_core::secret::Access;
//! use sekisho_runtime::{Runtime, RuntimeConfig};
//!
//! // 1. Start it. Without a profile, workers echo; with one they are processes:
//! //    config.profiles = vec![WorkerProfile::lines("shell", ["sh"])];
//! let config = RuntimeConfig::new("embedded".parse()?);
//! let runtime_id = config.runtime_id.clone();
//! let runtime = Runtime::start(config)?;
//!
//! // 2. Ask it. In one process there is neither an address nor a token.
//! let access = Access::in_process();
//! let ask = |command: Command| {
//!     let response = runtime.handle(&command.request(&access));
//!     Reply::from_response(&command, &runtime_id, access.scrubber(), &response)
//! };
//! let worker = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
//! let Ok(Reply::Worker(worker)) = ask(Command::Create { worker: Box::new(worker), key: None }) else { panic!() };
//! let worker_id: sekisho_core::id::WorkerId = worker.worker_id.parse()?;
//! let input = Input::new(InputKind::User, "hello");
//! ask(Command::Input { worker_id: worker_id.clone(), input, key: None }).unwrap();
//!
//! let command = Command::Transcript { worker_id: worker_id.clone(), start: None, limit: None, contains: None };
//! let Ok(Reply::Transcript(transcript)) = ask(command) else { panic!() };
//! let said: Vec<_> = transcript.items.iter().map(|item| (item.role.as_str(), item.content.as_str())).collect();
//! assert_eq!(said, [("user", "hello"), ("assistant", "hello")]);
//!
//! // 3. Subscribe to it: frames come as they are told, each as the text that goes over a WebSocket.
//! let observe = Observe::request(&access, &worker_id, None).map(|()| Bytes::new());
//! let mut subscription = runtime.observe(&observe).unwrap();
//! let mut context = Context::from_waker(Waker::noop());
//! let Poll::Ready(Some(snapshot)) = subscription.poll_frame(&mut context) else { panic!() };
//! assert!(snapshot.starts_with(br#"{"kind":"event","envelope":{"cursor":"#));
//! assert!(subscription.poll_frame(&mut context).is_pending());
//!
//! // 4. End it. Dropping it kills what still runs.
//! runtime.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Workers
//!
//! A worker is one child process of a profile that the operator configured; no client can name a program or an argument.
//! Its input is written to its standard input line by line, its output is its transcript. Each has one thread, which
//! starts the process, writes, reads, signals and waits, in one loop around `poll`; a request only leaves word for it.
//! What waits for a worker that does not read is bounded ([`MAX_QUEUED_INPUTS`], [`MAX_QUEUED_BYTES`]), as is all that
//! is kept of it and of all workers together ([`Limits`]).
//!
//! A worker is `running` until its process and all that this started are gone and all that it wrote is read. Then its
//! record tells how it ended. Workers that have ended make room for others, oldest first.
//!
//! # Answers
//!
//! What a request asks for is done at once; its response may have to wait until it is certain, that the process of a
//! new worker runs or that the store has made durable what was done. [`Runtime::respond`] gives it as a future, and
//! [`Runtime::handle`] blocks until it is there. Stores plug in behind [`store::Store`].
//!
//! # Observation
//!
//! [`Runtime::observe`] gives a [`Subscription`], which any executor can poll, and any thread with a waker that
//! unparks it. It is an index into the backlog of its worker: nothing is copied or queued for a subscriber. A worker that
//! says more than its subscribers take is read more slowly, for at most [`CATCH_UP`]; a subscriber that has not caught
//! up by then may fall behind the backlog, and ends with `runtime.cursor_expired`. An event is encoded once, when it
//! happens.
//!
//! The snapshot at the beginning is of the place that was asked for, so that it and what follows tell everything
//! once. A cursor is `EPOCH.PLACE`: the epoch stands for the runtime's `incarnation`, the place for an event of the
//! worker. To clients it is opaque.
//!
//! Over a wire a frame is one text message, in fragments where it is long. A client is pinged every 15 seconds, and
//! dropped where it gives no sign of life until the next ping, or takes nothing of what is written for 30 seconds.
//!
//! # Nothing is left behind
//!
//! However the runtime ends, `kill -9` included, the processes of its workers end with it, and all that these started:
//! helper processes see to it ([`launcher`]), which are the embedding program started again. For that it calls
//! [`launcher::run_if_asked`] first thing in `main`, or names a program that does
//! ([`RuntimeConfig::launcher`]); otherwise workers that are processes do not start.
//!
//! # Once only
//!
//! Create, input and interrupt honour `Idempotency-Key`: for 24 hours a repeated request gets the first answer. So many
//! are kept: 1,024 to creates, 1,024 to what concerns each worker, and 32 MiB of them in all. Successes alone are kept; a
//! refusal changed nothing, and is decided anew. A key stands for a method, a path and a body byte for byte: anything
//! else under the same key is `idempotency_conflict`.
#![forbid(unsafe_code)]

mod agent;
mod bounded;
mod config;
#[cfg(feature = "config")]
mod configured;
mod cursor;
mod event;
mod frame;
mod idempotency;
mod incarnation;
pub mod launcher;
mod limits;
#[cfg(feature = "metrics")]
mod metrics;
mod profile;
mod record;
mod records;
mod runtime;
#[cfg(feature = "serve")]
pub mod serve;
mod shares;
pub mod store;
mod stream;
mod timestamp;
mod user;
mod worker;
mod worker_ids;

pub use config::{RuntimeConfig, Simulation, StartError};
pub use event::{
    Activity, ErrorCode, Event, Greeting, MAX_SNAPSHOT_BYTES, MAX_SNAPSHOT_EXTRAS, MAX_SNAPSHOT_ITEMS,
    RunResult, Segment, Snapshot, SystemItem,
};
pub use limits::{ENDS_WITHIN, EVENT_COST, ITEM_COST, Limits, STOP_GRACE};
#[cfg(feature = "metrics")]
pub use metrics::RuntimeMetrics;
pub use profile::{
    AgentSettings, BUILTIN_ECHO, ProfileError, ProfileKind, Program, TerminalProfile, WorkerProfile,
};
pub use runtime::{
    Figures, MAX_CREATE_BYTES, MAX_LABEL_NAME, MAX_LABEL_VALUE, MAX_LABELS, MAX_LIST_TEXT, MAX_NAME,
    MAX_PAGE_ROWS, MAX_PAGE_TEXT, MAX_TRANSCRIPT_ITEMS, MAX_VARIABLES, Pending, Runtime,
};
pub use stream::{CATCH_UP, Subscription};
pub use worker::{MAX_INPUT_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_INPUTS, START_TIMEOUT};
