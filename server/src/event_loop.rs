//! One event loop: its share of the listener, and the connections that came through it.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::gateway::Gateway;
use crate::stall::StallGuard;

/// How long a client may take for the head of a request, from when the connection or the last response was there.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 32 << 10;

/// How many connections a loop holds; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 8192;

/// How long to leave the listener alone that cannot accept, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections have something to finish, over all loops.
#[derive(Default)]
pub(crate) struct Busy {
    count: AtomicUsize,
    none: Notify,
}

/// A connection that has carried a request. Once the server drains, it ends with its last response; one that never
/// carried any is not waited for.
pub(crate) struct Carrying(Arc<Busy>);

impl Busy {
    pub(crate) fn carrying(self: &Arc<Self>) -> Carrying {
        self.count.fetch_add(1, Ordering::Relaxed);
        Carrying(self.clone())
    }

    async fn is_over(&self) {
        loop {
            let mut none = pin!(self.none.notified());
            none.as_mut().enable();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

/// Accepts and serves. Once the server is to go it goes on for those who have not noticed yet, until nothing is busy
/// in any loop or `drain_time` is over.
pub(crate) async fn run(gateway: Rc<Gateway>, listener: TcpListener, drain_time: Duration) {
    let drained = async {
        gateway.is_draining().await;
        timeout(drain_time, gateway.busy().is_over()).await
    };
    tokio::select! {
        _ = drained => {}
        () = accept(&gateway, &listener) => {}
    }
}

async fn accept(gateway: &Rc<Gateway>, listener: &TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed: a place comes free in the end.
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = serve(gateway.clone(), stream);
                spawn_local(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(kind = ?error.kind(), "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(gateway: Rc<Gateway>, stream: TcpStream) {
    // Responses are written in one piece: there is nothing for Nagle's algorithm to gather.
    let _ = stream.set_nodelay(true);
    let carrying = OnceCell::new();
    let first_request = Notify::new();
    let service = service_fn(|request| {
        carrying.get_or_init(|| {
            first_request.notify_one();
            gateway.busy().carrying()
        });
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(gateway.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(StallGuard::new(stream)), service);
    let mut connection = pin!(connection.with_upgrades());
    // Whoever comes while the server drains has one request answered, if only that it is no longer ready.
    let last_request = async {
        gateway.is_draining().await;
        first_request.notified().await;
    };
    // A connection that breaks is its client's business.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = last_request => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
