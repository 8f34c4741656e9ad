//! What a durable store costs: against the store in memory, and by itself with many workers.
//!
//! Workers print lines of 200 bytes as fast as they are read. The contestants take turns; a ratio is that of one round.
//! Bytes are what the kernel was given to write, log and database together.

mod figures;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use figures::{Bars, median};
use http::Request;
use sekisho_core::runtime_api::WorkerStatus;
use sekisho_runtime::store::{DurableOptions, DurableStore};
use sekisho_runtime::{Limits, Runtime, RuntimeConfig, WorkerProfile};
use sekisho_store::journal::{EventRow, Identity, ItemRow, Journal, Options, Payload, Record, WorkerRow};
use serde_json::Value;

const ROUNDS: usize = 5;

/// Lines of one worker in one round.
const LINES: u64 = 200_000;

/// What the store in memory has of one line of 200 bytes: the text, what an item costs beside it, and the frame.
const MEMORY_BYTES: f64 = 200.0 + 128.0 + 64.0 + 360.0;

/// Workers in a store that is started with and listed.
const WORKERS: i64 = 10_000;

fn main() -> ExitCode {
    sekisho_runtime::launcher::run_if_asked();
    let Some(mut bars) = Bars::of_this_run() else { return ExitCode::SUCCESS };
    match run(&mut bars) {
        Ok(()) => bars.verdict(),
        Err(error) => {
            eprintln!("store: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(bars: &mut Bars) -> Result<(), Box<dyn Error>> {
    let (mut slower, mut bytes) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let memory = lines(None)?;
        let folder = tempfile::tempdir()?;
        let before = written()?;
        let durable = lines(Some(folder.path()))?;
        let written = (written()? - before) as f64 / LINES as f64;
        let per_second = |time: Duration| LINES as f64 / time.as_secs_f64();
        println!(
            "round {round}: memory {:.0} lines/s, durable {:.0} lines/s, {written:.0} bytes written a line",
            per_second(memory),
            per_second(durable)
        );
        slower.push(durable.as_secs_f64() / memory.as_secs_f64());
        bytes.push(written / MEMORY_BYTES);
    }
    bars.hold("time of a line against the store in memory", &slower, 2.0);
    bars.hold("bytes written of a line against the store in memory", &bytes, 2.0);
    many_workers(bars)?;
    search(bars)
}

/// How long a worker takes whose program prints lines.
fn lines(store: Option<&Path>) -> Result<Duration, Box<dyn Error>> {
    let line = "x".repeat(199);
    let program = format!("yes {line} | head -n {LINES}");
    let mut config = RuntimeConfig::new("bench".parse()?);
    config.profiles = vec![WorkerProfile::lines("print", ["sh".to_owned(), "-c".to_owned(), program])];
    let runtime = match store {
        None => Runtime::start(config)?,
        Some(folder) => {
            let options = DurableOptions::default();
            let store = DurableStore::open(folder, &config.runtime_id, None, &Limits::default(), &options)?;
            Runtime::with_store(config, Box::new(store))?
        }
    };
    let begun = Instant::now();
    let create = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;
    let created = ask(&runtime, "POST", "/v1/workers", create)?;
    let path = format!("/v1/workers/{}", created["worker"]["worker_id"].as_str().ok_or("no worker")?);
    loop {
        let worker = &ask(&runtime, "GET", &path, "")?["worker"];
        if worker["status"] != "running" {
            let said = worker["transcript_len"].as_u64().unwrap_or(0);
            if said <= LINES {
                return Err(format!("{said} items of {LINES} lines: {}", worker["end"]).into());
            }
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // Everything is on the disk when it is shut down.
    runtime.shutdown();
    Ok(begun.elapsed())
}

fn ask(runtime: &Runtime, method: &str, path: &str, body: &str) -> Result<Value, Box<dyn Error>> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let response = runtime.handle(&request.body(Bytes::from(body.to_owned()))?);
    if !response.status().is_success() {
        return Err(format!("{method} {path}: {:?}", response.body()).into());
    }
    Ok(serde_json::from_slice(response.body())?)
}

/// How many bytes this process gave the kernel to write to files.
fn written() -> Result<u64, Box<dyn Error>> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).ok_or("no write_bytes")?;
    Ok(line.parse()?)
}

fn many_workers(bars: &mut Bars) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    fill(folder.path())?;
    let (mut started, mut listed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut config = RuntimeConfig::new("bench".parse()?);
        config.limits.max_ended_workers = usize::MAX;
        config.limits.keep_ended = Duration::MAX;
        let options = DurableOptions::default();
        let store = DurableStore::open(folder.path(), &config.runtime_id, None, &config.limits, &options)?;
        let runtime = Runtime::with_store(config, Box::new(store))?;
        started.push(begun.elapsed().as_secs_f64() * 1e3);
        let (count, time) = list(&runtime)?;
        listed.push(time.as_secs_f64() * 1e3);
        println!("{count} workers listed, started in {:.0} ms", median(started.iter().copied()));
    }
    bars.hold("ms to start with 10,000 stored workers", &started, 200.0);
    bars.hold("ms to list them, page by page", &listed, 50.0);
    Ok(())
}

