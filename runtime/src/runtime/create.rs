//! How workers are made.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use sekisho_core::runtime_api::{CreateWorker, Fault, FaultCode, IdempotencyKey, Profile, Reply};

use super::beginning::{Beginning, Begun};
use super::once::Keyed;
use super::pending::Decided;
use super::publish::{Happened, Publication};
use super::slot::NewProcess;
use super::state::{Locked, State};
use super::{Shared, invalid, store_refusal};
use crate::event::{Activity, Event};
use crate::profile::{BUILTIN_ECHO, ProfileKind, Program, WorkerProfile};
use crate::record::WorkerRecord;
use crate::worker::Handle;

/// The longest body of a create, in bytes: what a worker is made of is kept.
pub const MAX_CREATE_BYTES: usize = 64 * 1024;

/// The longest name of a worker, in characters.
pub const MAX_NAME: usize = 128;

/// How many labels a worker has at most.
pub const MAX_LABELS: usize = 16;

/// The longest name of a label: of `A-Z a-z 0-9 . _ / -`.
pub const MAX_LABEL_NAME: usize = 63;

/// The longest value of a label, in characters.
pub const MAX_LABEL_VALUE: usize = 128;

/// How many variables a create sets at most.
pub const MAX_VARIABLES: usize = 64;

/// How much of a name that a client asked for is repeated to it, in characters.
const MAX_REPEATED: usize = 64;

/// How long to wait where the runtime is full.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a worker runs. None of a profile is what echoes.
type Chosen<'a> = Option<&'a WorkerProfile>;

impl Shared {
    pub(super) fn create(
        self: &Arc<Self>,
        request: &Request<Bytes>,
        spec: CreateWorker,
        key: Option<IdempotencyKey>,
    ) -> Result<Decided, Fault> {
        let keyed = Keyed::new(request, key);
        let mut locked = self.lock_for_change()?;
        if let Some(known) = self.recall(&mut locked, &keyed)? {
            return Ok(known);
        }
        self.refuse_when_stopped(&locked)?;
        let profile = self.check_create(&spec, request.body().len())?;
        self.refuse_when_full(&locked)?;
        let program = profile.filter(|profile| profile.program().is_some());
        self.refuse_while_failing()?;
        let program =
            program.map(|profile| handle_of(profile).map(|handle| (profile, handle))).transpose()?;

        let spec = Arc::new(spec);
        let mut record = self.new_record(&mut locked, profile, Arc::clone(&spec))?;
        record.started_at = program.is_none().then_some(record.created_at);
        let worker_id = record.worker_id.clone();
        let reply = Reply::Worker(Box::new(self.worker_detail(&record)));
        let response = reply.response();
        let publication = Publication {
            happened: vec![Happened::event(Event::Status { status: Activity::Idle })],
            record: Some(record),
            answer: keyed.answer(self, None, &reply),
            is_output: false,
        };
        let ticket = self.publish(&mut locked, &worker_id, publication).map_err(store_refusal)?;
        // Without room for those that have ended there is still room for this one.
        let _ = self.make_room(&mut locked);
        let begun = Begun { worker_id, why: Beginning::Create(keyed), response, ticket };
        Ok(match program {
            None => Decided::Begun(Box::new(begun)),
            Some((profile, handle)) => {
                Decided::Starting(self.start_process(locked, NewProcess::new(begun, profile, spec, handle)))
            }
        })
    }

