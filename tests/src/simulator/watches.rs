//! The loop around watches, as `sekisho_core::watch` wants it.

use sekisho_core::cursor::UpstreamCursor;
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::transport::{AttemptId, Loss, REPORT_GRACE};
use sekisho_core::watch::{
    LONGEST_BACKOFF, MAX_STALLS, OnExpiredCursor, PING_EVERY, PONG_WITHIN, Watch, WatchEvent, WatchInput,
    WatchOutput, WatchWait,
};

use super::clock::{Time, time};
use super::exchanges::{Asker, Reported};
use super::invariants::Invariant;
use super::ledger::At;
use super::links::Wire;
use super::planted::Planted;
use super::world::{Event, World};

/// The most that a watch may say after one input, or at its time.
const MAX_OUTPUTS: usize = 7;

/// How long a driver oversleeps that does.
const OVERSLEPT: Time = Time::from_secs(70);

/// A watch and its driver.
pub(super) struct WatchRun {
    watch: Watch,
    pub(super) gateway: usize,
    of_loop: usize,
    pub(super) runtime: usize,
    pub(super) worker: usize,
    /// Whose it is.
    stream: usize,
    pub(super) conn: Option<usize>,
    /// Names the wake-up that still counts.
    wake: u64,
    /// What it waits for, until when.
    waits: Option<(Time, WatchWait)>,
    /// When something good was last heard, or a viewer began to listen.
    good_at: Time,
    /// Where the last event that it passed on stands.
    at: Option<At>,
    connects: u32,
    /// How often streams that had begun well ended with a fault since the last event.
    stalls: u32,
    begun: bool,
    /// Whether it was given a reason to give its place up.
    pub(super) excused: bool,
    over: bool,
}

/// What a watch came to.
pub(super) enum Advance {
    Event(WatchEvent),
    Waiting,
    Stopped(Result<(), Error>),
}

