//! The network that carries streams: within a connection everything comes in order, between connections nothing does.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::transport::{ConnId, Connect, FailureCause, Loss, MAX_IDLE_FOR_ONCE};

use super::clock::Time;
use super::exchanges::{Found, of_proxy, unauthorized};
use super::invariants::Invariant;
use super::machine::Said;
use super::plan::{Breakage, Weather};
use super::scripted::SUBSCRIBER_BUFFER;
use super::world::{Event, World};

/// One connection of a watch to its runtime.
pub(super) struct Conn {
    watch: usize,
    pub(super) id: ConnId,
    /// Whose base URL it goes to, and which machine is there.
    runtime: usize,
    machine: usize,
    worker: usize,
    subscription: Option<u32>,
    /// When the last thing on its way arrives: nothing overtakes it.
    free_at: Time,
    in_transit: usize,
    /// Nothing gets through for the time being; or never, without an error at either end.
    held: bool,
    broken: bool,
    waiting: VecDeque<Wire>,
    /// What has arrived and has not been read.
    pub(super) inbox: VecDeque<Wire>,
    /// What is on its way under another number is lost.
    epoch: u32,
    /// Whether the runtime still writes to it.
    served: bool,
    /// Whether the gateway has let go of it.
    dropped: bool,
}

/// What arrives at the gateway.
pub(super) enum Wire {
    Opened,
    Refused(Response<Bytes>),
    Frame(Bytes),
    Pong,
    Lost(Loss),
}

/// A connection that reaches the runtime.
pub(super) struct Dial {
    conn: usize,
    request: Request<()>,
    weather: Weather,
}

