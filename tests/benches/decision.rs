//! What core itself takes for a command, without any I/O: from the head of a request to what is to be sent, and
//! from what came back to the response.
//!
//! Nanoseconds are the machine's; beside them stands their ratio to reading the same reply into a tree of JSON.

mod figures;

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use figures::Bars;
use http::request::Parts;
use http::{Request, Response};
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

/// The best round's nanoseconds for each time that `run` is done with what `prepare` made. What it takes to
/// prepare is not counted, what it takes to drop is.
fn nanoseconds<S, T, U>(state: &mut S, prepare: impl Fn(&mut S) -> T, run: impl Fn(&mut S, T) -> U) -> f64 {
    let best = (0..ROUNDS)
        .map(|_| {
            let prepared: Vec<T> = (0..TIMES).map(|_| prepare(state)).collect();
            let started = Instant::now();
            for one in prepared {
                black_box(run(state, black_box(one)));
            }
            started.elapsed()
        })
        .min()
        .unwrap_or(Duration::MAX);
    best.as_secs_f64() * 1e9 / TIMES as f64
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

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut bars) = Bars::of_this_run() else { return Ok(ExitCode::SUCCESS) };
    let mut server = Server::new()?;
    // What fails fast would look good.
    let shown = server.all(recorded())?;
    if shown.status() != 200 {
        return Err(format!("{shown:?}").into());
    }
    let runtime_id: RuntimeId = "rt".parse()?;
    let command = Command::Worker("w".parse()?);
    let call =
        |server: &mut Server, command| server.registry.call(server.now.instant, &runtime_id, command, None);

    let tree =
        nanoseconds(&mut (), |()| (), |(), ()| serde_json::from_str::<serde_json::Value>(black_box(DETAIL)));
    let decided = nanoseconds(&mut server, |_| command.clone(), call);
    let rows = [
        ("the reply read into a tree of JSON", tree),
        (
            "AccessGuard::examine",
            nanoseconds(&mut server, |_| (), |server, ()| server.guard.examine(black_box(&server.head))),
        ),
        ("Route::parse, Route::action", nanoseconds(&mut server, |_| (), |server, ()| server.action())),
        ("Registry::call", decided),
        (
            "Registry::call, the first Call::poll",
            nanoseconds(
                &mut server,
                |_| command.clone(),
                |server, command| {
                    let now = server.now.instant;
                    call(server, command).map(|mut call| (call.poll(now), call))
                },
            ),
        ),
        (
            "Call::handle to Exchange::response",
            nanoseconds(
                &mut server,
                |server| (server.action().and_then(|action| server.send(action)), recorded()),
                |server, (sent, response)| sent.and_then(|sent| server.answer(sent, response)),
            ),
        ),
        (
            "all together, access guard included",
            nanoseconds(&mut server, |_| recorded(), |server, response| server.all(response)),
        ),
    ];
    println!("\n{:<44} {:>8} {:>10}", "", "ns", "ratio");
    for (name, figure) in rows {
        println!("{name:<44} {figure:>8.0} {:>10.2}", figure / tree);
    }
    bars.hold("a routing decision (Registry::call), µs", &[decided / 1e3], 1.0);
    Ok(bars.verdict())
}
