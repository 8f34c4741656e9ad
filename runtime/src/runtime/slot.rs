//! What a worker's thread and the runtime have between them.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{CreateWorker, EndReason, Fault, FaultCode, WorkerEnd};

use super::agent::AgentThread;
use super::beginning::{Begun, Start};
use super::ending::plain;
use super::publish::{Happened, Publication, Said};
use super::state::{Locked, State};
use super::{Shared, store_fault};
use crate::event::Event;
use crate::profile::{ProfileKind, Program, WorkerProfile};
use crate::store::{Role, StoreError};
use crate::user::User;
use crate::worker::{
    End, Fragment, Handle, Launch, NotStarted, OutputSink, ProgramSpec, SharedAgent, Source, Step,
    StoreFailed, TerminalSettings, TerminalSize, attend, attend_agent,
};

/// The stack of a worker's thread, in bytes. The largest thing on it is one buffer for reading.
const STACK_SIZE: usize = 128 * 1024;

/// What terminals of workers can do: what `TERM` says, unless the profile sets it.
const TERM: &str = "xterm-256color";

/// A process that is to be started.
pub(super) struct NewProcess<'a> {
    /// The worker whose it is. It waits until that is durable.
    pub(super) begun: Begun,
    pub(super) profile: &'a WorkerProfile,
    pub(super) spec: Arc<CreateWorker>,
    handle: Arc<Handle>,
    start: Arc<Start>,
}

impl<'a> NewProcess<'a> {
    pub(super) fn new(
        begun: Begun,
        profile: &'a WorkerProfile,
        spec: Arc<CreateWorker>,
        handle: Handle,
    ) -> Self {
        Self { begun, profile, spec, handle: Arc::new(handle), start: Arc::default() }
    }
}

impl Shared {
    /// Puts a process on the list of threads and starts it when the lock is released and its worker is durable. What is
    /// given back tells what has come of it.
    pub(super) fn start_process(
        self: &Arc<Self>,
        mut locked: Locked<'_>,
        process: NewProcess<'_>,
    ) -> Arc<Start> {
        let start = Arc::clone(&process.start);
        let worker_id = process.begun.worker_id.clone();
        locked.threads.insert(worker_id, Arc::clone(&process.handle));
        if let Some(key) = process.begun.why.key() {
            locked.starting.insert(key.clone(), Arc::clone(&start));
        }
        drop(locked);
        self.launch(process);
        start
    }

    /// Starts the thread of a worker, which starts its process.
    fn launch(self: &Arc<Self>, process: NewProcess<'_>) {
        let program = self.program_spec(&process);
        let agent = self.begin_agent(&process);
        let NewProcess { begun, handle, start, .. } = process;
        let thread = thread::Builder::new().name(begun.worker_id.to_string()).stack_size(STACK_SIZE);
        let slot = ThreadSlot::new(Arc::clone(self), begun, start);
        match program {
            Ok(program) => {
                let launch = Launch { program, supervisor: Arc::clone(&self.supervisor) };
                // Where there is no thread the slot is dropped with what should have run in it, and that is its end.
                let _ = thread.spawn(move || slot.run(&launch, &handle, agent.as_deref()));
            }
            Err(refusal) => {
                let end = End::NotStarted(refusal);
                slot.give_up(end, worker_end(end));
            }
        }
    }

    fn program_spec(&self, process: &NewProcess<'_>) -> Result<ProgramSpec, NotStarted> {
        let NewProcess { begun, profile, spec, .. } = process;
        let (program, terminal) = match &profile.kind {
            // Without a program there is nothing to start.
            ProfileKind::Echo => return Err(NotStarted { step: Step::Program, errno: 0 }),
            ProfileKind::Lines(program) | ProfileKind::Agent(program, _) => (program, None),
            ProfileKind::Terminal(program, terminal) => (program, Some(*terminal)),
        };
        let user = match &program.user {
            None => None,
            Some(user) => Some(User::find(user).map_err(|_| NotStarted { step: Step::User, errno: 0 })?),
        };
        let hidden = program.hide_env.iter().chain(&self.config.hidden_variables);
        let terminal = terminal.map(|terminal| TerminalSettings {
            size: TerminalSize { cols: terminal.cols, rows: terminal.rows },
            term: TERM.to_owned(),
            echo: terminal.echo,
        });
        Ok(ProgramSpec {
            directory: spec.cwd.as_ref().map(Into::into).or_else(|| program.cwd.clone()),
            user,
            clear_environment: program.clear_env,
            hidden_variables: hidden.cloned().collect(),
            environment: self.variables(&begun.worker_id, program, spec),
            terminal,
            ..ProgramSpec::new(program.command.clone().into())
        })
    }

