//! What the command line costs who types it: the time from start to end against curl on the same route, and its size.

mod figures;
mod gateway;

use std::error::Error;
use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use figures::{Bars, median};
use sekisho_tests::upstream::{Upstream, json};

const ROUNDS: usize = 5;

/// How often each command runs in a round, in turns with the other.
const RUNS: usize = 40;

/// How much longer than curl `sekisho runtimes --json` may take, in ms.
const SLOWER_BY: f64 = 10.0;

/// How large the binary may be, in MiB.
const SIZE: f64 = 8.0;

/// What the runtime says of itself.
const SUMMARY: &str = r#"{"runtime":{"runtime_id":"rt","display_name":null,"backend":"memory","status":"running","worker_count":0,"active_worker_count":0,"stopped_worker_count":0,"cancelled_worker_count":0,"diagnostic_count":0,"limits":{"max_transcript_projection_items":256,"max_event_batch_items":256}}}"#;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut bars) = Bars::of_this_run() else { return Ok(ExitCode::SUCCESS) };
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err("curl is not installed, and there is nothing else to compare with".into());
    }
    let directory = tempfile::tempdir()?;
    let runtime = Upstream::start(|_| json(200, SUMMARY));
    let gateway = gateway::start(directory.path(), &gateway::remote("rt", runtime.address()))?;
    let sekisho = gateway::build("sekisho")?;
    let server = format!("http://{}", gateway.address());

    let mut contestants = [Command::new(&sekisho), Command::new("curl")];
    contestants[0].args(["runtimes", "--json", "--server", &server]);
    contestants[1].args(["--silent", "--fail", &format!("{server}/api/runtimes")]);
    let mut slower = Vec::new();
    for _ in 0..ROUNDS {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            for (contestant, took) in contestants.iter_mut().zip(&mut took) {
                took.push(milliseconds(contestant)?);
            }
        }
        let [sekisho, curl] = took.map(median);
        println!("sekisho {sekisho:.2} ms, curl {curl:.2} ms");
        slower.push(sekisho - curl);
    }
    bars.hold("slower than curl by, in ms", &slower, SLOWER_BY);
    let size = fs::metadata(&sekisho)?.len() as f64 / f64::from(1 << 20);
    bars.hold("the release binary, in MiB", &[size], SIZE);
    Ok(bars.verdict())
}

fn milliseconds(command: &mut Command) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let output = command.stderr(Stdio::inherit()).output()?;
    let took = started.elapsed();
    match output.status.success() && output.stdout.starts_with(b"{\"items\"") {
        true => Ok(took.as_secs_f64() * 1000.0),
        false => Err("no answer from the gateway".into()),
    }
}
