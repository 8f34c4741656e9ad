//! The runtime's end of its supervisor: the helper process that starts a launcher for each worker.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::START_TIMEOUT;
use crate::launcher::message::{Channel, Message};
use crate::launcher::{Helper, Role};

/// The stack of the thread that waits for a supervisor to end, in bytes.
const STACK_SIZE: usize = 64 * 1024;

/// The supervisor of one runtime. There is no process before there is a worker that needs one.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// The program that helpers run, if not this one.
    program: Option<PathBuf>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    /// Until it is dropped.
    process: Option<Child>,
    control: Channel,
}

impl Supervisor {
    pub(crate) fn new(program: Option<PathBuf>) -> Self {
        Self { program, running: Mutex::new(None) }
    }

    /// The socket of a new launcher. It ends at once where there is none after all.
    pub(super) fn launcher(&self) -> io::Result<Channel> {
        // A process has no state half-way.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(supervisor) = &*running
            && let Ok(launcher) = supervisor.launcher()
        {
            return Ok(launcher);
        }
        // There was none yet, or it was killed.
        *running = None;
        running.insert(Running::start(self.program.as_ref())?).launcher()
    }
}

impl Running {
    fn start(program: Option<&PathBuf>) -> io::Result<Self> {
        let helper = Helper::configured(program.map(PathBuf::as_path))?;
        let (control, theirs) = Channel::pair()?;
        control.limit(START_TIMEOUT)?;
        let process = helper.start(Role::Supervisor, theirs)?;
        Ok(Self { process: Some(process), control })
    }

    fn launcher(&self) -> io::Result<Channel> {
        let (ours, theirs) = Channel::pair()?;
        self.control.send_with(&Message::WantLauncher, &[theirs.as_fd()])?;
        Ok(ours)
    }
}

impl Drop for Running {
    /// The process ends when its socket does and the last launcher has ended, and is reaped then.
    fn drop(&mut self) {
        let _ = self.control.hang_up();
        let Some(mut process) = self.process.take() else { return };
        // Where there is no thread it stays a zombie for as long as this process lives.
        let reap = move || drop(process.wait());
        let _ = thread::Builder::new().name("sekisho-reaper".into()).stack_size(STACK_SIZE).spawn(reap);
    }
}
