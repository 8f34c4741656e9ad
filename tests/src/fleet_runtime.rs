//! Runtimes that do nothing but list workers, and viewers of all of them.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use sekisho_core::browser_api::{FleetChange, FleetFrame};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::client::PATIENCE;
use crate::upstream::{Upstream, json};

/// A runtime that lists workers, which are changed one by one.
pub struct FleetRuntime {
    /// What it is called.
    pub runtime_id: String,
    upstream: Upstream,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The number of the newest event of each worker.
    events: Vec<u64>,
    /// The list, as it is answered.
    body: String,
}

impl FleetRuntime {
    /// A runtime of this name with so many workers.
    pub fn start(runtime_id: &str, workers: usize) -> Self {
        let events = vec![0; workers];
        let body = body(runtime_id, &events);
        let state = Arc::new(Mutex::new(State { events, body }));
        let listed = state.clone();
        let upstream =
            Upstream::start(move |_| json(200, &listed.lock().unwrap_or_else(PoisonError::into_inner).body));
        Self { runtime_id: runtime_id.to_owned(), upstream, state }
    }

    /// Something happens to a worker.
    pub fn change(&self, worker: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events[worker] += 1;
        state.body = body(&self.runtime_id, &state.events);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// How many requests have come.
    pub fn asked(&self) -> usize {
        self.upstream.asked()
    }

    /// The lines of a gateway's configuration that name it.
    pub fn configuration(&self) -> String {
        let (runtime_id, address) = (&self.runtime_id, self.upstream.address());
        format!("[[remote]]\nruntime_id = '{runtime_id}'\nbase_url = 'http://{address}'\n")
    }
}

fn body(runtime_id: &str, events: &[u64]) -> String {
    let rows = events.iter().enumerate().map(|(number, event_id)| {
        let worker_id = format!("worker-{number}");
        serde_json::json!({
            "worker_ref": { "runtime_id": runtime_id, "worker_id": worker_id },
            "runtime_id": runtime_id, "worker_id": worker_id, "status": "running",
            "intent": { "kind": "task", "objective": "look after what happens in the place that it was given" },
            "profile": { "kind": "named", "value": "shell" }, "requested_capability_count": 0,
            "has_config_bundle": false, "transcript_len": event_id, "last_event_id": event_id,
            "name": format!("name of {worker_id}"), "labels": { "team": "blue", "task": worker_id },
            "created_at": "2026-01-31T12:00:00.000Z", "started_at": "2026-01-31T12:00:00.010Z",
            "activity": "idle", "requests": 0,
        })
    });
    serde_json::json!({ "workers": rows.collect::<Vec<_>>() }).to_string()
}

/// A viewer of all workers over WebSocket, which blocks.
pub struct FleetViewer {
    socket: WebSocket<TcpStream>,
    position: u64,
}

impl FleetViewer {
    /// Opens the stream, and reads the state of everything. How many workers there are.
    pub fn open(gateway: SocketAddr) -> (Self, usize) {
        let request = format!("ws://{gateway}/api/workers/events/ws").into_client_request().unwrap();
        let stream = TcpStream::connect_timeout(&gateway, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        let mut viewer = Self { socket, position: 0 };
        let FleetFrame::Snapshot { position, runtimes } = viewer.see() else { panic!("no snapshot") };
        viewer.position = position;
        let count = |_| match viewer.see() {
            FleetFrame::Runtime { workers, .. } => workers.len(),
            other => panic!("{other:?}"),
        };
        let workers = (0..runtimes).map(count).sum();
        (viewer, workers)
    }

    /// Waits for the next frame.
    pub fn see(&mut self) -> FleetFrame {
        self.see_unless_gone().expect("the gateway is there")
    }

    /// The same; `None` where the gateway is gone.
    fn see_unless_gone(&mut self) -> Option<FleetFrame> {
        loop {
            match self.socket.read().ok()? {
                Message::Text(text) => return Some(FleetFrame::from_text(text.as_bytes()).unwrap()),
                Message::Ping(_) => {}
                Message::Close(_) => return None,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the next change, which must be the one after the last.
    pub fn see_change(&mut self) -> FleetChange {
        self.see_change_unless_gone().expect("the gateway is there")
    }

    /// The same; `None` where the gateway is gone.
    pub fn see_change_unless_gone(&mut self) -> Option<FleetChange> {
        match self.see_unless_gone()? {
            FleetFrame::Change { position, change } => {
                assert_eq!(position, self.position + 1, "in order, once");
                self.position = position;
                Some(change)
            }
            other => panic!("{other:?}"),
        }
    }
}
