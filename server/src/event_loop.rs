//! One event loop: its share of the listener, and the connections that came through it.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sekisho_core::browser_api::{ClientAddress, HEAD_TIMEOUT, MAX_REQUEST_HEAD, Route, problem};
use sekisho_listener::{Acceptor, Connection};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::respond::Service;

/// How many connections a loop holds; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 8192;

/// How long to leave the listener alone that cannot accept, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts and serves. While the server shuts down it goes on for clients that have not noticed yet, until no
/// connection of any loop has anything to finish, or `drain_time` is over.
pub(crate) async fn run(service: Rc<Service>, acceptor: Acceptor) {
    let drained = async {
        service.drain().begins().await;
        timeout(service.drain_time(), service.drain().is_over()).await
    };
    tokio::select! {
        _ = drained => {}
        () = accept(&service, &acceptor) => {}
    }
}

async fn accept(service: &Rc<Service>, acceptor: &Acceptor) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed: a permit comes free in the end.
    while let Ok(permit) = permits.clone().acquire_owned().await {
        match acceptor.accept().await {
            Ok(accepted) => {
                let service = service.clone();
                let counted = service.metrics().connection();
                spawn_local(async move {
                    match accepted.handshake().await {
                        Ok(connection) => serve(service, connection).await,
                        Err(error) => {
                            service.metrics().handshake_failed();
                            debug!(kind = ?error.kind(), "a TLS handshake failed");
                        }
                    }
                    drop((permit, counted));
                });
            }
            Err(error) => {
                warn!(kind = ?error.kind(), "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(service: Rc<Service>, stream: Connection) {
    let peer = stream.tcp().and_then(|tcp| tcp.peer_addr().ok());
    let client = peer.map(|peer| ClientAddress(peer.ip()));
    let stream = stream.with_unreadable(|status| problem(&Route::unreadable(status)));
    let carrying = OnceCell::new();
    let first_request = Notify::new();
    let answer = service_fn(|request| {
        carrying.get_or_init(|| {
            first_request.notify_one();
            service.drain().carrying()
        });
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.respond(request, client).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_REQUEST_HEAD)
        // One that is no longer than it may be has room there while it comes.
        .max_buf_size(2 * MAX_REQUEST_HEAD)
        // A client that has written all that it has to say may close its side and wait for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection.with_upgrades());
    // A client that connects while the server drains has one request answered, if only that it is not ready.
    let last_request = async {
        service.drain().begins().await;
        first_request.notified().await;
    };
    // A connection that breaks is not the server's fault.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = last_request => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
