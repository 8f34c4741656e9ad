//! Runtimes and viewers that are values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::Response;
use serde_json::json;

use super::client::Client;
use crate::browser_api::{FleetChange, FleetFrame, FleetRuntime, Now, RequestView, WorkerView};
use crate::call::{Call, CallInput, CallOutput};
use crate::cursor::CursorKey;
use crate::error::{Error, NetworkPhase};
use crate::feed::{FeedLimits, Item};
use crate::fleet::{
    Fleet, FleetFeed, FleetInput, FleetOutput, FleetSession, FleetSessionOutput, MAX_CHANGE_BYTES,
};
use crate::id::{RuntimeId, WorkerId};
use crate::policy::{AllowAll, Policy};
use crate::registry::{Registry, RuntimeSpec};
use crate::runtime_api::{Operation, Reply};
use crate::transport::{Failure, FailureCause};
use crate::viewer::{StreamContext, ViewerInput};

/// A runtime.
#[derive(Default)]
pub(super) struct Host {
    /// Its workers: the number of the newest event, and the open requests.
    workers: BTreeMap<u32, (u64, BTreeSet<u32>)>,
    pub(super) is_down: bool,
    asked: usize,
}

/// All runtimes, the machine, and the feed.
pub(super) struct World {
    pub(super) now: Now,
    pub(super) registry: Registry,
    pub(super) hosts: Vec<Host>,
    pub(super) fleet: Fleet,
    pub(super) feed: FleetFeed,
    pub(super) context: StreamContext,
    hidden: Arc<Hidden>,
    /// How many lists of workers were asked for, and how many of them were read.
    pub(super) asked: usize,
    pub(super) read: usize,
}

#[derive(Default)]
struct Hidden(Mutex<BTreeSet<RuntimeId>>);

impl Policy for Hidden {
    fn permits(&self, _: Operation, runtime_id: &RuntimeId, _: Option<&WorkerId>) -> bool {
        !self.0.lock().unwrap().contains(runtime_id)
    }
}

fn runtime_id(number: usize) -> RuntimeId {
    format!("r{number}").parse().unwrap()
}

