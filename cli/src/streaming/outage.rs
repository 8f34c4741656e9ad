//! What to tell of outages: each cause once, before its effect, and when it is over for how long it lasted.

use std::time::{Duration, Instant};

use anstyle::Style;
use sekisho_core::error::Origin;
use sekisho_core::feed::{CAUGHT_UP, RESYNCHRONIZED, UPSTREAM_DISCONNECTED, UPSTREAM_RESUMED};
use sekisho_core::gateway_client::GatewayEvent;

use crate::text::{GOOD, WARNING};

/// Which outages there are, and since when.
#[derive(Default, Debug)]
pub(crate) struct Outage {
    gateway: Option<Instant>,
    runtime: Option<Instant>,
}

/// Whether events between the last one and the next one are lost.
pub(super) fn is_loss(event: &GatewayEvent) -> bool {
    match event {
        GatewayEvent::StartedOver => true,
        GatewayEvent::Diagnostic(notice) => notice.code == RESYNCHRONIZED,
        _ => false,
    }
}

impl Outage {
    /// Whether the gateway or the runtime cannot be reached.
    pub(super) fn is_there(&self) -> bool {
        self.gateway.is_some() || self.runtime.is_some()
    }

    /// What to tell of an event, if anything.
    pub(crate) fn note<E>(&mut self, now: Instant, event: &GatewayEvent<E>) -> Option<(Style, String)> {
        match event {
            GatewayEvent::Away { problem, .. } => {
                // A gateway closes the stream of a runtime that is away for long, and is asked again for it.
                let of_the_runtime = matches!(problem.origin, Origin::Network | Origin::Runtime);
                let outage = if of_the_runtime { &mut self.runtime } else { &mut self.gateway };
                if outage.replace(outage.unwrap_or(now)).is_some() {
                    return None;
                }
                let detail = match &*problem.detail {
                    "" => String::new(),
                    detail => format!(": {detail}"),
                };
                Some((WARNING, format!("{}{detail}; trying again", problem.title)))
            }
            GatewayEvent::Back { nothing_missed } => {
                let since = self.gateway.take()?;
                let missed = if *nothing_missed { ", and nothing was missed" } else { "" };
                Some((GOOD, format!("the gateway is back after {}{missed}", span(now - since))))
            }
            GatewayEvent::StartedOver => Some((
                WARNING,
                "the gateway cannot go on where the stream was left: events were lost, and a new snapshot follows"
                    .into(),
            )),
            GatewayEvent::Diagnostic(notice) => match &*notice.code {
                CAUGHT_UP => None,
                UPSTREAM_DISCONNECTED => match self.runtime.replace(self.runtime.unwrap_or(now)) {
                    Some(_) => None,
                    None => Some((WARNING, "the runtime cannot be reached; trying again".into())),
                },
                UPSTREAM_RESUMED => {
                    let since = self.runtime.take();
                    let after = since.map(|since| format!(" after {}", span(now - since))).unwrap_or_default();
                    Some((GOOD, format!("the runtime is back{after}")))
                }
                RESYNCHRONIZED => {
                    self.runtime = None;
                    let text = "the runtime no longer has the events after the last one: they are lost, and a new \
                                snapshot follows";
                    Some((WARNING, text.into()))
                }
                code => Some((WARNING, format!("{} ({code})", notice.message))),
            },
            // The runtime was reached, whatever was not said.
            GatewayEvent::Event(_) => {
                let since = self.runtime.take()?;
                Some((GOOD, format!("the runtime is back after {}", span(now - since))))
            }
            _ => None,
        }
    }
}

/// A time in words.
fn span(time: Duration) -> String {
    match time.as_secs() {
        0..120 => format!("{:.0} s", time.as_secs_f64().ceil()),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use sekisho_core::gateway_client::{Diagnostic, Problem, Severity};

    use super::*;

    fn notice(code: &str) -> GatewayEvent {
        GatewayEvent::Diagnostic(Diagnostic {
            code: code.to_owned().into(),
            ..Diagnostic::new("", Severity::Warning, "m")
        })
    }

    fn away(origin: Origin) -> GatewayEvent {
        let problem = Problem { origin, ..*Box::new(Problem::unexpected_body()) };
        GatewayEvent::Away { retry_after: Duration::ZERO, problem: problem.into() }
    }

    #[test]
    fn each_cause_is_told_once() {
        let (mut outage, mut now) = (Outage::default(), Instant::now());
        let mut told = Vec::new();
        for event in [
            away(Origin::Gateway),
            away(Origin::Gateway),
            GatewayEvent::Back { nothing_missed: true },
            notice(UPSTREAM_DISCONNECTED),
            // Given up by the gateway, and asked for again.
            away(Origin::Network),
            GatewayEvent::Back { nothing_missed: false },
            notice(UPSTREAM_DISCONNECTED),
            notice(UPSTREAM_RESUMED),
            notice(CAUGHT_UP),
            notice("new"),
        ] {
            told.extend(outage.note(now, &event).map(|(_, text)| text));
            now += Duration::from_secs(1);
        }
        assert_eq!(
            told,
            [
                "What answered is not a sekisho gateway: the answer is not one of the API; trying again",
                "the gateway is back after 2 s, and nothing was missed",
                "the runtime cannot be reached; trying again",
                "the runtime is back after 4 s",
                "m (new)",
            ]
        );
        assert_eq!(
            [100, 130, 7300].map(|seconds| span(Duration::from_secs(seconds))),
            ["100 s", "2 min", "2 h"]
        );
    }
}