    /// The variables of a worker's program beside those that it inherits, the later ones before the earlier.
    fn variables(
        &self,
        worker_id: &WorkerId,
        program: &Program,
        spec: &CreateWorker,
    ) -> Vec<(String, String)> {
        let given = program.env.iter().chain(&spec.env).map(|(name, value)| (name.clone(), value.clone()));
        let set = |name: &str, value: Option<&str>| value.map(|value| (name.to_owned(), value.to_owned()));
        let task = spec.intent.about();
        let ours = [
            set("SEKISHO_RUNTIME_ID", Some(self.config.runtime_id.as_str())),
            set("SEKISHO_WORKER_ID", Some(worker_id.as_str())),
            set("SEKISHO_WORKER_NAME", spec.name.as_deref()),
            set("SEKISHO_TASK", task),
        ];
        given.chain(ours.into_iter().flatten()).collect()
    }
}

/// A worker's slot on the list of threads. Dropping it gives the slot up, however the thread came to its end.
pub(super) struct ThreadSlot {
    pub(super) shared: Arc<Shared>,
    begun: Begun,
    start: Arc<Start>,
    /// How its process ended, and how that is told.
    end: End,
    told: WorkerEnd,
    /// Why nothing was started.
    not_durable: Option<StoreError>,
}

impl ThreadSlot {
    fn new(shared: Arc<Shared>, begun: Begun, start: Arc<Start>) -> Self {
        let end = End::NotStarted(NotStarted { step: Step::Helper, errno: 0 });
        Self { shared, begun, start, end, told: worker_end(end), not_durable: None }
    }

    pub(super) fn worker_id(&self) -> &WorkerId {
        &self.begun.worker_id
    }

    /// The life of the thread: of its process, once its worker is durable.
    fn run(mut self, launch: &Launch, handle: &Handle, agent: Option<&SharedAgent>) {
        if let Err(error) = self.shared.wait_until_durable(self.begun.ticket) {
            self.not_durable = Some(error);
            return;
        }
        match agent {
            None => {
                let end = attend(launch, handle, &self);
                self.give_up(end, worker_end(end));
            }
            Some(agent) => {
                let thread = AgentThread(self);
                let (end, agent) = attend_agent(launch, handle, agent, &thread);
                thread.give_up(end, agent);
            }
        }
    }

    pub(super) fn give_up(mut self, end: End, told: WorkerEnd) {
        (self.end, self.told) = (end, told);
    }

    /// Why its process did not start, where it was not told to end before.
    fn refusal(&self) -> Option<Fault> {
        let code = match (&self.told.reason, self.end) {
            (EndReason::NotStarted, End::NotStarted(refusal)) if refusal.is_for_want_of_room() => {
                FaultCode::RuntimeFull
            }
            (EndReason::NotStarted, _) => FaultCode::NotStarted,
            _ => return None,
        };
        Some(Fault::new(code, self.told.message.clone().unwrap_or_default()))
    }

    /// Takes note of the end. Gives back why the worker did not begin, where it did not.
    fn tell_end(&self, locked: &mut Locked<'_>) -> Option<Fault> {
        self.take_off(locked);
        if let Some(error) = self.not_durable {
            return Some(self.shared.take_back(locked, &self.begun, error));
        }
        let refusal = self.refusal();
        if refusal.is_some() {
            // A store that cannot take it now is asked again with the end.
            let _ = self.shared.take_back_answer(locked, &self.begun);
        }
        let _ = self.shared.tell_end(locked, self.worker_id(), self.told.clone());
        refusal
    }

    /// Takes it off the lists.
    fn take_off(&self, state: &mut State) {
        state.threads.remove(self.worker_id());
        state.agents.remove(self.worker_id());
        self.is_known(state);
    }