impl World<'_> {
    /// Opens a connection for a watch.
    pub(super) fn connect(&mut self, watch: usize, connect: Connect) {
        let (runtime, worker) = (self.watches[watch].runtime, self.watches[watch].worker);
        self.census.count("watch", "connect");
        let conn = self.conns.len();
        self.note(format_args!("watch {watch} connects to {runtime}: {conn}"));
        self.conns.push(Conn {
            watch,
            id: connect.id,
            runtime,
            machine: self.routes[runtime],
            worker,
            subscription: None,
            free_at: self.now(),
            in_transit: 0,
            held: false,
            broken: false,
            waiting: VecDeque::new(),
            inbox: VecDeque::new(),
            epoch: 0,
            served: true,
            dropped: false,
        });
        if self.watches[watch].conn.replace(conn).is_some() {
            self.violate(Invariant::Bounded, || "a watch has two connections".to_owned());
        }
        let Connect { target, request, via, limits, .. } = connect;
        if !self.sites[runtime].plan.kind.is_remote() {
            self.open(Dial { conn, request, weather: Weather::Fair });
            return;
        }
        if !self.sites[runtime].secrets.is_at(&target) {
            self.violate(Invariant::CredentialStaysHome, || format!("a stream of runtime {runtime}"));
            return;
        }
        let gateway = self.watches[watch].gateway;
        let weather = self.weather_now(gateway, runtime);
        let (mut connected, connect_by) =
            (self.now() + self.delay(gateway, runtime) * 2, self.now() + limits.connect);
        if !via.allows_new() {
            match self.pooled(gateway, runtime, &via, MAX_IDLE_FOR_ONCE) {
                Found::Good(pooled) => {
                    self.conns[conn].machine = pooled.connection.machine;
                    connected = self.now();
                }
                Found::Closing => {
                    let lost = Wire::Lost(Loss::Failed(FailureCause::Network(NetworkPhase::Receive)));
                    return self.arrive_at(connected, conn, lost);
                }
                Found::None => {
                    self.census.count("watch", "not identified");
                    let none = Wire::Lost(Loss::Failed(FailureCause::NotIdentified));
                    return self.arrive_at(self.now(), conn, none);
                }
            }
        }
        let network = FailureCause::Network;
        let unopened = match weather {
            Weather::Down => Some((connected, network(NetworkPhase::Connect))),
            Weather::Unresolved => Some((connected, network(NetworkPhase::Resolve))),
            Weather::Untrusted => Some((connected, network(NetworkPhase::Tls))),
            Weather::Partition => Some((connect_by, FailureCause::Timeout(TimeoutPhase::Connect))),
            Weather::LosesRequests => Some((connected, network(NetworkPhase::Receive))),
            Weather::Stall | Weather::Drips => {
                Some((connect_by + limits.response, FailureCause::Timeout(TimeoutPhase::Response)))
            }
            _ if connected >= connect_by => Some((connect_by, FailureCause::Timeout(TimeoutPhase::Connect))),
            _ => None,
        };
        if let Some((at, cause)) = unopened {
            self.arrive_at(at, conn, Wire::Lost(Loss::Failed(cause)));
        } else if weather != Weather::Hangs {
            let at = connected + self.delay(gateway, runtime);
            self.clock.at(at, Event::Dial(Box::new(Dial { conn, request, weather })));
        }
    }

    /// A connection reaches the runtime.
    pub(super) fn dial(&mut self, dial: Dial) {
        if !self.conns[dial.conn].dropped {
            self.open(dial);
        }
    }

    fn open(&mut self, Dial { conn, request, weather }: Dial) {
        let Conn { runtime, machine, worker, .. } = self.conns[conn];
        let request = self.sites[runtime].behind_proxy(request);
        let site = &mut self.sites[machine];
        let early = match weather {
            Weather::Proxy(status) | Weather::LateProxy(status) => Some(Wire::Refused(of_proxy(status))),
            Weather::LosesResponses => {
                Some(Wire::Lost(Loss::Failed(FailureCause::Network(NetworkPhase::Receive))))
            }
            Weather::Garbles => Some(Wire::Lost(Loss::Malformed)),
            Weather::Floods => Some(Wire::Lost(Loss::TooLarge)),
            _ if site.plan.kind.is_honest() && !site.admits(&request) => Some(Wire::Refused(unauthorized())),
            _ => None,
        };
        if let Some(wire) = early {
            if matches!(wire, Wire::Lost(Loss::TooLarge)) {
                let watch = self.conns[conn].watch;
                self.watches[watch].excused = true;
            }
            self.conns[conn].served = false;
            return self.convey(conn, wire);
        }
        match self.sites[machine].machine.observe(&request, worker) {
            Ok(subscription) => {
                self.conns[conn].subscription = Some(subscription);
                self.sites[machine].conns.push(conn);
                self.convey(conn, Wire::Opened);
                self.pump(conn);
            }
            Err(response) => {
                self.conns[conn].served = false;
                self.convey(conn, Wire::Refused(response));
            }
        }
    }

    /// Lets the streams of a runtime carry what it has to say.
    pub(super) fn pump_all(&mut self, runtime: usize) {
        let conns = self.sites[runtime].conns.clone();
        conns.into_iter().for_each(|conn| self.pump(conn));
    }

    /// Lets a stream carry what there is room for.
    pub(super) fn pump(&mut self, number: usize) {
        let Conn { machine, subscription: Some(subscription), .. } = self.conns[number] else { return };
        while self.conns[number].served {
            let conn = &self.conns[number];
            let unread = conn.in_transit + conn.waiting.len() + conn.inbox.len();
            let is_remote = self.sites[machine].plan.kind.is_remote();
            if unread >= SUBSCRIBER_BUFFER && is_remote && !self.overrun(number, subscription) {
                return;
            }
            match self.sites[machine].machine.read(subscription) {
                None => return,
                Some(Said::Frame(frame)) => self.convey(number, Wire::Frame(frame)),
                Some(Said::Over(loss)) => {
                    self.conns[number].served = false;
                    self.convey(number, Wire::Lost(loss));
                }
            }
        }
    }

    /// A subscriber does not read. Whether the runtime has something to say about that.
    fn overrun(&mut self, conn: usize, subscription: u32) -> bool {
        let Conn { machine, .. } = self.conns[conn];
        match &mut self.sites[machine].machine {
            super::machine::Machine::Scripted(runtime) => {
                self.census.count("runtime", "overran a subscriber");
                runtime.end_stream(subscription, "cursor_expired");
                true
            }
            // It keeps what was not read, and says it later.
            _ => false,
        }
    }

    /// Puts something on its way to the gateway.
    pub(super) fn convey(&mut self, number: usize, wire: Wire) {
        let runtime = self.conns[number].runtime;
        if self.conns[number].dropped || self.conns[number].broken {
            return;
        }
        if self.conns[number].held {
            self.conns[number].waiting.push_back(wire);
        } else if self.sites[runtime].plan.kind.is_remote() {
            let gateway = self.watches[self.conns[number].watch].gateway;
            let at = self.now() + self.delay(gateway, runtime);
            self.arrive_at(at, number, wire);
        } else {
            self.arrive_at(self.now(), number, wire);
        }
    }

    fn arrive_at(&mut self, at: Time, number: usize, wire: Wire) {
        let conn = &mut self.conns[number];
        conn.free_at = conn.free_at.max(at);
        conn.in_transit += 1;
        let epoch = conn.epoch;
        self.clock.at(conn.free_at, Event::Deliver { conn: number, epoch, wire });
    }

    /// Something arrives at the gateway.
    pub(super) fn deliver(&mut self, number: usize, epoch: u32, wire: Wire) {
        let conn = &mut self.conns[number];
        if epoch != conn.epoch {
            return;
        }
        conn.in_transit -= 1;
        let watch = conn.watch;
        if conn.dropped {
            // Some transports hand over even what comes on a connection that was let go.
            return self.hear_stale(watch, number, wire);
        }
        conn.inbox.push_back(wire);
        self.watch_has_input(watch);
        // There is room again for what the runtime could not write.
        self.pump(number);
    }

    /// The gateway sends a ping.
    pub(super) fn ping(&mut self, watch: usize) {
        self.census.count("watch", "ping");
        let Some(conn) = self.watches[watch].conn else { return };
        if self.conns[conn].served || !self.conns[conn].broken {
            self.convey(conn, Wire::Pong);
        }
    }

    /// The gateway lets go of a connection.
    pub(super) fn hang_up(&mut self, watch: usize) {
        let Some(number) = self.watches[watch].conn.take() else { return };
        let conn = &mut self.conns[number];
        conn.dropped = true;
        conn.served = false;
        conn.inbox.clear();
        conn.waiting.clear();
        let machine = conn.machine;
        if let Some(subscription) = conn.subscription.take() {
            self.sites[machine].machine.unsubscribe(subscription);
            self.sites[machine].conns.retain(|conn| *conn != number);
        }
    }

    /// All streams of a runtime break.
    pub(super) fn break_streams(&mut self, runtime: usize, how: Breakage) {
        for number in self.sites[runtime].conns.clone() {
            self.census.count("network", "stream broken");
            let loss = match how {
                Breakage::Garbled => Loss::Malformed,
                Breakage::TooLarge => Loss::TooLarge,
                _ => Loss::Ended,
            };
            if how == Breakage::TooLarge {
                let watch = self.conns[number].watch;
                self.watches[watch].excused = true;
            }
            let conn = &mut self.conns[number];
            conn.served = false;
            match how {
                Breakage::Silent => {
                    conn.broken = true;
                    conn.epoch += 1;
                    conn.in_transit = 0;
                }
                Breakage::Abrupt => {
                    conn.epoch += 1;
                    conn.in_transit = 0;
                    conn.waiting.clear();
                    conn.held = false;
                    self.convey(number, Wire::Lost(loss));
                }
                _ => self.convey(number, Wire::Lost(loss)),
            }
        }
    }

    /// The runtime ends its streams for a reason of its own.
    pub(super) fn end_streams(&mut self, runtime: usize, code: &str) {
        for number in self.sites[runtime].conns.clone() {
            if let Some(subscription) = self.conns[number].subscription {
                self.sites[runtime].machine.end_stream(subscription, code);
                self.pump(number);
            }
        }
    }

    /// Nothing gets through any more, or everything does again; but some connections do not survive it.
    pub(super) fn hold_streams(&mut self, runtime: usize, holds: bool) {
        for number in self.sites[runtime].conns.clone() {
            if holds != self.conns[number].held {
                if holds {
                    self.census.count("network", "stream held");
                    self.conns[number].held = true;
                } else if self.chance(self.watches[self.conns[number].watch].gateway, runtime).one_in(3) {
                    self.conns[number].held = false;
                    self.break_one(number);
                } else {
                    self.conns[number].held = false;
                    let waiting = std::mem::take(&mut self.conns[number].waiting);
                    waiting.into_iter().for_each(|wire| self.convey(number, wire));
                    self.pump(number);
                }
            }
        }
    }

    fn break_one(&mut self, number: usize) {
        let conn = &mut self.conns[number];
        conn.served = false;
        conn.epoch += 1;
        conn.in_transit = 0;
        conn.waiting.clear();
        self.convey(number, Wire::Lost(Loss::Ended));
    }
}
