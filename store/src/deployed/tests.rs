use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sekisho_core::runtime_api::{Intent, Profile, RuntimeStatus, WorkerStatus};
use tempfile::TempDir;

use super::*;

/// A store as a deployed runtime wrote it, in a folder of its own.
struct Fixture {
    folder: TempDir,
}

const RUNTIME: &str = "runtimes/id-61726368697665";
/// `worker-00000001`, with three items.
const WORKER_1: &str = "workers/id-776f726b65722d3030303030303031";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deployed-schema1")
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    copy(&recorded(), folder.path());
    Fixture { folder }
}

fn worker_id(text: &str) -> WorkerId {
    text.parse().unwrap()
}

fn all() -> Window {
    Window { start: 0, limit: 256, max_bytes: 1 << 20 }
}

impl Fixture {
    fn store(&self) -> DeployedStore {
        DeployedStore::new(self.folder.path(), "archive".parse().unwrap())
    }

    fn runtime(&self) -> PathBuf {
        self.folder.path().join(RUNTIME)
    }

    fn worker(&self) -> PathBuf {
        self.runtime().join(WORKER_1)
    }

    fn edit(&self, name: &str, change: impl Fn(String) -> String) {
        let path = self.runtime().join(name);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }

    fn page(&self, window: Window) -> StoredPage {
        self.store().transcript(&worker_id("worker-00000001"), window).unwrap().unwrap()
    }
}

/// Every name in a folder with what is in it, to see that nothing was written.
fn everything(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                found.push((path.clone(), None));
                found.extend(everything(&path));
            }
            false => found.push((path.clone(), Some(fs::read(&path).unwrap()))),
        }
    }
    found.sort();
    found
}

#[test]
fn a_whole_store_is_read() {
    let fixture = fixture();
    let before = everything(fixture.folder.path());
    let by_root = fixture.store();
    let by_folder = DeployedStore::new(fixture.runtime(), "archive".parse().unwrap());
    for store in [by_root, by_folder] {
        let runtime = store.runtime().unwrap();
        assert_eq!(runtime.display_name.as_deref(), Some("Archive"));
        assert_eq!((runtime.backend.as_str(), runtime.status), ("fs_store", RuntimeStatus::Running));
        assert_eq!((runtime.limits.max_transcript_projection_items, runtime.diagnostics), (256, 5));

        let listed = store.workers().unwrap();
        assert_eq!((listed.problems, listed.incomplete), (vec![], None));
        let rows: Vec<_> = listed
            .workers
            .iter()
            .map(|worker| {
                (worker.worker_id.as_str(), worker.status, worker.transcript_len, worker.last_event_id)
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("worker-00000001", WorkerStatus::Running, 3, 6),
                ("worker-00000002", WorkerStatus::Stopped, 0, 7),
                ("worker-00000003", WorkerStatus::Running, 0, 8),
            ]
        );
        let second = store.worker(&worker_id("worker-00000002")).unwrap().unwrap();
        assert_eq!(second, listed.workers[1]);
        assert_eq!(second.intent, Intent::Task { objective: "o".into() });
        assert_eq!(second.profile, Profile::Builtin("b".into()));
        assert_eq!(second.requested_capabilities[0].reason.as_deref(), Some("r"));
        assert_eq!(second.workspace_refs[0].reference, "ref");

        let page = store.transcript(&worker_id("worker-00000001"), all()).unwrap().unwrap();
        assert_eq!((page.total, page.next, page.problems.len()), (3, None, 0));
        let said: Vec<_> =
            page.items.iter().map(|item| (item.sequence, item.role.as_str(), item.event_id)).collect();
        assert_eq!(said, [(1, "user", 4), (2, "user", 5), (3, "system", 6)]);
        assert_eq!(page.items[0].content, "l0\nsecond 日本");
        assert_eq!(store.worker(&worker_id("worker-00000004")).unwrap(), None);
        assert_eq!(store.transcript(&worker_id("worker-00000004"), all()).unwrap(), None);
        assert_eq!(store.worker(&worker_id(&"x".repeat(128))).unwrap(), None);
    }
    assert_eq!(everything(fixture.folder.path()), before);
}

