//! All workers of all runtimes: one machine for all loops, whose feed viewers on any loop read.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use sekisho_core::browser_api::Now;
use sekisho_core::fleet::{Fleet, FleetFeed, FleetInput, FleetOutput};
use sekisho_core::policy::Policy;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::upstreams::Upstreams;

/// The feed, as each loop has it.
#[derive(Clone, Default)]
pub(crate) struct FleetHub(Arc<Shared>);

#[derive(Default)]
struct Shared {
    feed: watch::Sender<FleetFeed>,
    /// Says that there is a viewer.
    viewed: Notify,
}

impl FleetHub {
    /// The feed for one more viewer.
    pub(crate) fn view(&self) -> watch::Receiver<FleetFeed> {
        let feed = self.0.feed.subscribe();
        self.0.viewed.notify_one();
        feed
    }

    /// Asks the runtimes and keeps the feed, on one of the loops.
    pub(crate) async fn drive(self, upstreams: Rc<Upstreams>, policy: Arc<dyn Policy>) {
        let Shared { feed, viewed } = &*self.0;
        let mut fleet = Fleet::new(policy);
        let mut asked: JoinSet<FleetInput> = JoinSet::new();
        let mut is_viewed = false;
        loop {
            let mut updates = Vec::new();
            let until = loop {
                let output = fleet.poll(now(), &mut upstreams.registry_mut());
                match output {
                    FleetOutput::Ask(ticket, call) => {
                        let upstreams = upstreams.clone();
                        asked.spawn_local(async move {
                            let (result, seen) = upstreams.drive_recognising(*call).await;
                            FleetInput::Answered(ticket, result, seen)
                        });
                    }
                    FleetOutput::Update(update) => updates.push(update),
                    FleetOutput::Wait(until) => break until,
                }
            };
            if !updates.is_empty() {
                // Viewers are woken once for all of them.
                feed.send_modify(|feed| updates.into_iter().for_each(|update| feed.apply(update)));
            }
            let timer = sleep_until(until.unwrap_or_else(Instant::now).into());
            let input = tokio::select! {
                Some(answer) = asked.join_next() => match answer {
                    Ok(answer) => answer,
                    // It is asked again after the next viewer has come.
                    Err(_) => continue,
                },
                () = viewed.notified() => {
                    is_viewed = true;
                    FleetInput::Viewed
                }
                () = feed.closed(), if is_viewed => {
                    is_viewed = false;
                    FleetInput::Unviewed
                }
                () = timer, if until.is_some() => continue,
            };
            fleet.handle(now(), &upstreams.registry(), input);
        }
    }
}

pub(crate) fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::now() }
}
