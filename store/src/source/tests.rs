use std::path::Path;

use sekisho_core::secret::Access;

use super::*;
use crate::journal::tests::{flush, line, open as open_journal, worker};

fn recorded() -> LocalSource {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deployed-schema1");
    LocalSource::new("archive".parse().unwrap(), folder)
}

fn ask(source: &LocalSource, command: Command) -> Result<Reply, u16> {
    let access = Access::in_process();
    let response = source.handle(&command.request(&access));
    let runtime_id = source.inside.runtime_id.clone();
    Reply::from_response(&command, &runtime_id, access.scrubber(), &response)
        .map_err(|_| response.status().as_u16())
}

fn worker_id(text: &str) -> WorkerId {
    text.parse().unwrap()
}

fn transcript(worker_id: WorkerId) -> Command {
    Command::Transcript { worker_id, start: None, limit: None, contains: None }
}

#[test]
fn a_deployed_store_answers_as_v1() {
    let source = recorded();
    let Ok(Reply::Runtime(runtime)) = ask(&source, Command::Runtime) else { panic!() };
    assert_eq!(
        (runtime.backend.as_str(), runtime.worker_count, runtime.active_worker_count),
        ("fs_store", 3, 2)
    );
    assert_eq!((runtime.incarnation, runtime.diagnostics), (None, vec![]));
    let Ok(Reply::Workers(list)) = ask(&source, Command::Workers(Default::default())) else { panic!() };
    assert_eq!((list.workers.len(), list.workers[1].requested_capability_count), (3, 1));
    let Ok(Reply::Worker(detail)) = ask(&source, Command::Worker(worker_id("worker-00000002"))) else {
        panic!()
    };
    assert_eq!(detail.worker_id, "worker-00000002");
    let Ok(Reply::Transcript(page)) = ask(&source, transcript(worker_id("worker-00000001"))) else {
        panic!()
    };
    assert_eq!((page.items.len(), page.total_items, page.next_start), (3, 3, None));
    assert_eq!(ask(&source, Command::Worker(worker_id("none"))), Err(404));
    assert_eq!(ask(&source, transcript(worker_id("none"))), Err(404));
    let over = Command::Transcript {
        worker_id: worker_id("worker-00000001"),
        start: None,
        limit: Some(257),
        contains: None,
    };
    assert_eq!(ask(&source, over), Err(400));
}

#[test]
fn what_would_change_something_is_not_there() {
    let source = recorded();
    for command in [
        Command::Stop { worker_id: worker_id("worker-00000001"), reason: Default::default() },
        Command::Interrupt { worker_id: worker_id("worker-00000001"), key: None },
        Command::Remove(worker_id("worker-00000001")),
        Command::Profiles,
    ] {
        assert_eq!(ask(&source, command.clone()), Err(501), "{command:?}");
    }
    let observe = Observe::request(&Access::in_process(), &worker_id("worker-00000001"), None);
    let refused = source.observe(&observe.map(|()| Bytes::new())).err().unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_IMPLEMENTED);
}

#[test]
fn what_is_wrong_is_told_beside_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = LocalSource::new("archive".parse().unwrap(), folder.path());
    let Ok(Reply::Workers(list)) = ask(&nothing, Command::Workers(Default::default())) else { panic!() };
    assert_eq!((list.workers.len(), list.diagnostics[0].code.as_str()), (0, "store_missing"));
    let Ok(Reply::Runtime(runtime)) = ask(&nothing, Command::Runtime) else { panic!() };
    assert_eq!((runtime.status, runtime.diagnostics.len()), (RuntimeStatus::Unknown, 1));

    let runtime = folder.path().join("runtimes/id-61726368697665");
    std::fs::create_dir_all(runtime.join("workers/id-61")).unwrap();
    let record = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/deployed-schema1/runtimes/id-61726368697665/runtime.json");
    std::fs::copy(&record, runtime.join("runtime.json")).unwrap();
    let Ok(Reply::Workers(list)) = ask(&nothing, Command::Workers(Default::default())) else { panic!() };
    let expected = StoreDiagnostic {
        code: "store_missing".into(),
        message: "the worker a has no record beside its transcript".into(),
    };
    assert_eq!((list.workers.len(), list.diagnostics), (0, vec![expected]));
    assert_eq!(ask(&nothing, Command::Worker(worker_id("a"))), Err(500));
    let newer =
        std::fs::read_to_string(&record).unwrap().replace("\"schema_version\": 1", "\"schema_version\": 3");
    std::fs::write(runtime.join("runtime.json"), newer).unwrap();
    let Ok(Reply::Workers(list)) = ask(&nothing, Command::Workers(Default::default())) else { panic!() };
    assert_eq!(list.diagnostics[0].message, "the store is of version 3, and this program reads version 1");
    let shown = format!("{nothing:?} {:?}", nothing.handle(&Command::Runtime.request(&Access::in_process())));
    assert!(!shown.contains(folder.path().file_name().unwrap().to_str().unwrap()), "{shown}");
}

