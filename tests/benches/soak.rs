//! What strangers, slow readers, old cursors, big lists, floods and kills cost a client that does nothing of the kind, and
//! whether anything of them is left behind.
//!
//! `cargo bench -p sekisho-tests --bench soak -- --minutes 10`; two minutes without the argument. The healthy client is
//! measured alone first, then beside all the others, who come and go until the time is over.

mod figures;
#[allow(dead_code, reason = "other benchmarks ask for more")]
mod gateway;
#[allow(dead_code, reason = "other benchmarks ask for more")]
mod load;
#[allow(dead_code, reason = "other benchmarks ask for more")]
mod usage;

use std::error::Error;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use figures::{Bars, percentile};
use load::Load;
use sekisho_tests::client::request;
use sekisho_tests::processes::Process;
use sekisho_tests::viewer::{Seen, Viewer};

/// How long everything goes on where nothing else is asked for.
const MINUTES: u64 = 2;

/// How long the healthy client is measured alone.
const ALONE: Duration = Duration::from_secs(20);

/// How often what is in use is printed.
const SAMPLE: Duration = Duration::from_secs(10);

/// How long it takes until what was opened for the others has been let go of: streams outlive their viewers.
const SETTLES: Duration = Duration::from_secs(45);

/// How many connections strangers hold, without a whole request.
const STRANGERS: usize = 300;

/// How many viewers do not read.
const SLOW_READERS: usize = 32;

/// How many workers there are, and how long the objective of each is.
const WORKERS: usize = 200;
const OBJECTIVE: usize = 60_000;

/// How many clients ask as fast as they are answered, but for this pause.
const FLOODERS: usize = 16;
const FLOOD_PAUSE: Duration = Duration::from_millis(10);

/// What the healthy client waits between its commands.
const PAUSE: Duration = Duration::from_millis(2);

/// How much longer its commands may take beside the others, and by how much more memory there may be in the end than
/// after half of the time.
const SLOWER: f64 = 2.0;
const GROWTH: f64 = 1.15;

/// A runtime of sekisho's own, on a socket where it can be started again.
struct Runtime<'a> {
    name: &'static str,
    directory: &'a Path,
    process: Process,
}

impl<'a> Runtime<'a> {
    fn start(name: &'static str, directory: &'a Path) -> Result<Self, Box<dyn Error>> {
        let process = Self::process(name, directory)?;
        Ok(Self { name, directory, process })
    }

    fn process(name: &str, directory: &Path) -> Result<Process, Box<dyn Error>> {
        let runtime = gateway::build("sekisho-runtime")?;
        let listen = format!("unix:{}", directory.join(name).display());
        // A line a tenth of a second, so that there are events to be behind with.
        let chatter = r#"chatter=sh -c 'i=0; while sleep 0.1; do i=$((i+1)); echo "line $i"; done'"#;
        let mut command = Command::new(runtime);
        command.args([
            "--runtime-id",
            name,
            "--listen",
            &listen,
            "--profile",
            "quiet=cat",
            "--profile",
            chatter,
        ]);
        command.arg("--store").arg(directory.join(format!("{name}-store")));
        Ok(Process::start_anywhere(&mut command))
    }

    fn kill_and_start(&mut self) -> Result<(), Box<dyn Error>> {
        self.process.signal("KILL");
        self.process.ended();
        self.process = Self::process(self.name, self.directory)?;
        Ok(())
    }

    fn remote(&self) -> String {
        let path = self.directory.join(self.name);
        format!("[[remote]]\nruntime_id = '{}'\nbase_url = 'unix://{}'\n", self.name, path.display())
    }
}

/// Makes a worker; its id.
fn create(
    gateway: SocketAddr,
    runtime: &str,
    profile: &str,
    objective: &str,
) -> Result<String, Box<dyn Error>> {
    let body = serde_json::json!({
        "intent": { "kind": "task", "objective": objective },
        "profile": { "kind": "named", "value": profile },
    });
    let path = format!("/api/runtimes/{runtime}/workers");
    let made = request(gateway, "POST", &path, Some(&body.to_string()));
    match made.json()["worker"]["worker_id"].as_str() {
        Some(worker_id) => Ok(worker_id.to_owned()),
        None => Err(format!("no worker: {made:?}").into()),
    }
}

/// What is in use.
struct Sample {
    gateway: f64,
    runtime: f64,
    kernel: f64,
    descriptors: usize,
    threads: usize,
}

impl Sample {
    fn take(gateway: u32, runtime: u32) -> Result<Self, Box<dyn Error>> {
        let count = |what| Ok::<_, std::io::Error>(fs::read_dir(format!("/proc/{gateway}/{what}"))?.count());
        Ok(Self {
            gateway: usage::memory(gateway)? / 1024.0,
            runtime: usage::memory(runtime)? / 1024.0,
            kernel: kernel_memory()?,
            descriptors: count("fd")?,
            threads: count("task")?,
        })
    }