#[test]
fn transcripts_are_read_by_the_page() {
    let fixture = fixture();
    let sequences = |window| {
        let page = fixture.page(window);
        (page.items.iter().map(|item| item.sequence).collect::<Vec<_>>(), page.next)
    };
    let window = |start, limit| Window { start, limit, max_bytes: 1 << 20 };
    assert_eq!(sequences(window(0, 2)), (vec![1, 2], Some(2)));
    assert_eq!(sequences(window(2, 2)), (vec![3], None));
    assert_eq!(sequences(window(3, 2)), (vec![], None));
    assert_eq!(sequences(window(u64::MAX, 2)), (vec![], None));
    assert_eq!(sequences(window(0, 0)), (vec![], None));
    // What is over the bound waits for the next page, but for the first item.
    assert_eq!(sequences(Window { max_bytes: 20, ..all() }), (vec![1], Some(1)));
}

#[test]
fn a_last_line_that_is_torn_anywhere_is_as_if_it_were_not_there() {
    let fixture = fixture();
    let path = fixture.worker().join(TRANSCRIPT_FILE);
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let store = fixture.store();
    for length in last..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let page = store.transcript(&worker_id("worker-00000001"), all()).unwrap().unwrap();
        assert_eq!((page.total, page.items.len(), page.problems.len()), (2, 2, 0), "{length}");
        assert_eq!(store.workers().unwrap().workers[0].transcript_len, 2);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(fixture.page(all()).total, 3);
}