impl World {
    pub(super) fn new(hosts: usize, max_changes: usize) -> Self {
        let base_url = || "http://10.1.2.3:7700".parse().unwrap();
        let specs = (0..hosts).map(|number| RuntimeSpec::remote(runtime_id(number), base_url(), None));
        let hidden = Arc::<Hidden>::default();
        let (key, limits) = (CursorKey::from_bytes([7; CursorKey::LENGTH]), FeedLimits::default());
        #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
        let instant = Instant::now();
        Self {
            now: Now { instant, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) },
            registry: Registry::new(specs.collect(), 1).unwrap(),
            hosts: (0..hosts).map(|_| Host::default()).collect(),
            fleet: Fleet::new(hidden.clone()),
            feed: FleetFeed::with_limits(max_changes, MAX_CHANGE_BYTES),
            context: StreamContext::new(key, Arc::new(AllowAll), limits, 1000),
            hidden,
            asked: 0,
            read: 0,
        }
    }

    pub(super) fn hide(&mut self, runtime: usize) {
        self.hidden.0.lock().unwrap().insert(runtime_id(runtime));
    }

    pub(super) fn create(&mut self, runtime: usize, worker: u32) {
        self.hosts[runtime].workers.entry(worker).or_default();
    }

    pub(super) fn remove(&mut self, runtime: usize, worker: u32) {
        self.hosts[runtime].workers.remove(&worker);
    }

    pub(super) fn change(&mut self, runtime: usize, worker: u32) {
        if let Some((event_id, _)) = self.hosts[runtime].workers.get_mut(&worker) {
            *event_id += 1;
        }
    }

    pub(super) fn open_request(&mut self, runtime: usize, worker: u32, request: u32) {
        if let Some((event_id, requests)) = self.hosts[runtime].workers.get_mut(&worker) {
            *event_id += u64::from(requests.insert(request));
        }
    }

    pub(super) fn resolve(&mut self, runtime: usize, worker: u32, request: u32) {
        if let Some((event_id, requests)) = self.hosts[runtime].workers.get_mut(&worker) {
            *event_id += u64::from(requests.remove(&request));
        }
    }

    pub(super) fn asked_of(&self, runtime: usize) -> usize {
        self.hosts[runtime].asked
    }

    /// What a viewer should see in the end: the newest event of each worker.
    pub(super) fn workers(&self) -> BTreeMap<String, u64> {
        let all = self.hosts.iter().enumerate().flat_map(|(number, host)| {
            host.workers
                .iter()
                .map(move |(worker, (event_id, _))| (format!("r{number}/w{worker}"), *event_id))
        });
        all.collect()
    }

    pub(super) fn requests(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (number, host) in self.hosts.iter().enumerate() {
            for (worker, (_, requests)) in &host.workers {
                all.extend(requests.iter().map(|request| format!("r{number}/w{worker}/q{request}")));
            }
        }
        all
    }

    /// Lets the last viewer leave.
    pub(super) fn leave(&mut self) {
        self.fleet.handle(self.now, &self.registry, FleetInput::Unviewed);
        self.run();
    }

    /// Lets time pass, and does what is due then.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now = Now { instant: self.now.instant + time, wall: self.now.wall + time };
        for mut probe in self.registry.probes(self.now.instant) {
            let _ = self.drive(&mut probe);
            self.registry.finish(self.now.instant, probe);
        }
        self.run();
    }

    fn run(&mut self) {
        loop {
            match self.fleet.poll(self.now, &mut self.registry) {
                FleetOutput::Ask(ticket, mut call) => {
                    let result = self.drive(&mut call);
                    let seen = call.take_seen();
                    self.read += usize::from(matches!(result, Ok(Reply::Workers(_))));
                    self.registry.finish(self.now.instant, *call);
                    let answer = FleetInput::Answered(ticket, result, seen);
                    self.fleet.handle(self.now, &self.registry, answer);
                }
                FleetOutput::Update(update) => self.feed.apply(update),
                FleetOutput::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now.instant));
                    return;
                }
            }
        }
    }

    fn drive(&mut self, call: &mut Call) -> Result<Reply, Error> {
        let mut clock = self.now.instant;
        loop {
            match call.poll(clock) {
                CallOutput::Send(attempt) => {
                    let id = attempt.id;
                    let result = self.answer(call.runtime_id(), attempt.request.uri().path());
                    call.handle(clock, CallInput::report(id, result));
                }
                CallOutput::RefreshCredential => call.handle(clock, CallInput::Credential(None)),
                CallOutput::Wait { until, .. } => clock = until,
                CallOutput::Done(end) => return end,
            }
        }
    }

    fn answer(&mut self, runtime_id: &RuntimeId, path: &str) -> Result<Response<Bytes>, Failure> {
        let number: usize = runtime_id.as_str()[1..].parse().unwrap();
        let host = &mut self.hosts[number];
        host.asked += usize::from(path == "/v1/workers");
        if host.is_down {
            return Err(Failure::unsent(FailureCause::Network(NetworkPhase::Connect)));
        }
        let worker_ref =
            |worker: &u32| json!({ "runtime_id": runtime_id, "worker_id": format!("w{worker}") });
        let body = match path {
            "/v1/workers" => {
                self.asked += 1;
                let row = |(worker, (event_id, requests)): (&u32, &(u64, BTreeSet<u32>))| {
                    json!({ "worker_ref": worker_ref(worker), "runtime_id": runtime_id,
                        "worker_id": format!("w{worker}"), "status": "running",
                        "intent": { "kind": "task", "objective": format!("objective-of-w{worker}") },
                        "profile": { "kind": "runtime_default" }, "requested_capability_count": 0,
                        "has_config_bundle": false, "transcript_len": 0, "last_event_id": event_id,
                        "requests": requests.len() })
                };
                json!({ "workers": host.workers.iter().map(row).collect::<Vec<_>>() })
            }
            "/v1/requests" => {
                let mut all = Vec::new();
                for (worker, (_, requests)) in &host.workers {
                    all.extend(requests.iter().map(|request| {
                        json!({ "worker_ref": worker_ref(worker), "request_id": format!("q{request}"),
                            "kind": "permission", "title": "May I?", "options": [],
                            "opened_at": "2026-01-31T12:00:00.000Z" })
                    }));
                }
                json!({ "requests": all })
            }
            "/v1/runtime" => json!({ "runtime": { "runtime_id": runtime_id, "display_name": null,
                "backend": "memory", "status": "running", "worker_count": 0, "active_worker_count": 0,
                "stopped_worker_count": 0, "cancelled_worker_count": 0, "diagnostic_count": 0,
                "limits": { "max_transcript_projection_items": 256, "max_event_batch_items": 256 },
                "features": ["requests"] } }),
            other => panic!("{other}"),
        };
        Ok(Response::new(body.to_string().into()))
    }
}

/// A viewer, and what it believes.
pub(super) struct Viewer {
    pub(super) session: FleetSession,
    pub(super) client: Client,
    pub(super) runtimes: BTreeMap<String, FleetRuntime>,
    workers: BTreeMap<String, WorkerView>,
    requests: BTreeSet<String>,
    position: u64,
    /// How many frames of the state are still to come.
    to_come: u64,
}

impl Viewer {
    pub(super) fn open(world: &mut World) -> Self {
        let session = FleetSession::open(world.now.instant, &world.context).unwrap();
        world.fleet.handle(world.now, &world.registry, FleetInput::Viewed);
        let (runtimes, workers, requests) = Default::default();
        let client = Client::open(world.now.instant);
        Self { session, client, runtimes, workers, requests, position: 0, to_come: 0 }
    }

