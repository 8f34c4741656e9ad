//! Taking secrets out of what a runtime answered.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::reply::Reply;
use super::wire::{
    Ack, Capability, ConfigBundle, EndReason, InputAck, Intent, NextAfter, Profile, ProfileList,
    ProfileSummary, Reference, RequestList, RequestOption, RuntimeSummary, StoreDiagnostic, Transcript,
    TranscriptItem, WireRef, WorkerActivity, WorkerDetail, WorkerEnd, WorkerFacts, WorkerList, WorkerRequest,
    WorkerSummary,
};
use crate::secret::Scrubber;

/// Takes secrets out of every text in place.
pub(super) trait Scrub {
    fn scrub(&mut self, scrubber: &Scrubber);
}

impl Scrub for String {
    fn scrub(&mut self, scrubber: &Scrubber) {
        if let Cow::Owned(clean) = scrubber.text(self) {
            *self = clean;
        }
    }
}

impl<T: Scrub> Scrub for Option<T> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.iter_mut().for_each(|part| part.scrub(scrubber));
    }
}

impl<T: Scrub> Scrub for Vec<T> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.iter_mut().for_each(|part| part.scrub(scrubber));
    }
}

impl Scrub for BTreeMap<String, String> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        let is_clean = |text: &String| matches!(scrubber.text(text), Cow::Borrowed(_));
        if self.iter().all(|(name, value)| is_clean(name) && is_clean(value)) {
            return;
        }
        let clean = |text: String| scrubber.text(&text).into_owned();
        *self = std::mem::take(self).into_iter().map(|(name, value)| (clean(name), clean(value))).collect();
    }
}

macro_rules! scrub_fields {
    ($($shape:ty { $($field:ident),+ })+) => {
        $(impl Scrub for $shape {
            fn scrub(&mut self, scrubber: &Scrubber) {
                $(self.$field.scrub(scrubber);)+
            }
        })+
    };
}

scrub_fields! {
    RuntimeSummary { runtime_id, display_name, backend, features, incarnation, diagnostics }
    StoreDiagnostic { code, message }
    WireRef { runtime_id, worker_id }
    WorkerSummary { worker_ref, runtime_id, worker_id, intent, profile, facts }
    WorkerDetail {
        worker_ref, runtime_id, worker_id, intent, profile, config_bundle, requested_capabilities,
        workspace_refs, mount_refs, facts
    }
    WorkerFacts { name, labels, created_at, started_at, last_output_at, ended_at, activity, end }
    WorkerEnd { reason, message }
    ConfigBundle { id }
    Capability { name, reason }
    Reference { name, reference }
    InputAck { worker_ref }
    Ack { worker_ref }
    Transcript { worker_ref, items }
    TranscriptItem { worker_ref, role, content, at }
    WorkerList { workers, next_after, diagnostics }
    ProfileList { profiles }
    ProfileSummary { name, kind, description }
    RequestList { requests }
    WorkerRequest {
        worker_ref, request_id, kind, title, detail, tool_call_id, options, opened_at, expires_at
    }
    RequestOption { option_id, name, kind }
}

impl Scrub for Intent {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.texts_mut().for_each(|text| text.scrub(scrubber));
    }
}

impl Scrub for Profile {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.texts_mut().for_each(|text| text.scrub(scrubber));
    }
}

impl Scrub for WorkerActivity {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::Other(text) => text.scrub(scrubber),
            Self::Idle | Self::Running | Self::Waiting => {}
        }
    }
}

impl Scrub for EndReason {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::Other(text) => text.scrub(scrubber),
            Self::Exited
            | Self::Signalled
            | Self::NotStarted
            | Self::Stopped
            | Self::Cancelled
            | Self::RuntimeLost
            | Self::StoreFailed => {}
        }
    }
}

impl Scrub for NextAfter {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::Worker(worker_id) => worker_id.scrub(scrubber),
            Self::Whole | Self::Nothing => {}
        }
    }
}

impl Scrub for Reply {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::Runtime(runtime) => runtime.scrub(scrubber),
            Self::Workers(list) => list.scrub(scrubber),
            Self::Worker(worker) => worker.scrub(scrubber),
            Self::Input(ack) => ack.scrub(scrubber),
            Self::Ack(ack) => ack.scrub(scrubber),
            Self::Transcript(transcript) => transcript.scrub(scrubber),
            Self::Requests(list) => list.scrub(scrubber),
            Self::Profiles(list) => list.scrub(scrubber),
            Self::Removed | Self::Unchanged => {}
        }
    }
}
