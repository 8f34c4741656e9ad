//! The runtimes that there are, behind one face.

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::transport::Loss;

use super::clock::Time;
use super::embedded::Embedded;
use super::hostile::{Answer, Hostile, Utterance};
use super::ledger::{At, Ledger};
use super::scripted::{self, Scripted};

/// A runtime.
pub(super) enum Machine {
    Scripted(Box<Scripted>),
    Embedded(Box<Embedded>),
    Hostile(Box<Hostile>),
}

/// What a stream of a runtime says next.
pub(super) enum Said {
    Frame(Bytes),
    /// It is over: as deployed runtimes end it, or as none should.
    Over(Loss),
}

impl Machine {
    pub(super) fn handle(&mut self, request: &Request<Bytes>, now: Time, ledger: &mut Ledger) -> Answer {
        match self {
            Self::Scripted(runtime) => Answer::Response(runtime.handle(request, ledger)),
            Self::Embedded(runtime) => runtime.handle(request, now, ledger),
            Self::Hostile(runtime) => runtime.handle(request),
        }
    }

    #[expect(clippy::result_large_err, reason = "a response is what it is, and is moved once")]
    pub(super) fn observe(&mut self, request: &Request<()>, worker: usize) -> Result<u32, Response<Bytes>> {
        match self {
            Self::Scripted(runtime) => runtime.observe(request),
            Self::Embedded(runtime) => runtime.observe(request),
            Self::Hostile(runtime) => runtime.observe(request, worker),
        }
    }

    /// The next thing that a stream says, if there is one yet.
    pub(super) fn read(&mut self, subscription: u32) -> Option<Said> {
        match self {
            Self::Scripted(runtime) => match runtime.read(subscription) {
                Some(frame) => Some(Said::Frame(frame)),
                None => runtime.has_ended(subscription).then_some(Said::Over(Loss::Ended)),
            },
            Self::Embedded(runtime) => {
                Some(runtime.read(subscription)?.map_or(Said::Over(Loss::Ended), Said::Frame))
            }
            Self::Hostile(runtime) => Some(match runtime.read(subscription)? {
                Utterance::Frame(frame) => Said::Frame(frame),
                Utterance::Lost(loss) => Said::Over(loss),
            }),
        }
    }

    pub(super) fn unsubscribe(&mut self, subscription: u32) {
        match self {
            Self::Scripted(runtime) => runtime.unsubscribe(subscription),
            Self::Embedded(runtime) => runtime.unsubscribe(subscription),
            Self::Hostile(runtime) => runtime.unsubscribe(subscription),
        }
    }

    /// The runtime ends a stream for a reason of its own, where it does such a thing.
    pub(super) fn end_stream(&mut self, subscription: u32, code: &str) {
        if let Self::Scripted(runtime) = self {
            runtime.end_stream(subscription, code);
        }
    }

    pub(super) fn publish(&mut self, worker: usize, number: u32, size: usize, now: Time) {
        let text = format!("{number} {}", "x".repeat(size));
        match self {
            Self::Scripted(runtime) => runtime.publish(worker, "text_delta", &text),
            Self::Embedded(runtime) => runtime.publish(worker, &text, now),
            Self::Hostile(runtime) => runtime.publish(worker),
        }
    }

    /// What was to be kept and is not.
    pub(super) fn restart(
        &mut self,
        keeps_state: bool,
        recreates: bool,
        now: Time,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        match self {
            Self::Scripted(runtime) => runtime.restart(keeps_state, recreates, ledger),
            Self::Embedded(runtime) if keeps_state => return runtime.crash(now, ledger),
            Self::Embedded(runtime) => runtime.restart(recreates, now, ledger),
            Self::Hostile(_) => {}
        }
        Ok(())
    }

    /// Does something that only a runtime with a disk can be told.
    pub(super) fn with_disk<T>(&mut self, act: impl FnOnce(&mut Embedded) -> T) -> Option<T> {
        match self {
            Self::Embedded(runtime) => Some(act(runtime)),
            Self::Scripted(_) | Self::Hostile(_) => None,
        }
    }

    /// Does something that only a scripted runtime can be told.
    pub(super) fn script(&mut self, act: impl FnOnce(&mut Scripted)) {
        if let Self::Scripted(runtime) = self {
            act(runtime);
        }
    }

    /// Every gateway knows the runtime's tokens with these numbers.
    pub(super) fn set_known_tokens(&mut self, numbers: Vec<usize>) {
        if let Self::Hostile(runtime) = self {
            runtime.set_known(numbers);
        }
    }

    // ---- The truth.

    /// Where a worker is, if it is there.
    pub(super) fn head(&self, worker: usize) -> Option<At> {
        match self {
            Self::Scripted(runtime) => runtime.head(worker),
            Self::Embedded(runtime) => runtime.head(worker),
            Self::Hostile(_) => None,
        }
    }

    /// Whether everything after a place can still be replayed.
    pub(super) fn has(&self, worker: usize, at: At) -> bool {
        match self {
            Self::Scripted(runtime) => runtime.has(worker, at),
            Self::Embedded(runtime) => runtime.has(worker, at),
            Self::Hostile(_) => false,
        }
    }

    /// Whether one place is right behind another.
    pub(super) fn follows(&self, worker: usize, from: At, to: At) -> bool {
        match self {
            Self::Embedded(runtime) => runtime.follows(worker, from, to),
            Self::Scripted(_) | Self::Hostile(_) => to == At { index: from.index + 1, ..from },
        }
    }

    /// The place that a runtime's own cursor stands for.
    pub(super) fn locate(&self, worker: usize, cursor: &str) -> Option<At> {
        match self {
            Self::Scripted(_) => scripted::place(cursor).filter(|(of, _)| *of == worker).map(|(_, at)| at),
            Self::Embedded(runtime) => runtime.locate(worker, cursor),
            Self::Hostile(_) => None,
        }
    }

    /// What an event was about, in the runtime's own words.
    pub(super) fn payload(&self, worker: usize, at: At) -> Option<Bytes> {
        match self {
            Self::Scripted(runtime) => runtime.payload(worker, at),
            Self::Embedded(runtime) => runtime.payload(worker, at),
            Self::Hostile(_) => None,
        }
    }

    /// What a snapshot of a place says, where that is known.
    pub(super) fn snapshot(&self, worker: usize, at: At) -> Option<Bytes> {
        match self {
            Self::Scripted(_) => Some(scripted::snapshot_payload(at).into()),
            Self::Embedded(runtime) => runtime.snapshot(worker, at),
            Self::Hostile(_) => None,
        }
    }
}
