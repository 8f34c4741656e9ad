//! Values of every kind, and texts that are hardly of any.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use sekisho_core::runtime_api::{
    Ack, Answer, Capability, ConfigBundle, CreateWorker, EndReason, Input, InputAck, InputKind, Intent,
    NextAfter, Profile, ProfileList, ProfileSummary, Reason, Reference, RequestList, RequestOption,
    RuntimeLimits, RuntimeStatus, RuntimeSummary, TerminalSize, Transcript, TranscriptItem, WireRef,
    WorkerActivity, WorkerDetail, WorkerEnd, WorkerFacts, WorkerFilter, WorkerList, WorkerRequest,
    WorkerStatus, WorkerSummary,
};

/// The characters of ids.
pub(crate) const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:~-";

pub(crate) fn id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:~-]{1,128}".prop_filter("no path step", |id| ![".", ".."].contains(&id.as_str()))
}

/// Any text, and more often than by chance such as makes trouble.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,24}",
        any::<String>(),
        Just(String::new()),
        Just("\0\u{1b}\"\\/\n\u{2028}\u{10ffff}".into())
    ]
}

/// The bytes with a few of them changed, and perhaps cut short.
pub(crate) fn damaged(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<Index>(), any::<u8>()), 0..3);
    (bytes, damage, prop::option::weighted(0.2, any::<Index>())).prop_map(|(mut bytes, damage, end)| {
        if !bytes.is_empty() {
            damage.iter().for_each(|(index, byte)| *index.get_mut(&mut bytes) = *byte);
            bytes.truncate(end.map_or(bytes.len(), |end| end.index(bytes.len())));
        }
        bytes
    })
}

pub(crate) fn intent() -> impl Strategy<Value = Intent> {
    prop_oneof![
        prop::option::of(text()).prop_map(|purpose| Intent::Assistant { purpose }),
        text().prop_map(|objective| Intent::Task { objective }),
        (text(), prop::option::of(text())).prop_map(|(role, purpose)| Intent::Role { role, purpose }),
    ]
}

pub(crate) fn profile() -> impl Strategy<Value = Profile> {
    prop_oneof![
        Just(Profile::RuntimeDefault),
        text().prop_map(Profile::Builtin),
        text().prop_map(Profile::Named),
    ]
}

pub(crate) fn capabilities() -> impl Strategy<Value = Vec<Capability>> {
    let capability =
        (text(), prop::option::of(text())).prop_map(|(name, reason)| Capability { name, reason });
    prop::collection::vec(capability, 0..3)
}

pub(crate) fn references() -> impl Strategy<Value = Vec<Reference>> {
    let reference = (text(), text()).prop_map(|(name, reference)| Reference { name, reference });
    prop::collection::vec(reference, 0..3)
}

pub(crate) fn create() -> impl Strategy<Value = CreateWorker> {
    (intent(), profile(), capabilities(), references()).prop_map(
        |(intent, profile, requested_capabilities, workspace_refs)| CreateWorker {
            requested_capabilities,
            workspace_refs,
            ..CreateWorker::new(intent, profile)
        },
    )
}

/// The same with what not every runtime knows.
pub(crate) fn placed() -> impl Strategy<Value = CreateWorker> {
    let option = || prop::option::of(text());
    (create(), option(), labels(), option(), labels())
        .prop_map(|(worker, name, labels, cwd, env)| CreateWorker { name, labels, cwd, env, ..worker })
}

pub(crate) fn input() -> impl Strategy<Value = Input> {
    (select(vec![InputKind::User, InputKind::System]), text())
        .prop_map(|(kind, content)| Input::new(kind, content))
}

/// The same with what not every runtime knows.
pub(crate) fn special_input() -> impl Strategy<Value = Input> {
    let special =
        (input(), any::<[bool; 2]>()).prop_map(|(input, [raw, secret])| Input { raw, secret, ..input });
    prop_oneof![4 => special, 1 => Just(Input::eof())]
}

pub(crate) fn size() -> impl Strategy<Value = TerminalSize> {
    (any::<NonZeroU16>(), any::<NonZeroU16>()).prop_map(|(cols, rows)| TerminalSize { cols, rows })
}