    fn print(&self, what: &str) {
        let Self { gateway, runtime, kernel, descriptors, threads } = self;
        println!("{what:<22} {gateway:>9.1} {runtime:>9.1} {kernel:>9.1} {descriptors:>12} {threads:>8}",);
    }
}

/// What the kernel holds for the TCP connections of the whole machine, in MiB.
fn kernel_memory() -> Result<f64, Box<dyn Error>> {
    const PAGE: f64 = 4096.0;
    let told = fs::read_to_string("/proc/net/sockstat")?;
    let pages = told.lines().find_map(|line| line.strip_prefix("TCP:")?.split(" mem ").nth(1)?.parse().ok());
    let pages: f64 = pages.ok_or("the system does not tell what it holds for connections")?;
    Ok(pages * PAGE / f64::from(1 << 20))
}

/// Those who do what the healthy client does not.
struct Others<'a> {
    gateway: SocketAddr,
    chatter: &'a str,
    stop: &'a AtomicBool,
    answers: [AtomicUsize; 3],
}

impl Others<'_> {
    /// Does something again and again, until the time is over.
    fn again(&self, pause: Duration, mut act: impl FnMut()) {
        while !self.stop.load(Ordering::Relaxed) {
            act();
            thread::sleep(pause);
        }
    }

    /// Connections that say nothing, or half a head, some of which are made anew each time.
    fn strangers(&self) {
        let mut held = std::collections::VecDeque::new();
        self.again(Duration::from_millis(20), || {
            if let Ok(mut stream) = TcpStream::connect(self.gateway) {
                if held.len() % 2 == 0 {
                    let _ = stream.write_all(b"GET /api/runtimes HTTP/1.1\r\nhost: ");
                }
                held.push_back(stream);
            }
            if held.len() > STRANGERS {
                held.pop_front();
            }
        });
    }

    /// Viewers that ask for a stream and read none of it.
    fn slow_readers(&self) {
        let mut held = std::collections::VecDeque::new();
        let path = format!("/api/runtimes/{}/events/ws", self.chatter.replacen('/', "/workers/", 1));
        self.again(Duration::from_millis(200), || {
            if let Ok(mut stream) = TcpStream::connect(self.gateway) {
                let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                               sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
                let host = self.gateway;
                let _ = write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\n{upgrade}\r\n\r\n");
                held.push_back(stream);
            }
            if held.len() > SLOW_READERS {
                held.pop_front();
            }
        });
    }

    /// Viewers that come with a cursor from long ago.
    fn old_cursors(&self) {
        let mut cursor = None;
        self.again(Duration::from_millis(500), || {
            let mut viewer = Viewer::open(self.gateway, self.chatter, cursor.as_deref());
            loop {
                match viewer.see() {
                    Seen::Closed(_) => {
                        cursor = None;
                        break;
                    }
                    Seen::Diagnostic(code) if code == "caught_up" => break,
                    _ => {}
                }
            }
            if cursor.is_none() {
                cursor = viewer.cursor;
            }
            self.answers[0].fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Lists of all workers, with long texts in each.
    fn lists(&self) {
        self.again(Duration::from_millis(100), || {
            if request(self.gateway, "GET", "/api/workers", None).status == 200 {
                self.answers[1].fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Bodies and heads over the bounds, and what is no request.
    fn nonsense(&self) {
        let large = "x".repeat(3 << 20);
        let path = "/api/runtimes/rt/workers/w/input";
        self.again(Duration::from_millis(200), || {
            let status = request(self.gateway, "POST", path, Some(&large)).status;
            let head = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
            let refused = sekisho_tests::client::raw(self.gateway, head.as_bytes()).status;
            if (status, refused) == (413, 431) {
                self.answers[2].fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// More requests than a client has any reason for.
    fn flood(&self, time: Duration) {
        let path = "/api/runtimes/rt".to_owned();
        let (connections, pause) = (FLOODERS, FLOOD_PAUSE);
        let load =
            Load { address: self.gateway, paths: vec![path], connections, pause, requests: usize::MAX, time };
        if let Err(error) = load.run() {
            println!("the flood ended: {error}");
        }
    }

    /// A runtime that is killed and comes back, and workers that come and go.
    fn kills(&self, mortal: &mut Runtime<'_>) {
        self.again(Duration::from_secs(5), || {
            if let Err(error) = mortal.kill_and_start() {
                println!("the runtime does not come back: {error}");
            }
            if let Ok(worker_id) = create(self.gateway, "rt", "quiet", "short") {
                let path = format!("/api/runtimes/rt/workers/{worker_id}/cancel");
                request(self.gateway, "POST", &path, Some("{}"));
            }
        });
    }
}

/// A configuration that is reloaded again and again, with one more runtime each second time.
fn reloads(others: &Others<'_>, server: &Process, directory: &Path, remotes: &str) {
    let guest = "[[remote]]\nruntime_id = 'guest'\nbase_url = 'http://127.0.0.1:9'\n";
    let mut is_there = false;
    others.again(Duration::from_secs(3), || {
        is_there = !is_there;
        let remotes = format!("{remotes}{}", if is_there { guest } else { "" });
        match gateway::configure(directory, &remotes) {
            Ok(_) => server.signal("HUP"),
            Err(error) => println!("no configuration: {error}"),
        }
    });
}

/// How long the healthy client's commands take, in µs.
fn healthy(gateway: SocketAddr, worker: &str, time: Duration) -> Result<Vec<f64>, Box<dyn Error>> {
    let path = format!("/api/runtimes/rt/workers/{worker}");
    let load = Load {
        address: gateway,
        paths: vec![path],
        connections: 1,
        pause: PAUSE,
        requests: usize::MAX,
        time,
    };
    let outcome = load.run()?;
    match outcome.refused {
        0 => Ok(outcome.latencies),
        refused => Err(format!("{refused} commands of the healthy client failed").into()),
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut bars) = Bars::of_this_run() else { return Ok(ExitCode::SUCCESS) };
    let mut arguments = std::env::args().skip_while(|argument| argument != "--minutes").skip(1);
    let minutes = arguments.next().map_or(Ok(MINUTES), |minutes| minutes.parse())?;
    let time = Duration::from_secs(60 * minutes);
    let directory = tempfile::tempdir()?;
    let steady = Runtime::start("rt", directory.path())?;
    let mut mortal = Runtime::start("mortal", directory.path())?;
    let remotes = [steady.remote(), mortal.remote()].concat();
    let server = gateway::start(directory.path(), &remotes)?;
    let gateway = server.address();
    let worker = create(gateway, "rt", "quiet", "short")?;
    let chatter = format!("rt/{}", create(gateway, "rt", "chatter", "short")?);
    let objective = "x".repeat(OBJECTIVE);
    for _ in 0..WORKERS {
        let worker_id = create(gateway, "rt", "quiet", &objective)?;
        let path = format!("/api/runtimes/rt/workers/{worker_id}/cancel");
        request(gateway, "POST", &path, Some("{}"));
    }
    let take = || Sample::take(server.id(), steady.process.id());

    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>12} {:>8}",
        "", "gateway", "runtime", "kernel", "descriptors", "threads"
    );
    let alone = healthy(gateway, &worker, ALONE)?;
    let before = take()?;
    before.print("alone (MiB)");

    let stop = AtomicBool::new(false);
    let others = Others { gateway, chatter: &chatter, stop: &stop, answers: Default::default() };
    let (beside, samples) = thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let acts =
            [Others::strangers, Others::slow_readers, Others::old_cursors, Others::lists, Others::nonsense];
        for act in acts {
            let others = &others;
            scope.spawn(move || act(others));
        }
        scope.spawn(|| others.flood(time));
        scope.spawn(|| others.kills(&mut mortal));
        scope.spawn(|| reloads(&others, &server, directory.path(), &remotes));
        let measured = scope.spawn(|| healthy(gateway, &worker, time).map_err(|error| error.to_string()));
        let (began, mut samples) = (Instant::now(), Vec::new());
        while began.elapsed() < time {
            thread::sleep(SAMPLE.min(time.saturating_sub(began.elapsed())));
            let sample = take()?;
            sample.print(&format!("after {} s", began.elapsed().as_secs()));
            samples.push(sample);
        }
        stop.store(true, Ordering::Relaxed);
        let measured = measured.join().map_err(|_| "the healthy client panicked")?;
        Ok((measured?, samples))
    })?;
    thread::sleep(SETTLES);
    let after = take()?;
    after.print("all others gone");

    let [replays, lists, refusals] = others.answers.each_ref().map(|count| count.load(Ordering::Relaxed));
    println!("{replays} old cursors, {lists} lists, {refusals} refusals");
    let p99 = |latencies: Vec<f64>| percentile(latencies, 0.99);
    let (alone, beside) = (p99(alone), p99(beside));
    println!("p99 of the healthy client: {alone:.0} µs alone, {beside:.0} µs beside all others");
    bars.hold("p99, beside all others / alone", &[beside / alone], SLOWER);
    if let (Some(warm), Some(last)) = (samples.get(samples.len() / 2), samples.last()) {
        bars.hold(
            "the gateway's memory, last / after half of the time",
            &[last.gateway / warm.gateway],
            GROWTH,
        );
    }
    bars.hold("descriptors left", &[after.descriptors as f64 - before.descriptors as f64], 8.0);
    bars.hold("threads left", &[after.threads as f64 - before.threads as f64], 0.0);
    Ok(bars.verdict())
}
