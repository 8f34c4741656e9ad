//! What core itself takes for a command, without any I/O: from the head of a request to what is to be sent, and
//! from what came back to the response.
//!
//! Nanoseconds are the machine's, and instructions the program's: they are the same whatever else the machine does. Beside
//! both stands their ratio to reading the same reply into a tree of JSON.

mod figures;
mod instructions;

use std::error::Error;
use std::hint::black_box;
use std::io;
use std::mem::forget;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use figures::Bars;
use http::request::Parts;
use http::{Request, Response};
use instructions::instructions_of;
use sekisho_core::browser_api::{AccessGuard, Action, Decision, Exchange, Now, Route};
use sekisho_core::call::{Call, CallInput, CallLimits, CallOutput};
use sekisho_core::error::{Error as CallError, ErrorKind};
use sekisho_core::id::RuntimeId;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::{Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::runtime_api::Command;
use sekisho_core::secret::Access;
use sekisho_core::transport::Attempt;

const DETAIL: &str = r#"{"worker":{"worker_ref":{"runtime_id":"rt","worker_id":"w"},"runtime_id":"rt","worker_id":"w","status":"running","intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"},"transcript_len":0,"last_event_id":2}}"#;

/// Of how many rounds the best one counts: whatever else the machine does only makes a round longer.
const ROUNDS: usize = 500;

/// How often a round does what it measures.
const TIMES: usize = 100;

/// What is to be found out of a row.
#[derive(Clone, Copy)]
enum Measure {
    /// The best round's nanoseconds for each time that something is done.
    Nanoseconds,
    /// Nothing: it is done so often, with something prepared [`COUNTED`] times whatever that is, for the instructions to
    /// be counted from outside.
    Run(usize),
}

/// How often something is done while its instructions are counted.
const COUNTED: usize = 2_000;

/// Does with `run` what is to be measured of what `prepare` made. What it takes to prepare is not counted, what it takes
/// to drop is.
fn measure<S, T, U>(
    measure: Measure,
    state: &mut S,
    prepare: impl Fn(&mut S) -> T,
    run: impl Fn(&mut S, T) -> U,
) -> f64 {
    let mut round = |prepared: usize, times: usize| {
        let mut prepared: Vec<T> = (0..prepared).map(|_| prepare(state)).collect();
        // What is not run is not dropped either.
        let rest = prepared.split_off(times);
        let started = Instant::now();
        for one in prepared {
            black_box(run(state, black_box(one)));
        }
        let elapsed = started.elapsed();
        forget(rest);
        elapsed
    };
    match measure {
        Measure::Run(times) => round(COUNTED, times).as_secs_f64(),
        Measure::Nanoseconds => {
            let best = (0..ROUNDS).map(|_| round(TIMES, TIMES)).min().unwrap_or(Duration::MAX);
            best.as_secs_f64() * 1e9 / TIMES as f64
        }
    }
}

/// All that a server has at hand when a request comes.
struct Server {
    guard: AccessGuard,
    registry: Registry,
    head: Parts,
    now: Now,
}

/// A call whose one attempt has been sent.
struct Sent {
    exchange: Exchange,
    call: Call,
    attempt: Attempt,
}

impl Server {
    fn new() -> Result<Self, Box<dyn Error>> {
        let specs = (0..32).map(|number| -> Result<RuntimeSpec, Box<dyn Error>> {
            let runtime_id = if number == 16 { "rt".to_owned() } else { format!("runtime-{number}") };
            Ok(RuntimeSpec {
                runtime_id: runtime_id.parse()?,
                display_name: None,
                kind: RuntimeKind::Remote,
                access: Access::remote(
                    "http://10.0.0.5:7700".parse()?,
                    "a-runtime-token-0123456789".parse().ok(),
                ),
                limits: CallLimits::default(),
                max_in_flight: usize::MAX,
                give_up_after: sekisho_core::watch::GIVE_UP_AFTER,
            })
        });
        let registry = Registry::new(specs.collect::<Result<_, _>>()?, 1)?;
        let request = Request::get("/api/runtimes/rt/workers/w")
            .header("host", "127.0.0.1:8787")
            .header("user-agent", "curl/8.0")
            .header("accept", "*/*");
        let (head, ()) = request.body(())?.into_parts();
        let guard = AccessGuard::new(Vec::new(), Vec::new(), None);
        Ok(Self { guard, registry, head, now: Now { instant: Instant::now(), wall: SystemTime::now() } })
    }

    /// A command, to the runtime of that id.
    fn command(&mut self) -> Result<(RuntimeId, Command), CallError> {
        match self.action()? {
            Action::Command { runtime_id, command } => Ok((runtime_id, command)),
            _ => Err(CallError::new(ErrorKind::Internal)),
        }
    }

    fn call(&mut self, asked: Result<(RuntimeId, Command), CallError>) -> Result<Call, CallError> {
        let (runtime_id, command) = asked?;
        self.registry.call(self.now.instant, &runtime_id, command, None)
    }

    fn action(&self) -> Result<Action, CallError> {
        Route::parse(&self.head)?.action(&Bytes::new())
    }

    fn send(&mut self, action: Action) -> Result<Sent, CallError> {
        let now = self.now.instant;
        let (exchange, mut calls) = Exchange::begin(&mut self.registry, &AllowAll, now, false, action);
        let internal = || CallError::new(ErrorKind::Internal);
        let mut call = calls.pop().ok_or_else(internal)?;
        match call.poll(now) {
            CallOutput::Send(attempt) => Ok(Sent { exchange, call, attempt }),
            _ => Err(internal()),
        }
    }

    fn answer(&mut self, sent: Sent, response: Response<Bytes>) -> Result<Response<Bytes>, CallError> {
        let Sent { exchange, mut call, attempt } = sent;
        call.handle(self.now.instant, CallInput::Response(attempt.id, response));
        let CallOutput::Done(end) = call.poll(self.now.instant) else {
            return Err(CallError::new(ErrorKind::Internal));
        };
        self.registry.finish(self.now.instant, call);
        exchange.response(&self.registry, &AllowAll, self.now, vec![end])
    }

    fn all(&mut self, response: Response<Bytes>) -> Result<Response<Bytes>, CallError> {
        let admission = self.guard.examine(&self.head);
        if !matches!(admission.decision, Decision::Admitted) {
            return Err(CallError::new(ErrorKind::HostNotAllowed));
        }
        let action = self.action()?;
        let sent = self.send(action)?;
        let mut response = self.answer(sent, response)?;
        admission.add_cors_headers(response.headers_mut());
        Ok(response)
    }
}

fn recorded() -> Response<Bytes> {
    Response::new(Bytes::from_static(DETAIL.as_bytes()))
}

/// What is measured, under its name.
type Row = (&'static str, fn(&mut Server, Measure) -> f64);

const ROWS: [Row; 7] = [
    ("the reply read into a tree of JSON", |_, how| {
        measure(how, &mut (), |()| (), |(), ()| serde_json::from_str::<serde_json::Value>(black_box(DETAIL)))
    }),
    ("AccessGuard::examine", |server, how| {
        measure(how, server, |_| (), |server, ()| server.guard.examine(black_box(&server.head)))
    }),
    ("Route::parse, Route::action", |server, how| measure(how, server, |_| (), |server, ()| server.action())),
    ("Registry::call", |server, how| measure(how, server, Server::command, Server::call)),
    ("Registry::call, the first Call::poll", |server, how| {
        let polled = |server: &mut Server, asked| {
            let now = server.now.instant;
            server.call(asked).map(|mut call| (call.poll(now), call))
        };
        measure(how, server, Server::command, polled)
    }),
    ("Call::handle to Exchange::response", |server, how| {
        measure(
            how,
            server,
            |server| (server.action().and_then(|action| server.send(action)), recorded()),
            |server, (sent, response)| sent.and_then(|sent| server.answer(sent, response)),
        )
    }),
    ("all together, access guard included", |server, how| {
        measure(how, server, |_| recorded(), |server, response| server.all(response))
    }),
];

/// The row that a routing decision is.
const DECISION: &str = "Registry::call";

/// The row that all others are compared with.
const TREE: usize = 0;

/// Asks this program for the work of one row alone.
const COUNT: &str = "--count";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut bars) = Bars::of_this_run() else { return Ok(ExitCode::SUCCESS) };
    let mut server = Server::new()?;
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == COUNT) {
        let number = |at: usize| arguments.get(at).and_then(|number| number.parse::<usize>().ok());
        let (row, times) = number(at + 1).zip(number(at + 2)).ok_or("which row, and how often?")?;
        ROWS.get(row).ok_or("there is no such row")?.1(&mut server, Measure::Run(times.min(COUNTED)));
        return Ok(ExitCode::SUCCESS);
    }
    // What fails fast would look good.
    let shown = server.all(recorded())?;
    if shown.status() != 200 {
        return Err(format!("{shown:?}").into());
    }
    let times = ROWS.map(|(_, row)| row(&mut server, Measure::Nanoseconds));
    let counts = (0..ROWS.len()).map(instructions).collect::<io::Result<Vec<_>>>()?;
    if counts.iter().any(Option::is_none) {
        println!("skipped: valgrind is not installed, so that no instructions are counted");
    }
    println!("\n{:<44} {:>8} {:>8} {:>14} {:>8}", "", "ns", "ratio", "instructions", "ratio");
    for (((name, _), time), count) in ROWS.iter().zip(times).zip(&counts) {
        print!("{name:<44} {time:>8.0} {:>8.2}", time / times[TREE]);
        match (count, counts[TREE]) {
            (Some(count), Some(tree)) => println!(" {count:>14.0} {:>8.2}", count / tree),
            _ => println!(" {:>14}", "-"),
        }
    }
    let all = ROWS.len() - 1;
    if let Some((all, tree)) = counts[all].zip(counts[TREE]) {
        bars.hold("instructions, all together / the tree", &[all / tree], 1.3);
    }
    let decided = ROWS.iter().zip(times).filter(|((name, _), _)| *name == DECISION);
    let decided: Vec<f64> = decided.map(|(_, nanoseconds)| nanoseconds / 1e3).collect();
    bars.hold("a routing decision (Registry::call), µs", &decided, 1.0);
    Ok(bars.verdict())
}

/// How many instructions a row takes each time.
fn instructions(row: usize) -> io::Result<Option<f64>> {
    let count = |times: usize| instructions_of(&["--bench", COUNT, &row.to_string(), &times.to_string()]);
    let (none, all) = (count(0)?, count(COUNTED)?);
    Ok(none.zip(all).map(|(none, all)| (all as f64 - none as f64) / COUNTED as f64))
}