    pub(super) fn workers(&self) -> BTreeMap<String, u64> {
        let newest = |(name, worker): (&String, &WorkerView)| (name.clone(), worker.last_event_id);
        self.workers.iter().map(newest).collect()
    }

    pub(super) fn requests(&self) -> BTreeSet<String> {
        self.requests.clone()
    }

    /// One frame, where there is one. It is believed.
    pub(super) fn read_one(&mut self, world: &World) -> Option<Item> {
        loop {
            match self.session.poll(world.now.instant, &world.feed) {
                FleetSessionOutput::Frame(item) => {
                    self.session.handle(world.now.instant, ViewerInput::Written);
                    self.client.take(world.now.instant, &item);
                    self.believe(FleetFrame::from_text(item.text()).unwrap());
                    return Some(item);
                }
                FleetSessionOutput::Ping => {
                    self.session.handle(world.now.instant, ViewerInput::Written);
                    self.session.handle(world.now.instant, ViewerInput::Pong);
                }
                FleetSessionOutput::Wait { .. } => return None,
                FleetSessionOutput::End(closing) => panic!("{closing:?}"),
            }
        }
    }

    pub(super) fn read_items(&mut self, world: &World) -> Vec<Item> {
        std::iter::from_fn(|| self.read_one(world)).collect()
    }

    pub(super) fn read(&mut self, world: &World) -> Vec<FleetFrame> {
        let items = self.read_items(world);
        items.iter().map(|item| FleetFrame::from_text(item.text()).unwrap()).collect()
    }

    fn believe(&mut self, frame: FleetFrame) {
        match frame {
            FleetFrame::Snapshot { position, runtimes } => {
                assert!(position >= self.position, "positions only grow");
                (self.position, self.to_come) = (position, runtimes);
                self.runtimes.clear();
                self.workers.clear();
                self.requests.clear();
            }
            FleetFrame::Runtime { runtime, workers, requests } => {
                self.to_come = self.to_come.checked_sub(1).expect("no more than were announced");
                let named =
                    |worker: WorkerView| (format!("{}/{}", worker.runtime_id, worker.worker_id), worker);
                self.workers.extend(workers.into_iter().map(named));
                let request = |request: &RequestView| {
                    format!("{}/{}/{}", request.runtime_id, request.worker_id, request.request_id)
                };
                self.requests.extend(requests.iter().map(request));
                assert!(self.runtimes.insert(runtime.runtime_id.to_string(), runtime).is_none());
            }
            FleetFrame::Change { position, change } => {
                assert_eq!((position, self.to_come), (self.position + 1, 0), "in order, once");
                self.position = position;
                self.change(change);
            }
            FleetFrame::Diagnostic { diagnostic } => panic!("{diagnostic:?}"),
        }
    }

    /// Each change must be one of what is there.
    fn change(&mut self, change: FleetChange) {
        match change {
            FleetChange::Unknown => panic!("no gateway says that"),
            FleetChange::WorkerAdded { worker } => {
                let name = format!("{}/{}", worker.runtime_id, worker.worker_id);
                assert_eq!(self.workers.insert(name, *worker), None);
            }
            FleetChange::WorkerChanged { worker } => {
                let name = format!("{}/{}", worker.runtime_id, worker.worker_id);
                assert_ne!(self.workers.insert(name, *worker.clone()).unwrap(), *worker);
            }
            FleetChange::WorkerGone { runtime_id, worker_id } => {
                assert!(self.workers.remove(&format!("{runtime_id}/{worker_id}")).is_some());
            }
            FleetChange::RequestOpened { request } => {
                let name = format!("{}/{}/{}", request.runtime_id, request.worker_id, request.request_id);
                assert!(self.requests.insert(name));
            }
            FleetChange::RequestResolved { runtime_id, worker_id, request_id } => {
                assert!(self.requests.remove(&format!("{runtime_id}/{worker_id}/{request_id}")));
            }
            FleetChange::RuntimeChanged { runtime } => {
                let before = self.runtimes.insert(runtime.runtime_id.to_string(), runtime.clone());
                assert_ne!(before, Some(runtime));
            }
            FleetChange::RuntimeGone { runtime_id } => {
                let of_it = format!("{runtime_id}/");
                self.workers.retain(|name, _| !name.starts_with(&of_it));
                self.requests.retain(|name| !name.starts_with(&of_it));
                assert!(self.runtimes.remove(runtime_id.as_str()).is_some());
            }
        }
    }
}

/// What frames are called.
pub(super) fn names(frames: Vec<FleetFrame>) -> Vec<String> {
    let name = |frame: FleetFrame| {
        let value = serde_json::to_value(frame).unwrap();
        let name = value["change"]["event"].as_str().or(value["kind"].as_str());
        name.unwrap().to_owned()
    };
    frames.into_iter().map(name).collect()
}
