//! The network that carries commands: what becomes of an attempt, and what an honest transport says of it.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::runtime_api::{Ack, Command, Fault, FaultCode, InputAck, Reply, WireRef, WorkerStatus};
use sekisho_core::secret::Token;
use sekisho_core::transport::{Attempt, AttemptId, Failure, FailureCause};

use super::clock::{Time, time};
use super::hostile::{Answer, unprefixed};
use super::invariants::Invariant;
use super::plan::Weather;
use super::planted::Planted;
use super::scripted::empty;
use super::world::{Event, Site, World};

/// A request on its way to a runtime.
pub(super) struct Parcel {
    call: usize,
    id: AttemptId,
    runtime: usize,
    request: Request<Bytes>,
    fate: Fate,
    /// When the transport stops waiting for the head of the response, and for its body.
    respond_by: Time,
    read_by: Time,
}

/// What becomes of the response to a request that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Comes,
    /// The transport has given up, or nobody ever asks it.
    Unheard,
    Fails(FailureCause),
    /// A proxy that lost the runtime half-way answers instead.
    Replaced(u16),
    Drips,
}

/// What a transport says of an attempt.
pub(super) enum Report {
    Response(AttemptId, Response<Bytes>),
    Failed(AttemptId, Failure),
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

    /// The weather of this very moment.
    pub(super) fn weather_now(&mut self) -> Weather {
        match self.weather {
            Weather::Changeable => self.chance.pick(&CHANGEABLE),
            weather => weather,
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
    /// Carries out one attempt.
    pub(super) fn send(&mut self, call: usize, gateway: usize, runtime: usize, attempt: Attempt) {
        let Attempt { id, target, request, limits, .. } = attempt;
        self.note(format_args!("call {call} sends {id:?} to {runtime}"));
        let misdirected = self.is_planted(Planted::Misdirects);
        let runtime = if misdirected { (runtime + 1) % self.sites.len() } else { runtime };
        if !self.sites[runtime].plan.kind.is_remote() {
            if target != sekisho_core::transport::Target::InProcess {
                self.violate(Invariant::CredentialStaysHome, || {
                    "to a runtime in the same process".to_owned()
                });
                return;
            }
            let response = self.sites[runtime].machine.handle(&request, &mut self.ledger);
            self.pump_all(runtime);
            if let Answer::Response(response) = response {
                let report = Box::new(Report::Response(id, response));
                self.clock.at(self.now(), Event::Report(call, report));
            }
            return;
        }
        if !self.sites[runtime].secrets.is_at(&target) {
            self.violate(Invariant::CredentialStaysHome, || format!("to runtime {runtime}"));
            return;
        }

        let now = self.now();
        let deadline = time(limits.deadline);
        let weather = self.sites[runtime].weather_now();
        let fail = |cause, sent| Box::new(Report::Failed(id, Failure { cause, sent }));
        let pooled = self.pooled(gateway, runtime, limits.max_idle);
        let mut connected = now;
        match pooled {
            Pooled::Good => {}
            Pooled::Closing => {
                // The other side closed it just now: whether it read the request nobody knows, and it did not.
                self.census.count("call", "pooled connection lost");
                let at = now + self.delay(runtime);
                let report = fail(FailureCause::Network(NetworkPhase::Receive), true);
                self.clock.at(at, Event::Report(call, report));
                return;
            }
            Pooled::None => {
                let connect_by = deadline.min(now + limits.connect);
                let unsent = |cause| fail(cause, false);
                let network = FailureCause::Network;
                let refused = match weather {
                    Weather::Down => Some(network(NetworkPhase::Connect)),
                    Weather::Unresolved => Some(network(NetworkPhase::Resolve)),
                    Weather::Untrusted => Some(network(NetworkPhase::Tls)),
                    _ => None,
                };
                connected = now + self.delay(runtime) * 2;
                if let Some(cause) = refused {
                    self.census.count("network", "refused");
                    self.clock.at(connected.min(connect_by), Event::Report(call, unsent(cause)));
                    return;
                }
                if weather == Weather::Partition || connected >= connect_by {
                    self.census.count("network", "partitioned");
                    let report = unsent(FailureCause::Timeout(TimeoutPhase::Connect));
                    self.clock.at(connect_by, Event::Report(call, report));
                    return;
                }
            }
        }
        let respond_by = deadline.min(connected + limits.response);
        let read_by = deadline.min(respond_by + limits.body);
        let arrives = connected + self.delay(runtime);
        let mut fate = Fate::Comes;
        let timeout = fail(FailureCause::Timeout(TimeoutPhase::Response), true);
        let mut arrives_at_all = true;
        match weather {
            Weather::Partition | Weather::Down | Weather::Unresolved | Weather::Untrusted => {
                // On a pooled connection, into a void.
                self.clock.at(respond_by, Event::Report(call, timeout));
                arrives_at_all = false;
            }
            Weather::LosesRequests => {
                self.census.count("network", "request lost");
                let phase = self.sites[runtime].chance.pick(&[NetworkPhase::Send, NetworkPhase::Receive]);
                let report = fail(FailureCause::Network(phase), true);
                self.clock.at(arrives, Event::Report(call, report));
                arrives_at_all = false;
            }
            Weather::Proxy(status) => {
                self.census.count("network", "proxy");
                let report = Box::new(Report::Response(id, of_proxy(status)));
                self.clock.at(arrives, Event::Report(call, report));
                arrives_at_all = false;
            }
            Weather::Stall => {
                self.census.count("network", "stalled");
                self.clock.at(respond_by, Event::Report(call, timeout));
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
                self.clock.at(now, Event::Report(call, Box::new(Report::Response(id, response))));
            }
            return;
        }
        let parcel = Parcel { call, id, runtime, request, fate, respond_by, read_by };
        if weather == Weather::Stall {
            self.sites[runtime].stalled.push_back(parcel);
            return;
        }
        if self.is_planted(Planted::SendsTwice) {
            let again = Parcel { request: parcel.request.clone(), fate: Fate::Unheard, ..parcel };
            self.clock.at(arrives, Event::Arrive(Box::new(again)));
        }
        self.clock.at(arrives, Event::Arrive(Box::new(parcel)));
    }

    /// A request reaches the runtime: from here on it may take effect.
    pub(super) fn arrive(&mut self, parcel: Parcel) {
        let Parcel { call, id, runtime, request, fate, respond_by, read_by } = parcel;
        let request = self.sites[runtime].behind_proxy(request);
        let site = &mut self.sites[runtime];
        let answer = match site.plan.kind.is_honest() && !site.admits(&request) {
            true => Answer::Response(unauthorized()),
            false => site.machine.handle(&request, &mut self.ledger),
        };
        self.pump_all(runtime);
        let mut back = self.now() + self.delay(runtime);
        if self.is_planted(Planted::LeaksByTiming) {
            let length = self.sites[runtime].secrets.token(0).map_or(0, str::len);
            back += Time::from_millis(length as u64);
        }
        let failed = |cause| {
            let sent = self.options.planted != Some(Planted::FalselyUnsent);
            Report::Failed(id, Failure { cause, sent })
        };
        let late = |phase| (respond_by, Report::Failed(id, Failure::sent(FailureCause::Timeout(phase))));
        let (at, report) = match (fate, answer) {
            (Fate::Unheard, _) => return,
            (Fate::Fails(cause), _) | (_, Answer::Failure(cause)) => (back, failed(cause)),
            (_, Answer::Silence) => late(TimeoutPhase::Response),
            (Fate::Drips, _) => {
                (read_by, Report::Failed(id, Failure::sent(FailureCause::Timeout(TimeoutPhase::Body))))
            }
            (Fate::Replaced(status), _) => (back, Report::Response(id, of_proxy(status))),
            (Fate::Comes, Answer::Response(response)) => (back, Report::Response(id, response)),
        };
        let (at, report) =
            if at > respond_by && fate != Fate::Drips { late(TimeoutPhase::Response) } else { (at, report) };
        self.clock.at(at, Event::Report(call, Box::new(report)));
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
                if self.sites[runtime].chance.below(4) > 0 {
                    self.census.count("network", "arrived after the stall");
                    let at = self.now() + self.delay(runtime);
                    self.clock.at(at, Event::Arrive(Box::new(parcel)));
                }
            }
        }
        self.hold_streams(runtime, matches!(weather, Weather::Partition | Weather::Stall));
    }

    /// Whether there is a connection left from before.
    fn pooled(&mut self, gateway: usize, runtime: usize, max_idle: Time) -> Pooled {
        let now = self.now();
        let way = &mut self.gateways[gateway].ways[runtime];
        let Some((since, losses)) = way.pooled.take_if(|(since, _)| now - *since <= max_idle) else {
            return Pooled::None;
        };
        let site = &mut self.sites[runtime];
        match losses == site.losses {
            true => Pooled::Good,
            // What was closed long ago has been noticed.
            false if now - since < Time::from_secs(2) && site.chance.one_in(2) => Pooled::Closing,
            false => Pooled::None,
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
enum Pooled {
    None,
    Good,
    /// The other side is closing it just now.
    Closing,
}