#[test]
fn a_line_that_cannot_be_read_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let worker = folder.path().join("runtimes/id-61726368697665/workers/id-776f726b65722d3030303030303031");
    std::fs::create_dir_all(&worker).unwrap();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deployed-schema1");
    for name in ["runtime.json", "workers/id-776f726b65722d3030303030303031/worker.json"] {
        let name = Path::new("runtimes/id-61726368697665").join(name);
        std::fs::copy(recorded.join(&name), folder.path().join(&name)).unwrap();
    }
    std::fs::write(worker.join("transcript.jsonl"), "garbage\n").unwrap();
    let source = LocalSource::new("archive".parse().unwrap(), folder.path());
    let Ok(Reply::Transcript(page)) = ask(&source, transcript(worker_id("worker-00000001"))) else {
        panic!()
    };
    assert_eq!((page.total_items, page.items.len(), page.left_out), (1, 0, 1));
}

fn frames(
    source: &LocalSource,
    worker_id: &WorkerId,
    cursor: Option<&str>,
) -> (Vec<serde_json::Value>, bool) {
    let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
    let request =
        Request::get(format!("/v1/workers/{worker_id}/events/ws{query}")).body(Bytes::new()).unwrap();
    let mut stream = source.observe(&request).map_err(|refused| refused.status()).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut frames = Vec::new();
    loop {
        match stream.poll_frame(&mut context) {
            Poll::Ready(Some(frame)) => frames.push(serde_json::from_slice(&frame).unwrap()),
            Poll::Ready(None) => return (frames, true),
            Poll::Pending => return (frames, false),
        }
    }
}

#[test]
fn a_store_of_ours_has_its_streams_too() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open_journal(folder.path());
    journal.note([worker(1)]);
    journal.note(line(1, 1, 5, "one"));
    journal.note(line(1, 2, 7, "two"));
    flush(&journal);
    let source = LocalSource::new("r".parse().unwrap(), folder.path());
    let Ok(Reply::Runtime(runtime)) = ask(&source, Command::Runtime) else { panic!() };
    assert_eq!(runtime.incarnation.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    let id = worker_id("w-1");
    let (all, ends) = frames(&source, &id, None);
    assert_eq!((all.len(), ends), (1, false));
    assert_eq!(all[0]["envelope"]["cursor"], "0123456789abcdef.7");
    assert_eq!(all[0]["envelope"]["payload"]["data"]["entries"].as_array().unwrap().len(), 2);
    let (after, ends) = frames(&source, &id, Some("0123456789abcdef.5"));
    assert_eq!((after.len(), ends), (2, false));
    assert_eq!(after[0]["envelope"]["payload"]["data"]["entries"].as_array().unwrap().len(), 1);
    assert_eq!(after[1]["envelope"]["payload"]["data"]["text"], "two\n");
    for cursor in ["0123456789abcdef.6", "fedcba9876543210.5", "x"] {
        let (refused, ends) = frames(&source, &id, Some(cursor));
        assert_eq!((refused.len(), ends), (2, true), "{cursor}");
        assert_eq!(refused[1]["diagnostic"]["code"], "runtime.cursor_unknown_or_expired");
    }
}

#[test]
fn a_response_can_be_waited_for_without_blocking() {
    let source = recorded();
    let request = Command::Runtime.request(&Access::in_process());
    let mut response = source.respond(&request);
    let mut context = Context::from_waker(Waker::noop());
    let response = loop {
        if let Poll::Ready(response) = response.as_mut().poll(&mut context) {
            break response;
        }
        thread::yield_now();
    };
    assert_eq!(response.status(), StatusCode::OK);
}