/// How many workers a runtime lists, page by page, and how long it takes for that.
fn list(runtime: &Runtime) -> Result<(usize, Duration), Box<dyn Error>> {
    let (mut count, mut time, mut after) = (0, Duration::ZERO, String::new());
    loop {
        let request = Request::get(format!("/v1/workers?limit=10000{after}")).body(Bytes::new())?;
        let begun = Instant::now();
        let response = runtime.handle(&request);
        time += begun.elapsed();
        let page: Value = serde_json::from_slice(response.body())?;
        count += page["workers"].as_array().map_or(0, Vec::len);
        match page["next_after"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok((count, time)),
        }
    }
}

/// A search that finds nothing looks through all of a transcript: there is no index that each line would pay for.
fn search(bars: &mut Bars) -> Result<(), Box<dyn Error>> {
    const ITEMS: u64 = 65_536;
    let folder = tempfile::tempdir()?;
    let identity = Identity { runtime_id: "bench".parse()?, display_name: None, incarnation: "0".repeat(32) };
    let (journal, _) = Journal::open(folder.path(), &identity, Options::default())?;
    for sequence in 1..=ITEMS {
        let item = ItemRow {
            worker: 1,
            sequence,
            place: sequence,
            at: 0,
            role: "assistant".into(),
            cont: false,
            content: format!("{sequence} {}", "words and more words ".repeat(12)).into(),
        };
        journal.note([Record::Item(item)]);
    }
    journal.wait(journal.noted())?;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let page = journal.reader().search(1, "a needle", u64::MAX, 100)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        if !page.items.is_empty() {
            return Err("what is not there was found".into());
        }
    }
    bars.hold("ms to look through a transcript of 16 MiB", &took, 100.0);
    Ok(())
}

fn fill(folder: &Path) -> Result<(), Box<dyn Error>> {
    let identity = Identity { runtime_id: "bench".parse()?, display_name: None, incarnation: "0".repeat(32) };
    let (journal, _) = Journal::open(folder, &identity, Options::default())?;
    for no in 1..=WORKERS {
        let place = u64::try_from(no)?;
        let worker = WorkerRow {
            no,
            worker_id: format!("worker-{no}").parse()?,
            status: WorkerStatus::Stopped,
            request: r#"{"intent":{"kind":"task","objective":"o"},"profile":{"kind":"runtime_default"}}"#
                .into(),
            name: None,
            labels: [("a".to_owned(), "b".to_owned())].into(),
            created_at: no,
            started_at: Some(no),
            ended_at: Some(no),
            stopping: None,
            ended_by: Some(place),
            end: serde_json::from_str(r#"{"reason":"exited","exit_code":0}"#)?,
            agent: None,
        };
        let payload = Payload::Json(r#"{"event":"status","data":{"status":"idle"}}"#.into());
        let event = EventRow { worker: no, place, at: no, output: false, payload };
        let item = ItemRow {
            worker: no,
            sequence: 1,
            place,
            at: no,
            role: "system".into(),
            cont: false,
            content: "exited with status 0".into(),
        };
        journal.note([Record::Worker(Box::new(worker)), Record::Event(event), Record::Item(item)]);
    }
    journal.finish()?;
    Ok(())
}
