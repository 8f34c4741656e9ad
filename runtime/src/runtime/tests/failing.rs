//! What a runtime does when its disk fails.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use super::*;
use crate::store::{Backlog, KeptAnswer, Page, StoredItem, Ticket, Write};

/// A store in memory, on a disk that fails as long as it is told to.
struct Failing {
    memory: MemoryStore,
    disk: Arc<Disk>,
}

#[derive(Default)]
struct Disk {
    fails: AtomicBool,
    /// Whether the store has found out.
    is_known: AtomicBool,
    taken_in: Mutex<Vec<Vec<Write>>>,
    /// What was waited for.
    waited: Mutex<Vec<Ticket>>,
    last: AtomicU64,
}

impl Disk {
    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Release);
        self.is_known.store(false, Ordering::Release);
    }

    fn know(&self) {
        self.fail(true);
        self.is_known.store(true, Ordering::Release);
    }
}

impl Store for Failing {
    fn backend(&self) -> &'static str {
        "failing"
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.memory.load()
    }

    fn begin(&self, incarnation: &str) -> Result<(), StoreError> {
        self.memory.begin(incarnation)
    }

    fn append(&self, worker_id: &WorkerId, writes: Vec<Write>) -> Result<Ticket, StoreError> {
        self.memory.append(worker_id, writes.clone())?;
        self.disk.taken_in.lock().unwrap().push(writes);
        Ok(Ticket(self.disk.last.fetch_add(1, Ordering::AcqRel) + 1))
    }

    fn poll_durable(&self, ticket: Ticket, _: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        self.disk.waited.lock().unwrap().push(ticket);
        let fails = self.disk.fails.load(Ordering::Acquire);
        self.disk.is_known.store(fails, Ordering::Release);
        Poll::Ready(if fails { Err(StoreError::Io) } else { Ok(()) })
    }

    fn failing(&self) -> Option<StoreError> {
        self.disk.is_known.load(Ordering::Acquire).then_some(StoreError::Io)
    }

    fn page(&self, worker_id: &WorkerId, start: u64, limit: usize) -> Result<Page, StoreError> {
        self.memory.page(worker_id, start, limit)
    }

    fn newest(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredItem>, StoreError> {
        self.memory.newest(worker_id, until, limit, max_bytes)
    }

    fn backlog(&self, worker_id: &WorkerId, limit: usize, max_bytes: usize) -> Result<Backlog, StoreError> {
        self.memory.backlog(worker_id, limit, max_bytes)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.memory.close()
    }
}

/// A runtime on such a disk, whose workers leave a mark in a folder when they start.
fn on_disk(folder: &Path) -> (Runtime, Arc<Disk>) {
    let disk: Arc<Disk> = Arc::default();
    let command = ["sh", "-c", "echo started >> mark; exec sleep 1000"].map(str::to_owned).to_vec();
    let program = Program { command, cwd: Some(folder.into()), ..Program::default() };
    let kind = ProfileKind::Lines(program);
    let profiles = vec![WorkerProfile { name: "marks".into(), kind, description: None }];
    let config = RuntimeConfig { profiles, ..config() };
    let store = Failing { memory: MemoryStore::new(&config.limits), disk: Arc::clone(&disk) };
    (Runtime::with_store(config, Box::new(store)).unwrap(), disk)
}

/// How the disk's failure is told: whether nothing has been done.
fn is_not_applied(answer: (u16, Value)) -> bool {
    let outcome = answer.1["error"].get("outcome").cloned();
    assert_eq!(refused(answer), (500, "store_io".into()));
    outcome.inspect(|outcome| assert_eq!(outcome, "not_applied")).is_some()
}

fn create(runtime: &Runtime, body: &str, key: &str) -> (u16, Value) {
    ask(runtime, Method::POST, WORKERS, &[("idempotency-key", key)], body)
}

#[test]
fn a_worker_that_the_disk_does_not_take_never_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let (runtime, disk) = on_disk(folder.path());
    for body in [ASSISTANT, ECHO] {
        disk.fail(true);
        // The first who meets the failure is told the same as those who come when it is known.
        for _ in 0..2 {
            assert!(is_not_applied(create(&runtime, body, body)));
            assert_eq!(get(&runtime, WORKERS).1["workers"], json!([]));
        }
        let taken_in = disk.taken_in.lock().unwrap().concat();
        assert!(matches!(taken_in[..], [.., Write::Answer(KeptAnswer { body: None, .. }), Write::Forgotten]));
        disk.fail(false);
        assert!(!mark.exists());
        // The same request may be sent again.
        let (status, answer) = create(&runtime, body, body);
        assert_eq!(status, 200, "{answer}");
        let marks = || std::fs::read_to_string(&mark).unwrap_or_default();
        until(|| body == ECHO || marks() == "started\n");
        let worker = format!("{WORKERS}/{}", answer["worker"]["worker_id"].as_str().unwrap());
        post(&runtime, &format!("{worker}/cancel"), "");
        ended(&runtime, &worker);
        assert_eq!(ask(&runtime, Method::DELETE, &worker, &[], "").0, 204);
        let _ = std::fs::remove_file(&mark);
    }
}

#[test]
fn a_create_waits_for_the_disk_once() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, disk) = on_disk(folder.path());
    assert_eq!(create(&runtime, ASSISTANT, "k").0, 200);
    assert_eq!(*disk.waited.lock().unwrap(), [Ticket(1)]);
}

#[test]
fn what_has_to_last_is_refused_before_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, disk) = on_disk(folder.path());
    let (runs, over) = (make(&runtime), make(&runtime));
    let echo = post(&runtime, WORKERS, ECHO).1["worker"]["worker_id"].as_str().unwrap().to_owned();
    let echo = format!("{WORKERS}/{echo}");
    post(&runtime, &format!("{over}/cancel"), "");
    ended(&runtime, &over);
    let before = [&runs, &over, &echo].map(|worker| get(&runtime, worker));
    disk.know();
    for worker in [&runs, &echo] {
        assert!(is_not_applied(input(&runtime, worker, HELLO)), "{worker}");
        assert!(is_not_applied(input(&runtime, worker, r#"{"kind":"eof"}"#)), "{worker}");
    }
    let keyed = ask(&runtime, Method::POST, &format!("{runs}/interrupt"), &[("idempotency-key", "k")], "");
    assert!(is_not_applied(keyed));
    assert!(is_not_applied(ask(&runtime, Method::DELETE, &over, &[], "")));
    assert_eq!([&runs, &over, &echo].map(|worker| get(&runtime, worker)), before);
    // What need not last is done: there is nothing to keep of it.
    assert_eq!(post(&runtime, &format!("{echo}/interrupt"), "").0, 200);
    // A worker can be ended, and that this may be forgotten is said.
    for worker in [&runs, &echo] {
        assert!(!is_not_applied(post(&runtime, &format!("{worker}/stop"), "")), "{worker}");
        assert_eq!(ended(&runtime, worker)["end"]["reason"], "stopped", "{worker}");
    }
}

#[test]
fn an_input_that_met_the_failure_may_have_happened() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, disk) = on_disk(folder.path());
    let worker = make(&runtime);
    disk.fail(true);
    assert!(!is_not_applied(input(&runtime, &worker, HELLO)));
    let items = get(&runtime, &format!("{worker}/transcript")).1["transcript"]["items"].clone();
    assert_eq!(items[0]["content"], "hello");
}
