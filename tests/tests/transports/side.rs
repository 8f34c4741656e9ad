//! Both transports behind one face.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use sekisho_core::call::Call;
use sekisho_core::error::Error;
use sekisho_core::runtime_api::Reply;
use sekisho_core::secret::Token;
use sekisho_core::transport::{Attempt, Failure, InProcess, TokenSource};
use sekisho_core::watch::{Watch, WatchEvent};
use sekisho_tests::client::PATIENCE;
use sekisho_tests::scripted;
use sekisho_transport_blocking as blocking;
use sekisho_transport_tokio as under_tokio;

/// What a stream does next, or how it has ended.
pub(crate) type Next = Result<WatchEvent, Result<(), Error>>;

/// One of the transports, on its way to one runtime.
pub(crate) trait Side {
    /// Performs one attempt.
    fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure>;

    /// The runtime's token as its source has it now.
    fn credential(&self) -> Option<Token>;

    /// Lets an event loop, where there is one, see what has happened.
    fn rest(&self) {}

    /// Drives a call with the transport's own loop.
    fn drive(&self, call: &mut Call) -> Result<Reply, Error>;

    /// Carries a watch with the transport's own loop: each of its events goes to `hear`, until that wants no more.
    fn watch(&self, watch: Watch, hear: &mut dyn FnMut(Next) -> Wish);
}

/// What the receiver of a stream wants to happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To hear more.
    More,
    /// The stream to be stopped.
    Stop,
    /// Nothing any more.
    Nothing,
}

/// How to come by a transport.
pub(crate) type Make = fn(To) -> Box<dyn Side>;

/// Where a transport goes.
pub(crate) enum To {
    /// Over the network.
    Network(Arc<dyn TokenSource>),
    /// To a runtime in the same process.
    InProcess(Box<dyn InProcess>),
}

/// Both of them.
pub(crate) const SIDES: [(&str, Make); 2] = [("tokio", UnderTokio::make), ("blocking", Blocking::make)];

struct UnderTokio {
    // What runs the connections goes after what uses them.
    transport: Arc<under_tokio::Transport>,
    executor: tokio::runtime::Runtime,
}

struct Blocking {
    transport: Arc<blocking::Transport>,
}

impl UnderTokio {
    fn make(to: To) -> Box<dyn Side> {
        let transport = match to {
            To::Network(source) => under_tokio::Transport::Network(
                under_tokio::HttpClient::new(Some(scripted::trust())).with_token_source(source),
            ),
            To::InProcess(runtime) => under_tokio::Transport::InProcess(runtime),
        };
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Box::new(Self { transport: Arc::new(transport), executor })
    }
}

impl Blocking {
    fn make(to: To) -> Box<dyn Side> {
        let transport = match to {
            To::Network(source) => blocking::Transport::Network(
                blocking::HttpClient::new(Some(scripted::trust())).with_token_source(source),
            ),
            To::InProcess(runtime) => blocking::Transport::InProcess(runtime),
        };
        Box::new(Self { transport: Arc::new(transport) })
    }
}

impl Side for UnderTokio {
    fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        self.executor.block_on(self.transport.exchange(attempt))
    }

    fn credential(&self) -> Option<Token> {
        self.transport.credential()
    }

    fn rest(&self) {
        // With nothing to do, the loop waits for its sockets before it waits for the time.
        self.executor.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }

    fn drive(&self, call: &mut Call) -> Result<Reply, Error> {
        self.executor.block_on(under_tokio::drive(call, &self.transport))
    }

    fn watch(&self, watch: Watch, hear: &mut dyn FnMut(Next) -> Wish) {
        let mut watching = under_tokio::WatchDriver::new(watch, self.transport.clone());
        self.executor.block_on(async {
            loop {
                let next = tokio::time::timeout(PATIENCE, watching.next()).await.expect("something is told");
                match hear(next) {
                    Wish::More => {}
                    Wish::Stop => watching.stop(),
                    Wish::Nothing => return,
                }
            }
        });
    }
}

impl Side for Blocking {
    fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        self.transport.exchange(attempt)
    }

    fn credential(&self) -> Option<Token> {
        self.transport.credential()
    }

    fn drive(&self, call: &mut Call) -> Result<Reply, Error> {
        blocking::drive(call, &self.transport)
    }

    fn watch(&self, watch: Watch, hear: &mut dyn FnMut(Next) -> Wish) {
        let mut watching = blocking::WatchDriver::new(watch, self.transport.clone());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match watching.next_event_until(deadline).map(&mut *hear) {
                Some(Wish::More) => {}
                Some(Wish::Stop) => watching.stop(),
                Some(Wish::Nothing) => return,
                None if Instant::now() < deadline => {}
                None => panic!("nothing is told"),
            }
        }
    }
}
