//! The loop around calls, as `sekisho_core::call` and `sekisho_core::browser_api` want it.

use sekisho_core::browser_api::{Action, Exchange, Now, problem};
use sekisho_core::call::{Call, CallInput, CallOutput, MAX_ATTEMPTS};
use sekisho_core::error::Error;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::OVERVIEW_TIMEOUT;
use sekisho_core::runtime_api::Reply;
use sekisho_core::transport::{AttemptId, REPORT_GRACE};

use super::clock::{Time, instant, time, wall};
use super::exchanges::{Asker, Reported};
use super::invariants::Invariant;
use super::planted::Planted;
use super::world::{Event, World};

/// The most that a call may say before it waits.
const MAX_OUTPUTS: usize = 4;

/// How long a driver oversleeps that does.
const OVERSLEPT: Time = Time::from_secs(40);

/// How far behind a clock is that is.
const BEHIND: Time = Time::from_millis(1500);

/// A call and its driver.
pub(super) struct CallRun {
    call: Call,
    gateway: usize,
    of_loop: usize,
    pub(super) runtime: usize,
    /// The client's request and its place there; none for a probe.
    asking: Option<(usize, usize)>,
    /// When it must have ended.
    end_by: Time,
    /// Names the wake-up that still counts.
    wake: u64,
    /// Whether the attempt under way has been reported.
    reported: bool,
    /// Whether its credential was refused, and another one read.
    refreshed: bool,
}

/// A client's request, until it has been answered.
pub(super) struct Asking {
    pub(super) command: usize,
    pub(super) gateway: usize,
    of_loop: usize,
    exchange: Exchange,
    ends: Vec<Option<Result<Reply, Error>>>,
}