impl World<'_> {
    /// A watch of a worker, from `place` or, without one, from a snapshot.
    pub(super) fn watch(
        &mut self,
        (gateway, of_loop): (usize, usize),
        (runtime, worker): (usize, usize),
        place: Option<UpstreamCursor>,
        on_expired_cursor: OnExpiredCursor,
        stream: usize,
    ) -> Result<usize, Error> {
        let (now, worker_ref) = (self.instant(), self.worker_ref(runtime, worker));
        let machine = &self.sites[runtime].machine;
        let at = place.as_ref().and_then(|place| machine.locate(worker, place.as_str()));
        let registry = &mut self.gateways[gateway].loops[of_loop];
        let watch = registry.watch(now, &worker_ref, place, on_expired_cursor)?;
        self.watches.push(WatchRun {
            watch,
            gateway,
            of_loop,
            runtime,
            worker,
            stream,
            conn: None,
            wake: 0,
            waits: None,
            good_at: self.now(),
            at,
            connects: 0,
            stalls: 0,
            begun: false,
            excused: false,
            over: false,
        });
        Ok(self.watches.len() - 1)
    }

    pub(super) fn wake_watch(&mut self, number: usize, wake: u64) {
        let run = &self.watches[number];
        if run.wake == wake && !run.over {
            let WatchRun { gateway, of_loop, runtime, .. } = *run;
            self.refresh_token(gateway, of_loop, runtime);
            self.drive_watch(number);
        }
    }

    /// Something became of the question who is there.
    pub(super) fn report_to_watch(&mut self, number: usize, id: AttemptId, result: Reported) {
        if self.watches[number].over {
            return;
        }
        let now = self.instant();
        let input = WatchInput::report(id, result);
        let runtime = self.watches[number].runtime;
        self.log(|| format!("{input:?} from {runtime}"));
        self.watches[number].watch.handle(now, input);
        self.drive_watch(number);
    }

    /// Something has arrived for a watch.
    pub(super) fn watch_has_input(&mut self, number: usize) {
        if !self.watches[number].over {
            self.drive_watch(number);
        }
    }

    fn drive_watch(&mut self, number: usize) {
        self.drive_stream(self.watches[number].stream);
    }

    /// Obeys a watch until it has an event, waits or has stopped.
    pub(super) fn advance(&mut self, number: usize) -> Advance {
        let mut said = 0;
        if self.watches[number]
            .waits
            .is_some_and(|(until, why)| why == WatchWait::Pong && until <= self.now())
        {
            self.census.count("watch", "pong late");
        }
        while said <= MAX_OUTPUTS && self.violation.is_none() {
            said += 1;
            let now = self.instant();
            match self.watches[number].watch.poll(now) {
                WatchOutput::Send(attempt) => {
                    self.log(|| format!("{attempt:?}"));
                    self.census.count("watch", "asked who is there");
                    let WatchRun { gateway, runtime, .. } = self.watches[number];
                    self.send(Asker::Watch(number), gateway, runtime, attempt);
                }
                WatchOutput::Connect(connect) => {
                    self.log(|| format!("{connect:?}"));
                    self.watches[number].connects += 1;
                    self.watches[number].begun = false;
                    self.connect(number, connect);
                }
                WatchOutput::Ping(_) => self.ping(number),
                WatchOutput::Close(_) => self.hang_up(number),
                WatchOutput::RefreshCredential => {
                    self.census.count("watch", "credential read anew");
                    let run = &mut self.watches[number];
                    let token = self.sites[run.runtime].credential();
                    run.watch.handle(now, WatchInput::Credential(token));
                }
                WatchOutput::Event(event) => {
                    self.hear_event(number, &event);
                    return Advance::Event(event);
                }
                WatchOutput::Stopped(result) => {
                    self.note(format_args!(
                        "watch {number} stops: {:?}",
                        result.as_ref().map_err(Error::kind)
                    ));
                    self.census.count("watch", "ended");
                    self.hang_up(number);
                    self.watches[number].over = true;
                    if let Err(error) = &result {
                        let error = error.clone();
                        self.log(|| format!("{error:?}"));
                        self.check_stop(number, &error);
                    }
                    return Advance::Stopped(result);
                }
                WatchOutput::Wait { until, why } => {
                    let until = time(until);
                    if until <= self.now() {
                        self.violate(Invariant::NoPastDeadline, || format!("a watch waits for {why:?}"));
                    }
                    self.check_progress(number);
                    if self.hear(number) {
                        said = 0;
                        continue;
                    }
                    let late = if self.is_planted(Planted::OversleepsWatch) { OVERSLEPT } else { Time::ZERO };
                    let run = &mut self.watches[number];
                    run.waits = Some((until, why));
                    run.wake += 1;
                    self.clock.at(until + late, Event::WakeWatch(number, run.wake));
                    return Advance::Waiting;
                }
            }
        }
        if self.violation.is_none() {
            self.violate(Invariant::Bounded, || "a watch goes on and on".to_owned());
        }
        Advance::Waiting
    }

    /// The caller begins to listen to a watch now.
    pub(super) fn begin_to_listen(&mut self, number: usize) {
        self.watches[number].good_at = self.now();
    }

    /// Lets a watch hear the next thing that has arrived. Whether there was any.
    fn hear(&mut self, number: usize) -> bool {
        let now = self.instant();
        let Some(conn) = self.watches[number].conn else { return false };
        let Some(wire) = self.conns[conn].inbox.pop_front() else { return false };
        let id = self.conns[conn].id;
        // There is room again for what the runtime could not write.
        self.pump(conn);
        let (moment, runtime) = (self.now(), self.watches[number].runtime);
        let deaf = self.is_planted(Planted::DeafAfterReconnect) && self.watches[number].connects > 1;
        let run = &mut self.watches[number];
        let input = match wire {
            Wire::Opened => WatchInput::Opened(id),
            Wire::Frame(text) => {
                run.good_at = moment;
                match text.starts_with(br#"{"kind":"diagnostic""#) {
                    true => run.stalls += u32::from(run.begun),
                    // The first frame of a connection, a snapshot, is heard in any case.
                    false if deaf && run.begun => return true,
                    false => run.begun = true,
                }
                WatchInput::Frame(id, text)
            }
            Wire::Pong => {
                run.good_at = moment;
                WatchInput::Pong(id)
            }
            Wire::Refused(response) => {
                self.census.count("watch", "refused");
                WatchInput::Refused(id, response)
            }
            Wire::Lost(loss) => {
                // Where the runtime does not tell the truth anything is a reason.
                self.watches[number].excused |= loss == Loss::TooLarge;
                WatchInput::Lost(id, loss)
            }
        };
        if matches!(input, WatchInput::Refused(..) | WatchInput::Lost(..)) {
            self.hang_up(number);
        }
        self.log(|| format!("{input:?} from {runtime}"));
        self.watches[number].watch.handle(now, input);
        true
    }

    /// Something comes on a connection that was let go: it must not matter.
    pub(super) fn hear_stale(&mut self, number: usize, conn: usize, wire: Wire) {
        let (now, id) = (self.instant(), self.conns[conn].id);
        if self.watches[number].over {
            return;
        }
        let input = match wire {
            Wire::Frame(text) => WatchInput::Frame(id, text),
            Wire::Pong => WatchInput::Pong(id),
            Wire::Lost(loss) => WatchInput::Lost(id, loss),
            Wire::Opened => WatchInput::Opened(id),
            Wire::Refused(response) => WatchInput::Refused(id, response),
        };
        self.census.count("watch", "stale input");
        self.watches[number].watch.handle(now, input);
    }

    fn hear_event(&mut self, number: usize, event: &WatchEvent) {
        self.note(format_args!("watch {number} says {event:?}"));
        let run = &mut self.watches[number];
        let (runtime, worker) = (run.runtime, run.worker);
        match event {
            WatchEvent::Snapshot(observed) | WatchEvent::Event(observed) => {
                run.stalls = 0;
                run.excused = false;
                let at = self.sites[runtime].machine.locate(worker, observed.upstream_cursor.as_str());
                self.watches[number].at = at;
            }
            WatchEvent::Disconnected { .. } => self.census.count("watch", "disconnected"),
            WatchEvent::Resumed { .. } => self.census.count("watch", "resumed"),
            WatchEvent::Resynchronized => {
                self.census.count("watch", "resynchronized");
                if !self.has_lost_its_place(number) {
                    self.violate(Invariant::ResynchronizedBeforeJump, || {
                        "what is said to be lost can be replayed".to_owned()
                    });
                }
            }
            _ => {}
        }
    }

    /// On which loop of which gateway a watch is, and of which runtime.
    pub(super) fn place_of(&self, number: usize) -> ((usize, usize), usize) {
        let run = &self.watches[number];
        ((run.gateway, run.of_loop), run.runtime)
    }

    /// The watches that are not over, and whose they are.
    pub(super) fn open_watches(&self) -> impl Iterator<Item = (usize, usize)> {
        let open = self.watches.iter().enumerate().filter(|(_, run)| !run.over);
        open.map(|(number, run)| (number, run.stream))
    }

    /// Whether a watch may say so: the runtime no longer has the place, or ends every stream from there.
    fn has_lost_its_place(&mut self, number: usize) -> bool {
        let WatchRun { runtime, worker, at, stalls, excused, .. } = self.watches[number];
        let site = &self.sites[runtime];
        if !site.plan.kind.is_honest() || excused {
            return true;
        }
        if stalls >= MAX_STALLS {
            self.census.count("watch", "place given up");
            return true;
        }
        at.is_none_or(|at| !site.machine.has(worker, at))
    }

    fn check_stop(&mut self, number: usize, error: &Error) {
        let WatchRun { runtime, worker, .. } = self.watches[number];
        let site = &self.sites[runtime];
        let is_a_lie = match error.kind() {
            ErrorKind::CursorExpired => !self.has_lost_its_place(number),
            ErrorKind::WorkerNotFound if site.plan.kind.is_honest() => {
                !site.lacked && site.machine.head(worker).is_some()
            }
            ErrorKind::Internal => true,
            _ => false,
        };
        if is_a_lie {
            self.violate(Invariant::TypedEnd, || format!("{error} is not true"));
        }
    }

    /// A stream that is neither good nor tried again in vain for too long is one that is not looked after.
    fn check_progress(&mut self, number: usize) {
        let run = &self.watches[number];
        let limits = self.sites[run.runtime].plan.limits();
        let give_up_after = Time::from_millis(self.sites[run.runtime].plan.give_up_after);
        let connect = limits.connect + limits.response * 2 + REPORT_GRACE;
        let bound = PING_EVERY + PONG_WITHIN + give_up_after + connect + LONGEST_BACKOFF;
        let waited = self.now() - run.good_at;
        if waited > bound {
            self.violate(Invariant::WatchProgresses, || format!("nothing good for {waited:?}"));
        }
    }

    /// Lets go of a watch that no viewer wants any more.
    pub(super) fn drop_watch(&mut self, number: usize) {
        self.hang_up(number);
        self.watches[number].over = true;
    }

    /// Ends a watch in good order.
    pub(super) fn stop_watch(&mut self, number: usize) {
        let now = self.instant();
        self.watches[number].watch.handle(now, WatchInput::Stop);
        while !self.watches[number].over && self.violation.is_none() {
            if let Advance::Stopped(Err(error)) = self.advance(number) {
                self.violate(Invariant::WatchProgresses, || format!("told to stop, it ended with {error}"));
            }
        }
    }
}
