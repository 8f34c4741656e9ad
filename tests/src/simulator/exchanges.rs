//! The network that carries commands: what becomes of an attempt, and what an honest transport says of it.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::runtime_api::{Ack, Command, Fault, FaultCode, InputAck, Reply, WireRef, WorkerStatus};
use sekisho_core::secret::Token;
use sekisho_core::transport::{Attempt, AttemptId, Failure, FailureCause, MAX_IDLE_FOR_ONCE, Pooled, Via};

use super::chance::Chance;
use super::clock::{Time, time};
use super::hostile::{Answer, unprefixed};
use super::invariants::Invariant;
use super::plan::Weather;
use super::planted::Planted;
use super::scripted::empty;
use super::world::{Event, Site, World};

/// A request on its way to a runtime.
pub(super) struct Parcel {
    asker: Asker,
    id: AttemptId,
    /// Which gateway it is from, and to which runtime it is addressed.
    gateway: usize,
    runtime: usize,
    /// What carries it, and for what.
    connection: Pooled<Lead>,
    via: Via,
    request: Request<Bytes>,
    fate: Fate,
    /// When the transport stops waiting for the head of the response, and for its body.
    respond_by: Time,
    read_by: Time,
}

/// Who waits for an answer that comes when it is certain.
pub(super) enum Later {
    /// A caller in the same process.
    InProcess { asker: Asker, id: AttemptId },
    /// The other end of a connection.
    Parcel(Box<Parcel>),
}

/// What becomes of the response to a request that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Comes,
    /// The transport has given up, or is never asked.
    Unheard,
    Fails(FailureCause),
    /// A proxy that lost the runtime half-way answers instead.
    Replaced(u16),
    Drips,
}

/// Whose attempt it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    Call(usize),
    Watch(usize),
}

/// What became of an attempt.
pub(super) type Reported = Result<Response<Bytes>, Failure>;

/// What a transport says of an attempt.
pub(super) struct Report {
    asker: Asker,
    id: AttemptId,
    result: Reported,
    /// The connection that can carry another request, with the gateway and runtime whose it is.
    kept: Option<(usize, usize, Pooled<Lead>)>,
}

/// A connection: to which machine it leads, and how often that had lost its connections before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lead {
    pub(super) machine: usize,
    losses: u32,
}

/// The bad weather that changes.
const CHANGEABLE: [Weather; 12] = [
    Weather::Fair,
    Weather::Fair,
    Weather::Fair,
    Weather::Down,
    Weather::LosesRequests,
    Weather::LosesResponses,
    Weather::LosesResponses,
    Weather::Cuts,
    Weather::Proxy(503),
    Weather::Proxy(429),
    Weather::LateProxy(503),
    Weather::LateProxy(502),
];

impl Site {
    /// The runtime's token as its file has it now.
    pub(super) fn credential(&self) -> Option<Token> {
        self.secrets.token(self.written)?.parse().ok()
    }

    /// Whether a request shows the token that the runtime wants.
    pub(super) fn admits<B>(&self, request: &Request<B>) -> bool {
        let Some(wanted) = self.secrets.token(self.wanted) else { return true };
        let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        shown.and_then(|shown| shown.strip_prefix("Bearer ")) == Some(wanted)
    }

    /// A request as it reaches the runtime: without the path of the base URL, but where the runtime sees that, too.
    pub(super) fn behind_proxy<B: Clone>(&self, request: Request<B>) -> Request<B> {
        match self.plan.kind.is_honest() {
            true => unprefixed(&request, &self.secrets.prefix),
            false => request,
        }
    }
}

/// What a runtime says to those it does not know.
pub(super) fn unauthorized() -> Response<Bytes> {
    Fault::new(FaultCode::Unauthorized, "missing or invalid local Runtime bearer token").response()
}

/// What a proxy says for itself.
pub(super) fn of_proxy(status: u16) -> Response<Bytes> {
    let mut response = empty(StatusCode::from_u16(status).unwrap_or_default());
    *response.body_mut() = Bytes::from_static(b"<html>a proxy</html>");
    if matches!(status, 429 | 503) {
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
    }
    response
}

