//! The loop around calls, as `sekisho_core::call` and `sekisho_core::browser_api` want it.

use std::sync::Arc;

use sekisho_core::browser_api::{Action, Exchange, MAX_EQUAL_READS, Now, Read, Turn, problem};
use sekisho_core::call::{Call, CallInput, CallOutput, MAX_ATTEMPTS};
use sekisho_core::error::Error;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::OVERVIEW_TIMEOUT;
use sekisho_core::runtime_api::Reply;
use sekisho_core::transport::{AttemptId, REPORT_GRACE};

use super::clients::Told;
use super::clock::{Time, instant, time, wall};
use super::exchanges::{Asker, Reported};
use super::invariants::Invariant;
use super::ledger::CommandId;
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

/// What one or several clients ask for, until they have been answered.
pub(super) struct Asking {
    pub(super) commands: Vec<CommandId>,
    pub(super) gateway: usize,
    of_loop: usize,
    /// The read that it is, which others may wait for the end of.
    read: Option<Arc<Read>>,
    began: Time,
    exchange: Exchange,
    ends: Vec<Option<Result<Reply, Error>>>,
}

/// A client's read that waits for an exchange.
#[derive(Clone, Copy)]
pub(super) struct Waiter {
    command: CommandId,
    of_loop: usize,
}

impl World<'_> {
    /// Performs what a client asked for.
    pub(super) fn perform(&mut self, gateway: usize, of_loop: usize, command: usize, action: Action) {
        if self.is_planted(Planted::ProbesWithRequests) {
            self.probe(gateway, of_loop);
        }
        let of = (gateway, of_loop);
        match Read::of(action) {
            Err(action) => self.begin_asking(of, vec![command], None, action),
            Ok(read) if self.joins_under_way(gateway, &read, command) => {}
            Ok(read) => match self.gateways[gateway].reads.ask(read, || (Waiter { command, of_loop }, ())) {
                Turn::Begins(read) => {
                    let action = read.action().clone();
                    self.begin_asking(of, vec![command], Some(read), action);
                }
                Turn::Waits(()) => self.census.count("command", "waited for an exchange of equal reads"),
            },
        }
    }

    /// Whether a read is told what was asked before it came, where that fault is planted.
    fn joins_under_way(&mut self, gateway: usize, read: &Read, command: CommandId) -> bool {
        let is_equal =
            |asking: &&mut Asking| asking.gateway == gateway && asking.read.as_deref() == Some(read);
        let is_planted = self.is_planted(Planted::JoinsUnderWay);
        let equal = self.askings.iter_mut().flatten().find(is_equal).filter(|_| is_planted);
        equal.map(|asking| asking.commands.push(command)).is_some()
    }

    /// Begins to ask what these clients want.
    fn begin_asking(
        &mut self,
        (gateway, of_loop): (usize, usize),
        commands: Vec<CommandId>,
        read: Option<Arc<Read>>,
        action: Action,
    ) {
        if let Some(read) = &read {
            let is_equal = |asking: &&Asking| asking.gateway == gateway && asking.read.as_ref() == Some(read);
            if self.askings.iter().flatten().filter(is_equal).count() >= MAX_EQUAL_READS {
                self.violate(Invariant::Bounded, || "too many equal reads are under way".to_owned());
            }
        }
        let is_overview = !matches!(action, Action::Command { .. });
        let (now, began) = (self.instant(), self.now());
        let registry = &mut self.gateways[gateway].loops[of_loop];
        let (exchange, calls) = Exchange::begin(registry, &AllowAll, now, false, action);
        let ends = calls.iter().map(|_| None).collect();
        let asking = self.askings.len();
        self.askings.push(Some(Asking { commands, gateway, of_loop, read, began, exchange, ends }));
        let first = self.calls.len();
        for (slot, call) in calls.into_iter().enumerate() {
            self.begin_call((gateway, of_loop), call, Some((asking, slot)), is_overview);
        }
        for call in first..self.calls.len() {
            self.drive_call(call);
        }
        self.answer_if_done(asking);
    }

    /// Lets those have their exchange who waited for the end of another.
    fn begin_next(&mut self, gateway: usize, read: &Arc<Read>) {
        if self.is_planted(Planted::ForgetsWaiters) {
            return;
        }
        let Self { gateways, commands, .. } = self;
        let is_there = |waiter: &Waiter| commands[waiter.command].waits();
        let Some(waiters) = gateways[gateway].reads.ended(read, is_there) else { return };
        self.census.count("command", "asked for equal reads at once");
        let of_loop = waiters[0].of_loop;
        let commands = waiters.iter().map(|waiter| waiter.command).collect();
        self.begin_asking((gateway, of_loop), commands, Some(read.clone()), read.action().clone());
    }

    /// A client no longer waits for what it asked.
    pub(super) fn leave_asking(&mut self, command: CommandId) {
        if !self.commands[command].waits() {
            return;
        }
        self.abandon(command);
        let alone = |asking: &Option<Asking>| asking.as_ref().is_some_and(|it| it.commands == [command]);
        let Some(number) = self.askings.iter().position(alone) else { return };
        let Some(Asking { gateway, read: Some(read), .. }) = self.askings[number].take() else { return };
        for call in 0..self.calls.len() {
            let of_it = |run: &mut CallRun| run.asking.is_some_and(|(asking, _)| asking == number);
            if let Some(run) = self.calls[call].take_if(of_it) {
                self.gateways[gateway].ways[run.runtime].in_flight -= 1;
            }
        }
        self.begin_next(gateway, &read);
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
        let waits = |command: &CommandId| self.commands[*command].waits();
        let there: Vec<_> = asking.commands.into_iter().filter(waits).collect();
        for command in there {
            if asking.began < self.commands[command].at {
                self.violate(Invariant::Fresh, || format!("command {command} is older than its answer"));
            }
            self.show_response(command, &response);
        }
        if let Some(read) = asking.read {
            self.begin_next(asking.gateway, &read);
        }
    }

    /// Checks that nobody waits for ever.
    pub(super) fn check_answered(&mut self) {
        if let Some(command) = self.commands.iter().position(Told::waits) {
            self.violate(Invariant::CallEnds, || format!("command {command} is not answered"));
        }
    }

    /// Drops all calls of a gateway: those who asked hear nothing more.
    pub(super) fn drop_calls(&mut self, gateway: usize) {
        let gone = |run: &mut CallRun| run.gateway == gateway;
        self.calls.iter_mut().for_each(|run| drop(run.take_if(gone)));
        let gone = |asking: &mut Asking| asking.gateway == gateway;
        self.askings.iter_mut().for_each(|asking| drop(asking.take_if(gone)));
        for command in 0..self.commands.len() {
            if self.commands[command].gateway == gateway && self.commands[command].waits() {
                self.abandon(command);
            }
        }
    }
}