pub(crate) fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![text().prop_map(Answer::Option), Just(Answer::Dismiss)]
}

pub(crate) fn filter() -> impl Strategy<Value = WorkerFilter> {
    use WorkerStatus::{Cancelled, Running, Stopped};
    let status = prop::option::of(select(vec![Running, Stopped, Cancelled]));
    let keys = prop::collection::btree_map("[a-z=]{0,3}".prop_map(|key| key.replace('=', "")), text(), 0..3);
    let after = prop::option::of(id().prop_map(|id| id.parse().unwrap()));
    (status, prop::option::of(text()), keys, prop::option::of(1..u64::MAX), after)
        .prop_map(|(status, name, labels, limit, after)| WorkerFilter { status, name, labels, limit, after })
}

pub(crate) fn requests(of: Option<&'static str>) -> impl Strategy<Value = RequestList> {
    let option =
        (text(), text(), text()).prop_map(|(option_id, name, kind)| RequestOption { option_id, name, kind });
    let texts = [(); 4].map(|()| text());
    let optional = [(); 3].map(|()| prop::option::of(text()));
    let request = (texts, optional, prop::collection::vec(option, 0..3)).prop_map(
        move |([request_id, kind, title, opened_at], [detail, tool_call_id, expires_at], options)| {
            let worker_ref = of.map(named);
            WorkerRequest {
                worker_ref,
                request_id,
                kind,
                title,
                detail,
                tool_call_id,
                options,
                opened_at,
                expires_at,
            }
        },
    );
    prop::collection::vec(request, 0..3).prop_map(|requests| RequestList { requests, left_out: 0 })
}

pub(crate) fn profiles() -> impl Strategy<Value = ProfileList> {
    let profile = (text(), text(), any::<[bool; 2]>(), prop::option::of(text())).prop_map(
        |(name, kind, [default, terminal], description)| ProfileSummary {
            name,
            kind,
            default,
            terminal,
            description,
        },
    );
    prop::collection::vec(profile, 0..3).prop_map(|profiles| ProfileList { profiles, left_out: 0 })
}

/// A list of workers, whole or a page.
pub(crate) fn list() -> impl Strategy<Value = WorkerList> {
    let next =
        prop_oneof![Just(NextAfter::Whole), Just(NextAfter::Nothing), text().prop_map(NextAfter::Worker),];
    (prop::collection::vec(listed(), 0..3), next).prop_map(|(workers, next_after)| WorkerList {
        workers,
        next_after,
        left_out: 0,
        diagnostics: Vec::new(),
    })
}

pub(crate) fn reason() -> impl Strategy<Value = Reason> {
    prop::option::of(text()).prop_map(|reason| Reason { reason })
}

fn status() -> impl Strategy<Value = WorkerStatus> {
    use WorkerStatus::{Cancelled, Running, Stopped, Unknown};
    select(vec![Running, Stopped, Cancelled, Unknown])
}

fn named(worker_id: &str) -> WireRef {
    WireRef { runtime_id: "rt".into(), worker_id: worker_id.into() }
}

pub(crate) fn summary() -> impl Strategy<Value = RuntimeSummary> {
    use RuntimeStatus::{Running, Stopped, Unknown};
    let texts = (prop::option::of(text()), text(), prop::option::of(text()));
    let features = prop::collection::vec(text(), 0..3);
    (texts, select(vec![Running, Stopped, Unknown]), any::<[u64; 7]>(), features).prop_map(
        |((display_name, backend, incarnation), status, counts, features)| RuntimeSummary {
            runtime_id: "rt".into(),
            display_name,
            backend,
            status,
            worker_count: counts[0],
            active_worker_count: counts[1],
            stopped_worker_count: counts[2],
            cancelled_worker_count: counts[3],
            diagnostic_count: counts[4],
            limits: RuntimeLimits {
                max_transcript_projection_items: counts[5],
                max_event_batch_items: counts[6],
            },
            features,
            incarnation,
            diagnostics: Vec::new(),
        },
    )
}

