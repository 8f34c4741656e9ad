//! What a viewer has been shown in one stay, and what may therefore come next.

use std::collections::BTreeMap;

use bytes::Bytes;
use sekisho_core::cursor::{CursorKey, Sealer};
use sekisho_core::feed::Item;
use sekisho_core::runtime_api::SNAPSHOT_PREFIX;
use serde_json::Value;

use super::runtime::{At, Runtime};
use super::{TOKEN, worker};

/// What has been shown of each event, to any viewer.
pub(super) struct Known {
    sealer: Sealer,
    frames: BTreeMap<String, Bytes>,
}

/// What a viewer has been shown in one stay.
#[derive(Default)]
pub(super) struct Account {
    pub(super) position: Option<At>,
    pub(super) after_gap: bool,
    /// The newest place in the feed when it was joined: where the viewer is to be told that it is live.
    pub(super) live_from: Option<At>,
    pub(super) caught_up: bool,
    /// Whether it was told, before it was live, that the runtime is away.
    joined_away: bool,
}

impl Known {
    pub(super) fn new(key: &CursorKey) -> Self {
        Self { sealer: Sealer::new(key, worker()), frames: BTreeMap::new() }
    }
}

impl Account {
    /// A stay that begins after this place, or with a snapshot.
    pub(super) fn new(position: Option<At>) -> Self {
        Self { position, ..Self::default() }
    }

    /// Checks that the frame is the one that must come next.
    pub(super) fn see(&mut self, item: &Item, known: &mut Known, runtime: &Runtime) {
        let line = std::str::from_utf8(item.text()).unwrap();
        assert!(!line.contains(['\n', '\r']) && !line.contains(TOKEN), "{line}");
        let text: Value = serde_json::from_str(line).unwrap();
        match text.get("envelope") {
            None => self.hear(text["diagnostic"]["code"].as_str().unwrap(), runtime),
            Some(envelope) => self.see_event(item, envelope, known, runtime),
        }
    }

    fn hear(&mut self, code: &str, runtime: &Runtime) {
        if runtime.is_foul {
            self.caught_up |= code == "caught_up";
            return;
        }
        assert!(!self.after_gap, "nothing stands between a gap and its snapshot");
        assert!(self.position.is_some(), "a snapshot comes first");
        assert!(!self.joined_away || self.caught_up || code == "caught_up", "an outage from before");
        match code {
            "caught_up" => {
                assert!(!std::mem::replace(&mut self.caught_up, true), "caught up twice");
                assert_eq!(self.position, self.live_from, "caught up elsewhere than where the feed ended");
            }
            "resynchronized" => self.after_gap = true,
            "upstream_disconnected" if !self.caught_up => {
                assert!(!std::mem::replace(&mut self.joined_away, true), "away twice");
            }
            "upstream_disconnected" | "upstream_resumed" => {
                assert!(self.caught_up, "an outage from before, or of a replay");
            }
            other => panic!("{other:?}"),
        }
    }

    fn see_event(&mut self, item: &Item, envelope: &Value, known: &mut Known, runtime: &Runtime) {
        let event_id = envelope["event_id"].as_str().unwrap();
        let cursor = envelope["cursor"].as_str().unwrap();
        assert_eq!(item.cursor(), Some(cursor));
        let place = known.sealer.open(cursor).unwrap();
        assert_eq!(item.upstream_cursor(), Some(&place));
        if runtime.is_foul {
            self.position = runtime.locate(place.as_str());
            return;
        }
        let at = runtime.locate(place.as_str()).expect("a cursor of the runtime's");
        assert!(!self.joined_away || self.caught_up, "an outage from before");
        let same = known.frames.entry(event_id.to_owned()).or_insert_with(|| item.text().clone());
        assert_eq!(same, item.text(), "the same event is the same to every viewer");
        if let Some(place_of_snapshot) = event_id.strip_prefix(SNAPSHOT_PREFIX) {
            assert_eq!(place_of_snapshot, place.as_str());
            assert!(self.position.is_none() || self.after_gap, "a snapshot out of place");
            assert!(self.position.is_none_or(|position| position <= at), "a step back");
            self.after_gap = false;
        } else {
            assert_eq!(event_id, place.as_str());
            assert!(!self.after_gap, "a snapshot follows a gap");
            let position = self.position.expect("a snapshot comes first");
            assert_eq!(at, At { index: position.index + 1, ..position }, "after {position:?}");
            let expected: Value = serde_json::from_str(&Runtime::shown(at)).unwrap();
            assert_eq!(envelope["payload"], expected);
        }
        self.position = Some(at);
    }
}
