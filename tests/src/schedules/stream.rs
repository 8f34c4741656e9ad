//! The loop around a shared stream of a schedule.

use std::time::Instant;

use sekisho_core::cursor::UpstreamCursor;
use sekisho_core::error::Error;
use sekisho_core::feed::FeedLimits;
use sekisho_core::registry::Registry;
use sekisho_core::viewer::{
    FeedUpdate, SharedStream, SharedStreamInput, SharedStreamOutput, SharedStreamWait,
};

use super::link::Link;
use super::runtime::Runtime;

/// A shared stream and its watch.
pub(super) struct StreamRun {
    pub(super) stream: SharedStream,
    link: Link,
    /// When it wants to be woken.
    wake: Option<Instant>,
    /// Whether its watch is not to be heard now.
    is_paced: bool,
    /// Whether it has said that it is over.
    pub(super) is_over: bool,
}

/// What a stream says before it waits.
#[derive(Default)]
pub(super) struct Told {
    /// The last place of what is new.
    pub(super) newest: Option<UpstreamCursor>,
    /// Why it has ended.
    pub(super) ended: Option<Error>,
}

impl StreamRun {
    pub(super) fn new(now: Instant, stream: SharedStream, registry: &mut Registry) -> Self {
        let watch = stream.watch(now, registry).unwrap();
        Self { stream, link: Link::new(now, watch), wake: None, is_paced: false, is_over: false }
    }

    /// When it has something to do by itself.
    pub(super) fn wakes(&self) -> impl Iterator<Item = Instant> {
        let link = (!self.is_paced && !self.is_over).then_some(self.link.until);
        link.into_iter().chain(self.wake.filter(|_| !self.is_over))
    }

    /// Obeys the stream until it waits or is over.
    pub(super) fn drive(&mut self, now: Instant, runtime: &mut Runtime, limits: Option<FeedLimits>) -> Told {
        let mut told = Told::default();
        if self.is_over {
            return told;
        }
        if !self.is_paced {
            let said = self.link.drain(now, runtime);
            for event in said.events {
                self.stream.handle(now, SharedStreamInput::Watch(event));
            }
            if let Some(result) = said.stopped {
                self.stream.handle(now, SharedStreamInput::WatchEnded(result));
            }
        }
        loop {
            match self.stream.poll(now) {
                SharedStreamOutput::Observed(_) => {}
                SharedStreamOutput::Update(FeedUpdate::Frame(item)) => {
                    told.newest = item.upstream_cursor().cloned().or(told.newest);
                    let (frames, bytes) = self.stream.feed().retained();
                    let kept = |limits: FeedLimits| {
                        frames <= limits.max_frames && (frames == 1 || bytes <= limits.max_bytes)
                    };
                    assert!(limits.is_none_or(kept), "a ring of {frames} frames and {bytes} bytes");
                }
                SharedStreamOutput::Update(FeedUpdate::Shrunk(_)) => {}
                SharedStreamOutput::Update(FeedUpdate::Ended(error)) => told.ended = Some(error),
                SharedStreamOutput::Wait { until, why } => {
                    assert!(until.is_none_or(|until| until > now), "it waits for what is past: {why:?}");
                    self.wake = until;
                    self.is_paced = why == SharedStreamWait::Pace;
                    return told;
                }
                SharedStreamOutput::End => {
                    self.is_over = true;
                    self.link.stop(now, runtime);
                    return told;
                }
            }
        }
    }

    /// Lets the next thing on the wire arrive. Whether there was any.
    pub(super) fn deliver(&mut self, now: Instant, runtime: &mut Runtime) -> bool {
        !self.is_paced && !self.is_over && self.link.deliver(now, runtime)
    }

    pub(super) fn stop(mut self, now: Instant, runtime: &mut Runtime) {
        self.link.stop(now, runtime);
    }
}