fn end() -> impl Strategy<Value = WorkerEnd> {
    use EndReason::{Cancelled, Exited, NotStarted, RuntimeLost, Signalled, Stopped, StoreFailed};
    let reasons = vec![Exited, Signalled, NotStarted, Stopped, Cancelled, RuntimeLost, StoreFailed];
    let other = "[a-z]{1,3}_of_tomorrow".prop_map(EndReason::Other);
    (prop_oneof![4 => select(reasons), 1 => other], any::<[Option<i32>; 2]>(), prop::option::of(text()))
        .prop_map(|(reason, [exit_code, signal], message)| WorkerEnd { reason, exit_code, signal, message })
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(text(), text(), 0..3)
}

fn facts() -> impl Strategy<Value = WorkerFacts> {
    use WorkerActivity::{Idle, Running, Waiting};
    let times = [(); 4].map(|()| prop::option::of(text()));
    let other = "[a-z]{1,3}_of_tomorrow".prop_map(WorkerActivity::Other);
    let activity = prop::option::of(prop_oneof![select(vec![Idle, Running, Waiting]), other]);
    let name = prop::option::of(text());
    let end = prop::option::of(end());
    (name, labels(), times, any::<[bool; 2]>(), activity, any::<Option<u64>>(), end).prop_map(
        |(name, labels, times, [stopping, resumable], activity, requests, end)| {
            let [created_at, started_at, last_output_at, ended_at] = times;
            WorkerFacts {
                name,
                labels,
                created_at,
                started_at,
                last_output_at,
                ended_at,
                stopping,
                activity,
                requests,
                resumable,
                end,
            }
        },
    )
}

pub(crate) fn listed() -> impl Strategy<Value = WorkerSummary> {
    (text(), status(), intent(), profile(), any::<[u64; 3]>(), any::<[bool; 2]>(), facts()).prop_map(
        |(worker_id, status, intent, profile, counts, [has_config_bundle, truncated], facts)| WorkerSummary {
            worker_ref: named(&worker_id),
            runtime_id: "rt".into(),
            worker_id,
            status,
            intent,
            profile,
            requested_capability_count: counts[0],
            has_config_bundle,
            transcript_len: counts[1],
            last_event_id: counts[2],
            facts,
            truncated,
        },
    )
}

pub(crate) fn detail() -> impl Strategy<Value = WorkerDetail> {
    let lists = (capabilities(), references(), references());
    let bundle = prop::option::of(text().prop_map(|id| ConfigBundle { id }));
    (status(), intent(), profile(), bundle, lists, any::<[u64; 2]>(), facts()).prop_map(
        |(status, intent, profile, config_bundle, lists, counts, facts)| WorkerDetail {
            worker_ref: named("w"),
            runtime_id: "rt".into(),
            worker_id: "w".into(),
            status,
            intent,
            profile,
            config_bundle,
            requested_capabilities: lists.0,
            workspace_refs: lists.1,
            mount_refs: lists.2,
            transcript_len: counts[0],
            last_event_id: counts[1],
            facts,
        },
    )
}

pub(crate) fn input_ack() -> impl Strategy<Value = InputAck> {
    (status(), any::<[u64; 2]>()).prop_map(|(status, [transcript_sequence, event_id])| InputAck {
        worker_ref: named("w"),
        status,
        transcript_sequence,
        event_id,
    })
}

pub(crate) fn ack() -> impl Strategy<Value = Ack> {
    (status(), any::<u64>()).prop_map(|(status, event_id)| Ack { worker_ref: named("w"), status, event_id })
}

pub(crate) fn transcript() -> impl Strategy<Value = Transcript> {
    let item = (any::<[u64; 2]>(), text(), text(), prop::option::of(text()), any::<bool>()).prop_map(
        |([sequence, event_id], role, content, at, cont)| TranscriptItem {
            sequence,
            worker_ref: named("w"),
            role,
            content,
            event_id,
            at,
            cont,
        },
    );
    (any::<[u64; 3]>(), prop::collection::vec(item, 0..4), any::<Option<u64>>()).prop_map(
        |([start, limit, total_items], items, next_start)| Transcript {
            worker_ref: named("w"),
            start,
            limit,
            total_items,
            items,
            next_start,
            left_out: 0,
        },
    )
}