    /// What has come of the beginning is known, and with it the answer that is kept.
    fn is_known(&self, state: &mut State) {
        if let Some(key) = self.begun.why.key()
            && state.starting.get(key).is_some_and(|start| Arc::ptr_eq(start, &self.start))
        {
            state.starting.remove(key);
        }
    }
}

impl OutputSink for ThreadSlot {
    fn started(&self, _pid: i32) {
        let told = self.shared.lock().map(|mut locked| {
            self.is_known(&mut locked);
            self.shared.tell_started(&mut locked, &self.begun)
        });
        tracing::info!(worker_id = %self.worker_id(), "worker started");
        self.start.tell(Ok(told.unwrap_or_else(|_| self.begun.response.clone())));
    }

    fn said(&self, source: Source, fragment: &Fragment) -> Result<(), StoreFailed> {
        let text: Arc<str> = fragment.text().into();
        let (event, role) = match source {
            Source::Output => (Event::TextDelta { text: Arc::clone(&text) }, Role::Assistant),
            Source::Error => (Event::stderr(Arc::clone(&text)), Role::Stderr),
        };
        let items = fragment.lines().map(|line| {
            let content = if line.text.len() == text.len() { Arc::clone(&text) } else { line.text.into() };
            Said { role, content, cont: line.continues }
        });
        let happened = vec![Happened { event: Some(event), items: items.collect() }];
        let publication = Publication { happened, is_output: true, ..Publication::default() };
        let kept = self
            .shared
            .lock()
            .and_then(|mut locked| self.shared.publish(&mut locked, self.worker_id(), publication));
        kept.map(drop).map_err(|_| StoreFailed)
    }

    fn has_room(&self) -> bool {
        let stream = self.shared.lock_anyway().streams.get(self.worker_id()).cloned();
        let now = Instant::now();
        stream.is_none_or(|stream| stream.has_room(now)) && self.shared.store.has_room(self.worker_id())
    }
}

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        let refusal = match self.shared.lock() {
            Ok(mut locked) => self.tell_end(&mut locked),
            Err(poisoned) => {
                self.take_off(&mut self.shared.lock_anyway());
                self.not_durable.map(|_| store_fault(poisoned)).or_else(|| self.refusal())
            }
        };
        self.start.tell(refusal.map_or_else(|| Ok(self.begun.response.clone()), Err));
        self.shared.done.notify_all();
    }
}

/// How a process ended, as v1 tells it.
pub(super) fn worker_end(end: End) -> WorkerEnd {
    match end {
        End::Exited(status) => exited(status),
        End::NotStarted(refusal) => {
            WorkerEnd { message: Some(not_started(refusal)), ..plain(EndReason::NotStarted) }
        }
        // The order says the rest.
        End::NeverWanted => plain(EndReason::NotStarted),
        End::HelperLost => {
            let message = "one of the runtime's helper processes was killed";
            WorkerEnd { message: Some(message.to_owned()), ..plain(EndReason::Signalled) }
        }
        End::StoreFailed => plain(EndReason::StoreFailed),
    }
}

fn exited(status: ExitStatus) -> WorkerEnd {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (None, Some(signal)) => WorkerEnd { signal: Some(signal), ..plain(EndReason::Signalled) },
        (exit_code, _) => WorkerEnd { exit_code, ..plain(EndReason::Exited) },
    }
}

/// Why a program was not started, in words: what failed and the system's reason, but neither a command nor a path.
fn not_started(NotStarted { step, errno }: NotStarted) -> String {
    let step = match step {
        Step::Embedding => "the program of the runtime does not call sekisho_runtime::launcher::run_if_asked",
        Step::Helper => "a helper process could not start it",
        Step::Terminal => "it could not be given its terminal",
        Step::User => "it could not be given its user",
        Step::Directory => "its directory could not be entered",
        Step::Program => "its program could not be executed",
    };
    let reason = io::Error::from_raw_os_error(errno).to_string();
    // The number of the error means something else on every system.
    match reason.split_once(" (os error").filter(|_| errno != 0) {
        Some((reason, _)) => format!("{step}: {reason}"),
        None => step.to_owned(),
    }
}

#[cfg(test)]
mod tests;