impl World<'_> {
    /// Performs what a client asked for.
    pub(super) fn perform(&mut self, gateway: usize, of_loop: usize, command: usize, action: Action) {
        if self.is_planted(Planted::ProbesWithRequests) {
            self.probe(gateway, of_loop);
        }
        let is_overview = !matches!(action, Action::Command { .. });
        let now = self.instant();
        let registry = &mut self.gateways[gateway].loops[of_loop];
        let (exchange, calls) = Exchange::begin(registry, &AllowAll, now, false, action);
        let ends = calls.iter().map(|_| None).collect();
        let asking = self.askings.len();
        self.askings.push(Some(Asking { command, gateway, of_loop, exchange, ends }));
        let first = self.calls.len();
        for (slot, call) in calls.into_iter().enumerate() {
            self.begin_call((gateway, of_loop), call, Some((asking, slot)), is_overview);
        }
        for call in first..self.calls.len() {
            self.drive_call(call);
        }
        self.answer_if_done(asking);
    }

    /// The time has come to look which runtimes are back.
    pub(super) fn probe_all(&mut self) {
        if self.is_planted(Planted::ProbesWithRequests) {
            return;
        }
        for gateway in 0..self.gateways.len() {
            for of_loop in 0..self.gateways[gateway].loops.len() {
                self.probe(gateway, of_loop);
            }
        }
    }

    fn probe(&mut self, gateway: usize, of_loop: usize) {
        let now = self.instant();
        let first = self.calls.len();
        for probe in self.gateways[gateway].loops[of_loop].probes(now) {
            self.begin_call((gateway, of_loop), probe, None, true);
        }
        for call in first..self.calls.len() {
            self.drive_call(call);
        }
    }

    /// Takes a call up.
    fn begin_call(
        &mut self,
        (gateway, of_loop): (usize, usize),
        call: Call,
        asking: Option<(usize, usize)>,
        is_brief: bool,
    ) {
        let runtime = self.sites.iter().position(|site| site.runtime_id == *call.runtime_id());
        let runtime = runtime.unwrap_or_default();
        self.refresh_token(gateway, of_loop, runtime);
        let total = self.sites[runtime].plan.limits().total();
        let total = if is_brief { total.min(OVERVIEW_TIMEOUT) } else { total };
        let end_by = self.now() + total + REPORT_GRACE;
        self.calls.push(Some(CallRun {
            call,
            gateway,
            of_loop,
            runtime,
            asking,
            end_by,
            wake: 0,
            reported: true,
            refreshed: false,
        }));
        let under_way = &mut self.gateways[gateway].ways[runtime].in_flight;
        *under_way += 1 + usize::from(self.options.planted == Some(Planted::UnboundedCalls)) * 4;
        if *under_way > self.sites[runtime].plan.max_in_flight {
            self.violate(Invariant::Bounded, || "more calls are under way than may be".to_owned());
        }
    }

    pub(super) fn wake_call(&mut self, call: usize, wake: u64) {
        if self.calls[call].as_ref().is_some_and(|run| run.wake == wake) {
            self.drive_call(call);
        }
    }

    /// Something became of an attempt.
    pub(super) fn report_to_call(&mut self, call: usize, id: AttemptId, result: Reported) {
        let now = self.instant();
        let Some(run) = &mut self.calls[call] else {
            self.census.count("call", "late report");
            return;
        };
        run.reported = true;
        let input = CallInput::report(id, result);
        let logged = self.trace.logs().then(|| format!("{input:?} for {:?}", run.call));
        run.call.handle(now, input);
        self.log(|| logged.unwrap_or_default());
        self.drive_call(call);
    }

    /// Obeys a call until it waits or has ended.
    fn drive_call(&mut self, number: usize) {
        for _ in 0..MAX_OUTPUTS {
            let behind = if self.is_planted(Planted::SlowClock) { BEHIND } else { Time::ZERO };
            let now = instant(self.now().saturating_sub(behind));
            let Some(run) = &mut self.calls[number] else { return };
            match run.call.poll(now) {
                CallOutput::Send(attempt) => {
                    let (gateway, runtime, attempts) = (run.gateway, run.runtime, run.call.attempts());
                    run.reported = false;
                    self.census.count("call", "attempt");
                    if attempts > 1 {
                        self.census.count("call", "repetition");
                    }
                    if attempts > MAX_ATTEMPTS {
                        self.violate(Invariant::Bounded, || format!("{attempts} attempts"));
                    }
                    self.log(|| format!("{attempt:?}"));
                    if self.is_planted(Planted::LogsTarget) {
                        let host = attempt.request.headers().get("host").cloned();
                        self.log(|| format!("to {host:?}"));
                    }
                    self.send(Asker::Call(number), gateway, runtime, attempt);
                }
                CallOutput::RefreshCredential => {
                    let token = self.sites[run.runtime].credential();
                    self.census.count("call", "credential read anew");
                    run.refreshed = true;
                    run.call.handle(now, CallInput::Credential(token));
                }
                CallOutput::Wait { until, why } => {
                    run.wake += 1;
                    let (wake, until) = (run.wake, time(until));
                    if until <= self.now() {
                        self.violate(Invariant::NoPastDeadline, || format!("a call waits for {why:?}"));
                        return;
                    }
                    let late = if self.is_planted(Planted::OversleepsCall) { OVERSLEPT } else { Time::ZERO };
                    self.clock.at(until + late, Event::WakeCall(number, wake));
                    return;
                }
                CallOutput::Done(result) => return self.end_call(number, result),
            }
        }
        self.violate(Invariant::Bounded, || "a call goes on and on".to_owned());
    }

    fn end_call(&mut self, number: usize, mut result: Result<Reply, Error>) {
        let Some(run) = self.calls[number].take() else { return };
        let CallRun { call, gateway, of_loop, runtime, asking, end_by, reported, refreshed, .. } = run;
        if call.is_probe() {
            self.census.count("call", if result.is_ok() { "probe answered" } else { "probe failed" });
        }
        let now = self.now();
        self.note(format_args!("call {number} ends: {:?}", result.as_ref().map(|_| ()).map_err(Error::kind)));
        if now > end_by {
            self.violate(Invariant::CallEnds, || format!("a call ended {:?} late", now - end_by));
        }
        if refreshed && result.is_ok() {
            self.census.count("call", "credential accepted");
        }
        if !reported {
            self.census.count("call", "ended unreported");
        }
        if let Err(error) = &result {
            let error = error.clone();
            self.log(|| format!("{error:?} {error}"));
            if self.is_planted(Planted::DropsOutcome) {
                result = Err(Error::new(error.kind()));
            }
        }
        let change = self.gateways[gateway].loops[of_loop].finish(instant(now), call);
        self.tell(gateway, of_loop, change);
        self.gateways[gateway].ways[runtime].in_flight =
            self.gateways[gateway].ways[runtime].in_flight.saturating_sub(1);
        let Some((asking, slot)) = asking else { return };
        if let Some(asking) = &mut self.askings[asking] {
            asking.ends[slot] = Some(result);
        }
        self.answer_if_done(asking);
    }

    fn answer_if_done(&mut self, number: usize) {
        let is_done = |asking: &mut Asking| asking.ends.iter().all(Option::is_some);
        let Some(asking) = self.askings[number].take_if(is_done) else { return };
        let now = Now { instant: self.instant(), wall: wall(self.now()) };
        let registry = &self.gateways[asking.gateway].loops[asking.of_loop];
        let ends = asking.ends.into_iter().flatten().collect();
        let response = asking.exchange.response(registry, &AllowAll, now, ends).unwrap_or_else(|error| {
            assert_eq!(error.misuse(), None, "one result for each call");
            problem(&error)
        });
        self.show_response(asking.command, &response);
    }

    /// Drops all calls of a gateway: those who asked hear nothing more.
    pub(super) fn drop_calls(&mut self, gateway: usize) {
        let gone = |run: &mut CallRun| run.gateway == gateway;
        self.calls.iter_mut().for_each(|run| drop(run.take_if(gone)));
        for asking in 0..self.askings.len() {
            if let Some(asking) = self.askings[asking].take_if(|asking| asking.gateway == gateway) {
                self.abandon(asking.command);
            }
        }
    }
}