#[test]
fn another_line_that_cannot_be_read_is_told_and_passed_over() {
    let fixture = fixture();
    for bad in ["garbage", "", "{}", "{\"sequence\":", "\u{0}"] {
        fixture.edit(&format!("{WORKER_1}/{TRANSCRIPT_FILE}"), |text| {
            let lines: Vec<_> = text.lines().collect();
            format!("{}\n{bad}\n{}\n", lines[0], lines[2])
        });
        let page = fixture.page(all());
        assert_eq!(page.items.iter().map(|item| item.sequence).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((page.total, page.problems), (3, vec![Problem::Line { line: 2 }]));
        assert_eq!(fixture.page(Window { start: 1, limit: 1, ..all() }).next, Some(2));
    }
    // Not even UTF-8.
    let path = fixture.worker().join(TRANSCRIPT_FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(b"\xff\xfe\n");
    fs::write(&path, bytes).unwrap();
    assert_eq!(fixture.page(all()).problems.last(), Some(&Problem::Line { line: 4 }));
}

#[test]
fn a_line_over_the_bound_is_told_and_passed_over() {
    let fixture = fixture();
    let path = fixture.worker().join(TRANSCRIPT_FILE);
    let line = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
    let bound = usize::try_from(MAX_LINE_BYTES).unwrap();
    let of_length = |length: usize| line.replacen("l0", &"x".repeat(length - line.len() + 2), 1);
    fs::write(&path, format!("{}\n{}\n{line}\n", of_length(bound), of_length(bound + 1))).unwrap();
    let page = fixture.page(all());
    assert_eq!((page.total, page.items.len()), (3, 1), "the second item does not fit into one page");
    let page = fixture.page(Window { start: 1, ..all() });
    assert_eq!((page.items.len(), page.problems), (1, vec![Problem::Line { line: 2 }]));
}

#[test]
fn what_is_left_of_an_interrupted_replacement_is_passed_over() {
    let fixture = fixture();
    let before = fixture.store().workers().unwrap();
    for (folder, name) in [
        (fixture.runtime(), ".runtime.json.tmp-1234-5"),
        (fixture.worker(), ".worker.json.tmp-1234-6"),
        (fixture.runtime().join("workers"), ".worker.json.tmp-1-1"),
    ] {
        fs::write(folder.join(name), "{\"schema_ver").unwrap();
    }
    assert_eq!(fixture.store().workers().unwrap(), before);
}

#[test]
fn a_worker_without_its_record_is_a_problem_of_its_own() {
    let fixture = fixture();
    fs::remove_file(fixture.worker().join(WORKER_FILE)).unwrap();
    let listed = fixture.store().workers().unwrap();
    assert_eq!(listed.workers.len(), 2);
    let problem = WorkerProblem { worker_id: "worker-00000001".into(), problem: Problem::RecordMissing };
    assert_eq!(listed.problems, [problem]);
    assert_eq!(fixture.store().worker(&worker_id("worker-00000001")), Err(Problem::RecordMissing));
}

#[test]
fn a_damaged_record_is_a_problem_of_its_worker() {
    let fixture = fixture();
    let name = format!("{WORKER_1}/{WORKER_FILE}");
    let whole = fs::read_to_string(fixture.runtime().join(&name)).unwrap();
    for (bad, problem) in [
        (String::new(), Problem::Damaged),
        (whole[..whole.len() / 2].to_owned(), Problem::Damaged),
        (whole.replace("assistant", "butler"), Problem::Damaged),
        (whole.replace("worker-00000001", "worker-00000002"), Problem::Damaged),
        (whole.replace("\"archive\"", "\"other\""), Problem::Damaged),
        (
            whole.replace("\"schema_version\": 1", "\"schema_version\": 2"),
            Problem::OtherVersion { found: 2, known: 1 },
        ),
    ] {
        fs::write(fixture.runtime().join(&name), bad).unwrap();
        let listed = fixture.store().workers().unwrap();
        assert_eq!((listed.workers.len(), listed.problems.len()), (2, 1));
        assert_eq!(listed.problems[0].problem, problem);
    }
    // What is not known is passed over, in nested records as well.
    let more = whole.replacen("\"kind\": \"assistant\"", "\"kind\": \"assistant\", \"mood\": 1", 1);
    fs::write(fixture.runtime().join(&name), more.replacen('{', "{\"new\": [{}],", 1)).unwrap();
    assert_eq!(fixture.store().workers().unwrap().workers.len(), 3);
}

#[test]
fn a_store_of_another_version_or_runtime_says_so() {
    let fixture = fixture();
    fixture.edit(RUNTIME_FILE, |text| text.replace("\"schema_version\": 1", "\"schema_version\": 3"));
    let version = Problem::OtherVersion { found: 3, known: 1 };
    assert_eq!(fixture.store().workers(), Err(version));
    assert_eq!(version.to_string(), "is of version 3, and this program reads version 1");
    fixture.edit(RUNTIME_FILE, |_| "{\"schema_version\": 3}".into());
    assert_eq!(fixture.store().runtime(), Err(version));
    fixture.edit(RUNTIME_FILE, |_| "{".into());
    assert_eq!(fixture.store().runtime(), Err(Problem::Damaged));

    let other = DeployedStore::new(fixture.folder.path(), "other".parse().unwrap());
    assert_eq!(other.workers(), Err(Problem::StoreMissing));
    let elsewhere = DeployedStore::new(recorded().join(RUNTIME), "other".parse().unwrap());
    assert_eq!(elsewhere.workers(), Err(Problem::OtherRuntime));
    let nowhere = DeployedStore::new(fixture.folder.path().join("none"), "archive".parse().unwrap());
    assert_eq!(nowhere.workers(), Err(Problem::StoreMissing));
}

#[test]
fn holes_are_no_problem() {
    let fixture = fixture();
    fixture.edit(&format!("{WORKER_1}/{TRANSCRIPT_FILE}"), |text| {
        text.lines().filter(|line| !line.contains("\"sequence\":2")).map(|line| format!("{line}\n")).collect()
    });
    let page = fixture.page(all());
    assert_eq!(page.items.iter().map(|item| item.sequence).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((page.total, page.problems.len()), (2, 0));
    fs::remove_file(fixture.worker().join(TRANSCRIPT_FILE)).unwrap();
    assert_eq!(fixture.page(all()), StoredPage::default());
}

#[test]
fn ids_are_any_text() {
    let fixture = fixture();
    let id = "関所 / 1";
    let folder = fixture.runtime().join("workers").join(name::folder_of(id));
    copy(&fixture.worker(), &folder);
    let record = fs::read_to_string(folder.join(WORKER_FILE)).unwrap();
    fs::write(folder.join(WORKER_FILE), record.replace("worker-00000001", id)).unwrap();
    fs::create_dir(fixture.runtime().join("workers/lost+found")).unwrap();
    let listed = fixture.store().workers().unwrap();
    assert_eq!(listed.workers.last().unwrap().worker_id, id);
    assert_eq!((listed.workers.len(), listed.problems.len()), (4, 0));
}

#[test]
fn what_is_no_plain_file_is_not_waited_for() {
    let fixture = fixture();
    let pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    pipe(&fixture.worker().join(TRANSCRIPT_FILE));
    let listed = fixture.store().workers().unwrap();
    assert_eq!((listed.workers.len(), listed.problems[0].problem), (2, Problem::NotAFile));
    fs::remove_file(fixture.worker().join(TRANSCRIPT_FILE)).unwrap();
    std::os::unix::fs::symlink("/dev/zero", fixture.worker().join(TRANSCRIPT_FILE)).unwrap();
    assert_eq!(fixture.store().workers().unwrap().problems[0].problem, Problem::NotAFile);
    pipe(&fixture.runtime().join(RUNTIME_FILE));
    assert_eq!(fixture.store().workers(), Err(Problem::NotAFile));
}

#[test]
fn files_of_any_size_are_read_in_part() {
    let fixture = fixture();
    let sparse =
        |path: &Path, length| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
    sparse(&fixture.worker().join(WORKER_FILE), 1 << 40);
    let listed = fixture.store().workers().unwrap();
    assert_eq!(listed.problems[0].problem, Problem::TooLarge { limit: MAX_RECORD_BYTES });
}

#[test]
fn nothing_shows_where_the_store_is() {
    let fixture = fixture();
    let place = fixture.folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    let shown = format!("{:?} {:?}", fixture.store(), fixture.store().workers());
    assert!(!shown.contains(&place), "{shown}");
}

/// A page that is read while lines are appended in many small writes is a beginning of what was written.
#[test]
fn a_writer_is_neither_waited_for_nor_misread() {
    const LINES: u64 = 3000;
    let fixture = fixture();
    let path = fixture.worker().join(TRANSCRIPT_FILE);
    fs::write(&path, "").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            for sequence in 1..=LINES {
                let line = format!(
                    "{{\"sequence\":{sequence},\"worker_ref\":{{\"runtime_id\":\"archive\",\"worker_id\":\"worker-00000001\"}},\
                     \"role\":\"user\",\"content\":\"line {sequence}\",\"event_id\":{sequence}}}\n"
                );
                for piece in line.as_bytes().chunks(7) {
                    file.write_all(piece).unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        let store = fixture.store();
        let mut known = 0;
        loop {
            let finished = done.load(Ordering::Acquire);
            let start = known / 2;
            let window = Window { start, limit: usize::MAX, max_bytes: usize::MAX };
            let page = store.transcript(&worker_id("worker-00000001"), window).unwrap().unwrap();
            assert!(page.total >= known && page.problems.is_empty());
            known = page.total;
            assert_eq!(page.items.len() as u64, known - start);
            for (sequence, item) in (start + 1..).zip(&page.items) {
                assert_eq!((item.sequence, &item.content), (sequence, &format!("line {sequence}")));
            }
            if finished {
                break;
            }
        }
        assert_eq!(known, LINES);
    });
}