impl World<'_> {
    /// What happens by chance on the way from a gateway to a runtime.
    pub(super) fn chance(&mut self, gateway: usize, runtime: usize) -> &mut Chance {
        &mut self.gateways[gateway].ways[runtime].chance
    }

    /// The weather of this very moment.
    pub(super) fn weather_now(&mut self, gateway: usize, runtime: usize) -> Weather {
        match self.sites[runtime].weather {
            Weather::Changeable => self.chance(gateway, runtime).pick(&CHANGEABLE),
            weather => weather,
        }
    }

    /// Carries out one attempt.
    pub(super) fn send(&mut self, asker: Asker, gateway: usize, runtime: usize, attempt: Attempt) {
        let Attempt { id, target, request, via, limits, .. } = attempt;
        self.note(format_args!("{asker:?} sends {id:?} to {runtime}"));
        let misdirected = self.is_planted(Planted::Misdirects);
        let runtime = if misdirected { (runtime + 1) % self.sites.len() } else { runtime };
        let report = |result| Event::Report(Box::new(Report { asker, id, result, kept: None }));
        let fail = |cause, sent| report(Err(Failure { cause, sent }));
        if !self.sites[runtime].plan.kind.is_remote() {
            if target != sekisho_core::transport::Target::InProcess {
                self.violate(Invariant::CredentialStaysHome, || {
                    "to a runtime in the same process".to_owned()
                });
                return;
            }
            let now = self.now();
            let answer = self.sites[runtime].machine.handle(&request, now, &mut self.ledger);
            match answer {
                Answer::Response(response) => self.clock.at(now, report(Ok(response))),
                Answer::Later(number) => {
                    drop(self.later.insert((runtime, number), Later::InProcess { asker, id }));
                }
                Answer::Failure(_) | Answer::Silence => {}
            }
            self.pump_all(runtime);
            self.tend(runtime);
            return;
        }
        if !self.sites[runtime].secrets.is_at(&target) {
            self.violate(Invariant::CredentialStaysHome, || format!("to runtime {runtime}"));
            return;
        }

        let now = self.now();
        let deadline = time(limits.deadline);
        let weather = self.weather_now(gateway, runtime);
        let mut connected = now;
        let connection = match self.pooled(gateway, runtime, &via, limits.max_idle) {
            Found::Good(pooled) => pooled,
            Found::Closing => {
                // The other side closed it just now. Whether it read the request is unknown; it did not.
                self.census.count("call", "pooled connection lost");
                let at = now + self.delay(gateway, runtime);
                self.clock.at(at, fail(FailureCause::Network(NetworkPhase::Receive), true));
                return;
            }
            Found::None if !via.allows_new() && !self.is_planted(Planted::IgnoresIdentity) => {
                self.census.count("call", "not identified");
                self.clock.at(now, fail(FailureCause::NotIdentified, false));
                return;
            }
            Found::None => {
                let connect_by = deadline.min(now + limits.connect);
                let network = FailureCause::Network;
                let refused = match weather {
                    Weather::Down => Some(network(NetworkPhase::Connect)),
                    Weather::Unresolved => Some(network(NetworkPhase::Resolve)),
                    Weather::Untrusted => Some(network(NetworkPhase::Tls)),
                    _ => None,
                };
                connected = now + self.delay(gateway, runtime) * 2;
                if let Some(cause) = refused {
                    self.census.count("network", "refused");
                    self.clock.at(connected.min(connect_by), fail(cause, false));
                    return;
                }
                if weather == Weather::Partition || connected >= connect_by {
                    self.census.count("network", "partitioned");
                    self.clock.at(connect_by, fail(FailureCause::Timeout(TimeoutPhase::Connect), false));
                    return;
                }
                Pooled::new(self.lead(runtime))
            }
        };
        let respond_by = deadline.min(connected + limits.response);
        let read_by = deadline.min(respond_by + limits.body);
        let arrives = connected + self.delay(gateway, runtime);
        let mut fate = Fate::Comes;
        let timeout = fail(FailureCause::Timeout(TimeoutPhase::Response), true);
        let mut arrives_at_all = true;
        match weather {
            Weather::Partition | Weather::Down | Weather::Unresolved | Weather::Untrusted => {
                // On a pooled connection, into a void.
                self.clock.at(respond_by, timeout);
                arrives_at_all = false;
            }
            Weather::LosesRequests => {
                self.census.count("network", "request lost");
                let phase = self.chance(gateway, runtime).pick(&[NetworkPhase::Send, NetworkPhase::Receive]);
                self.clock.at(arrives, fail(FailureCause::Network(phase), true));
                arrives_at_all = false;
            }
            Weather::Proxy(status) => {
                self.census.count("network", "proxy");
                self.clock.at(arrives, report(Ok(of_proxy(status))));
                arrives_at_all = false;
            }
            Weather::Stall => {
                self.census.count("network", "stalled");
                self.clock.at(respond_by, timeout);
                fate = Fate::Unheard;
            }
            Weather::Hangs => {
                self.census.count("network", "hung");
                fate = Fate::Unheard;
            }
            Weather::LosesResponses => {
                self.census.count("network", "response lost");
                fate = Fate::Fails(FailureCause::Network(NetworkPhase::Receive));
            }
            Weather::Cuts => fate = Fate::Fails(FailureCause::CutShort),
            Weather::Garbles => fate = Fate::Fails(FailureCause::NotHttp),
            Weather::Floods => fate = Fate::Fails(FailureCause::TooLarge),
            Weather::Drips => fate = Fate::Drips,
            Weather::LateProxy(status) => fate = Fate::Replaced(status),
            Weather::Fair | Weather::Changeable => {}
        }
        if !arrives_at_all {
            if self.is_planted(Planted::MakesUpSuccess) && weather == Weather::LosesRequests {
                let response = self.made_up(runtime, &request);
                self.clock.at(now, report(Ok(response)));
            }
            return;
        }
        let parcel =
            Parcel { asker, id, gateway, runtime, connection, via, request, fate, respond_by, read_by };
        if weather == Weather::Stall {
            self.sites[runtime].stalled.push_back(parcel);
            return;
        }
        if self.is_planted(Planted::SendsTwice) {
            let connection = Pooled::new(parcel.connection.connection);
            let (request, via) = (parcel.request.clone(), Via::Any);
            let again = Parcel { request, via, connection, fate: Fate::Unheard, ..parcel };
            self.clock.at(arrives, Event::Arrive(Box::new(again)));
        }
        self.clock.at(arrives, Event::Arrive(Box::new(parcel)));
    }

    /// A request reaches the machine at the other end: from here on it may take effect.
    pub(super) fn arrive(&mut self, mut parcel: Parcel) {
        // What the path of the base URL is taken off by stands before whatever machine is there.
        let request = std::mem::take(&mut parcel.request);
        let request = self.sites[parcel.runtime].behind_proxy(request);
        let machine = parcel.connection.connection.machine;
        if machine != parcel.runtime {
            self.census.count("network", "asked another machine");
        }
        let now = self.now();
        let site = &mut self.sites[machine];
        let answer = match site.plan.kind.is_honest() && !site.admits(&request) {
            true => Answer::Response(unauthorized()),
            false => site.machine.handle(&request, now, &mut self.ledger),
        };
        match answer {
            Answer::Later(number) => {
                self.clock.at(parcel.respond_by, Event::Overdue { machine, number });
                self.later.insert((machine, number), Later::Parcel(Box::new(parcel)));
            }
            answer => self.answer(parcel, answer),
        }
        self.pump_all(machine);
        self.tend(machine);
    }

    /// A runtime answers what has arrived.
    pub(super) fn answer(&mut self, parcel: Parcel, answer: Answer) {
        let Parcel { asker, id, gateway, runtime, mut connection, via, fate, respond_by, read_by, .. } =
            parcel;
        let mut back = self.now() + self.delay(gateway, runtime);
        if self.is_planted(Planted::LeaksByTiming) {
            let length = self.sites[runtime].secrets.token(0).map_or(0, str::len);
            back += Time::from_millis(length as u64);
        }
        let failed = |cause| {
            let sent = self.options.planted != Some(Planted::FalselyUnsent);
            Err(Failure { cause, sent })
        };
        let late = |phase| (respond_by, Err(Failure::sent(FailureCause::Timeout(phase))));
        let (at, result) = match (fate, answer) {
            (Fate::Unheard, _) => return,
            (Fate::Fails(cause), _) | (_, Answer::Failure(cause)) => (back, failed(cause)),
            (_, Answer::Silence | Answer::Later(_)) => late(TimeoutPhase::Response),
            (Fate::Drips, _) => (read_by, Err(Failure::sent(FailureCause::Timeout(TimeoutPhase::Body)))),
            (Fate::Replaced(status), _) => (back, Ok(of_proxy(status))),
            (Fate::Comes, Answer::Response(response)) => (back, Ok(response)),
        };
        let (at, result) =
            if at > respond_by && fate != Fate::Drips { late(TimeoutPhase::Response) } else { (at, result) };
        connection.used_by(&via);
        let kept = result.is_ok().then_some((gateway, runtime, connection));
        self.clock.at(at, Event::Report(Box::new(Report { asker, id, result, kept })));
    }

    /// Who waits for an answer under a number is given it.
    pub(super) fn answer_later(&mut self, machine: usize, number: u64, answer: Answer) {
        match self.later.remove(&(machine, number)) {
            Some(Later::Parcel(parcel)) => self.answer(*parcel, answer),
            Some(Later::InProcess { asker, id }) => {
                let result = match answer {
                    Answer::Response(response) => Ok(response),
                    Answer::Failure(cause) => Err(Failure::sent(cause)),
                    Answer::Silence | Answer::Later(_) => return,
                };
                self.clock.at(self.now(), Event::Report(Box::new(Report { asker, id, result, kept: None })));
            }
            None => {}
        }
    }

    /// A transport has waited long enough for an answer, and lets go of it.
    pub(super) fn overdue(&mut self, machine: usize, number: u64) {
        if self.later.contains_key(&(machine, number)) {
            self.sites[machine].machine.with_disk(|it| it.abandon(number));
            self.answer_later(machine, number, Answer::Silence);
        }
    }

    /// A runtime's disk and writer go on, and whoever waits for them hears of it.
    pub(super) fn tend(&mut self, machine: usize) {
        let now = self.now();
        let Self { sites, ledger, census, .. } = self;
        let Some(tended) = sites[machine].machine.with_disk(|it| it.tend(now, ledger, census)) else {
            return;
        };
        if let Some(facts) = tended.broken {
            return self.violate(Invariant::Durable, || facts);
        }
        for (number, response) in tended.answered {
            self.answer_later(machine, number, Answer::Response(response));
        }
        self.pump_all(machine);
        self.sites[machine].wake += 1;
        if let Some(until) = tended.until {
            self.clock.at(until, Event::Disk { machine, wake: self.sites[machine].wake });
        }
    }

    /// A runtime is gone, and with it what it would have answered.
    pub(super) fn drop_later(&mut self, machine: usize) {
        let numbers: Vec<u64> =
            self.later.keys().filter(|(of, _)| *of == machine).map(|(_, number)| *number).collect();
        let lost = FailureCause::Network(NetworkPhase::Receive);
        for number in numbers {
            self.answer_later(machine, number, Answer::Failure(lost));
        }
    }

    /// A transport reports what became of an attempt.
    pub(super) fn report(&mut self, Report { asker, id, result, kept }: Report) {
        if let Some((gateway, runtime, connection)) = kept {
            let now = self.instant();
            self.gateways[gateway].ways[runtime].idle.keep(now, connection);
        }
        match asker {
            Asker::Call(call) => self.report_to_call(call, id, result),
            Asker::Watch(watch) => self.report_to_watch(watch, id, result),
        }
    }

    /// The weather to a runtime changes.
    pub(super) fn change_weather(&mut self, runtime: usize, weather: Weather) {
        let site = &mut self.sites[runtime];
        let before = std::mem::replace(&mut site.weather, weather);
        if weather == Weather::Down {
            site.losses += 1;
            self.break_streams(runtime, super::plan::Breakage::Abrupt);
        }
        if before == Weather::Stall {
            // What was stalled comes now, or never.
            let stalled = std::mem::take(&mut self.sites[runtime].stalled);
            for parcel in stalled {
                let gateway = parcel.gateway;
                if self.chance(gateway, runtime).below(4) > 0 {
                    self.census.count("network", "arrived after the stall");
                    let at = self.now() + self.delay(gateway, runtime);
                    self.clock.at(at, Event::Arrive(Box::new(parcel)));
                }
            }
        }
        self.hold_streams(runtime, matches!(weather, Weather::Partition | Weather::Stall));
    }

    /// A new connection to the base URL of a runtime.
    pub(super) fn lead(&self, runtime: usize) -> Lead {
        let machine = self.routes[runtime];
        Lead { machine, losses: self.sites[machine].losses }
    }

    /// A connection that is left from before.
    pub(super) fn pooled(&mut self, gateway: usize, runtime: usize, via: &Via, max_idle: Time) -> Found {
        let now = self.instant();
        loop {
            let idle = &mut self.gateways[gateway].ways[runtime].idle;
            let is_recent = |max_idle| max_idle <= MAX_IDLE_FOR_ONCE;
            let Some(pooled) = idle.take(now, via, max_idle) else { return Found::None };
            let lead = pooled.connection;
            if lead.losses == self.sites[lead.machine].losses {
                return Found::Good(pooled);
            }
            // What was closed long ago has been noticed.
            if is_recent(max_idle) && self.chance(gateway, runtime).one_in(2) {
                return Found::Closing;
            }
        }
    }

    fn made_up(&self, runtime: usize, request: &Request<Bytes>) -> Response<Bytes> {
        let site = &self.sites[runtime];
        let command = Command::from_request(&unprefixed(request, &site.secrets.prefix));
        let worker_ref = |worker_id: &dyn std::fmt::Display| WireRef {
            runtime_id: site.runtime_id.to_string(),
            worker_id: worker_id.to_string(),
        };
        match command {
            Ok(Command::Input { worker_id, .. }) => Reply::Input(InputAck {
                worker_ref: worker_ref(&worker_id),
                status: WorkerStatus::Running,
                transcript_sequence: 1,
                event_id: 1,
            }),
            Ok(Command::Stop { worker_id, .. } | Command::Cancel { worker_id, .. }) => Reply::Ack(Ack {
                worker_ref: worker_ref(&worker_id),
                status: WorkerStatus::Stopped,
                event_id: 1,
            }),
            _ => Reply::Workers(Vec::new().into()),
        }
        .response()
    }
}

/// What a transport finds in its pool.
pub(super) enum Found {
    None,
    Good(Pooled<Lead>),
    /// The other side is closing it just now.
    Closing,
}