    /// Refuses a create that is not of the form, or that its profile does not allow. Gives back the profile.
    fn check_create(&self, spec: &CreateWorker, size: usize) -> Result<Chosen<'_>, Fault> {
        if size > MAX_CREATE_BYTES {
            let message = format_args!("a worker of {size} bytes is over the limit of {MAX_CREATE_BYTES}");
            return Err(invalid(message));
        }
        check_names(spec)?;
        let profile = self.profile(&spec.profile)?;
        check_placement(spec, profile.and_then(WorkerProfile::program))?;
        Ok(profile)
    }

    /// The record of a worker with an id of its own, which is created now.
    fn new_record(
        &self,
        locked: &mut Locked<'_>,
        profile: Chosen<'_>,
        spec: Arc<CreateWorker>,
    ) -> Result<WorkerRecord, Fault> {
        let State { ids, records, corrupt, .. } = &mut *locked.state;
        let name = profile.map(|profile| profile.name.as_str());
        let is_known = |worker_id: &_| records.is_known(worker_id) || corrupt.contains(worker_id);
        let worker_id = ids.next(name, is_known).ok_or_else(|| invalid("there are no more worker ids"))?;
        Ok(WorkerRecord::new(worker_id, spec, locked.next_event_id(), self.now()))
    }

    pub(super) fn refuse_when_full(&self, state: &State) -> Result<(), Fault> {
        let max = self.config.limits.max_workers;
        // A thread may still be there for a moment when its worker has ended.
        let running = usize::try_from(state.records.census().running).unwrap_or(usize::MAX);
        if running < max && state.threads.len() < max {
            return Ok(());
        }
        let message = format!("the runtime runs its {max} workers and starts no more");
        Err(full(message))
    }

    pub(super) fn profile(&self, wanted: &Profile) -> Result<Chosen<'_>, Fault> {
        let profiles = &self.config.profiles;
        let unknown = |name: &str| {
            let name: String = name.chars().take(MAX_REPEATED).collect();
            Fault::new(FaultCode::UnknownProfile, format!("there is no profile {name:?}"))
        };
        match wanted {
            Profile::RuntimeDefault => Ok(profiles.first()),
            Profile::Builtin(name) if name == BUILTIN_ECHO => Ok(None),
            Profile::Builtin(name) => Err(unknown(name)),
            Profile::Other(other) => Err(unknown(&other.kind)),
            Profile::Named(name) => {
                profiles.iter().find(|known| known.name == *name).map(Some).ok_or_else(|| unknown(name))
            }
        }
    }
}

/// The refusal of what there will be room for when something else has ended.
pub(crate) fn full(message: impl Into<String>) -> Fault {
    Fault::new(FaultCode::RuntimeFull, message).with_retry_after(FULL_RETRY_AFTER)
}

/// The handle of a process of a profile.
pub(super) fn handle_of(profile: &WorkerProfile) -> Result<Handle, Fault> {
    let handle = match &profile.kind {
        ProfileKind::Agent(..) => Handle::of_agent(),
        _ => Handle::new(profile.has_terminal()),
    };
    handle.map_err(|_| full("the runtime's machine has no room for a process now"))
}

/// Whether a worker's name and labels are of the form.
fn check_names(spec: &CreateWorker) -> Result<(), Fault> {
    let is_text = |text: &str, max: usize| {
        text.chars().count() <= max && !text.chars().any(|character| character.is_control())
    };
    if spec.name.as_ref().is_some_and(|name| name.is_empty() || !is_text(name, MAX_NAME)) {
        let form = format_args!("name is 1 to {MAX_NAME} characters, without control characters");
        return Err(invalid(form));
    }
    if spec.labels.len() > MAX_LABELS {
        return Err(invalid(format_args!("there are more than {MAX_LABELS} labels")));
    }
    let is_name = |name: &str| {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
        (1..=MAX_LABEL_NAME).contains(&name.len()) && name.bytes().all(is_of_name)
    };
    if !spec.labels.keys().all(|name| is_name(name)) {
        let form = format_args!("the name of a label is 1 to {MAX_LABEL_NAME} of A-Z a-z 0-9 . _ / -");
        return Err(invalid(form));
    }
    if !spec.labels.values().all(|value| is_text(value, MAX_LABEL_VALUE)) {
        let form =
            format_args!("the value of a label is at most {MAX_LABEL_VALUE} characters, none of control");
        return Err(invalid(form));
    }
    Ok(())
}

/// Whether a worker may start where its creator wants it to, with the variables that it sets.
fn check_placement(spec: &CreateWorker, program: Option<&Program>) -> Result<(), Fault> {
    let not_allowed = |message: String| Err(Fault::new(FaultCode::NotAllowed, message));
    if let Some(cwd) = &spec.cwd
        && !program.is_some_and(|program| program.allows_cwd(cwd))
    {
        return not_allowed("the profile does not allow this cwd".to_owned());
    }
    if spec.env.len() > MAX_VARIABLES {
        return Err(invalid(format_args!("there are more than {MAX_VARIABLES} variables")));
    }
    for (name, value) in &spec.env {
        if !program.is_some_and(|program| program.allows_env(name)) {
            let name: String = name.chars().take(MAX_REPEATED).collect();
            return not_allowed(format!("the profile does not allow the variable {name:?}"));
        }
        if value.contains('\0') {
            return Err(invalid("the value of a variable has a NUL character"));
        }
    }
    Ok(())
}
