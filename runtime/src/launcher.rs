//! The helper processes behind workers: how a program starts, and why nothing that it started is left behind.
//!
//! They are this program started again with a hidden argument, which [`run_if_asked`] looks for:
//!
//! ```text
//! runtime ── supervisor ──┬── launcher ── starter, which becomes the program of worker 1
//!                         └── launcher ── starter, which becomes the program of worker 2
//! ```
//!
//! - The **starter** makes a session of its own, takes the worker's terminal where it has one, changes user and
//!   directory, asks to be killed when its launcher dies, and executes the program. It tells when it cannot.
//! - The **launcher** is the parent of one worker's program and inherits every orphan below it
//!   (`PR_SET_CHILD_SUBREAPER`): whatever the program starts stays its descendant, in sessions of its own too. It ends
//!   all of them when the program has ended, when it is told to, and when the runtime is gone, which it notices by
//!   the end of its socket. Then it reports how the program ended, and only then is the worker gone.
//! - The **supervisor**, one for a runtime, starts launchers and inherits what a launcher that was killed leaves
//!   behind. All its children are launchers; anything else is such an orphan and is killed. Where the supervisor
//!   is killed, its launchers are told by a signal (`PR_SET_PDEATHSIG`) and end their workers.
//!
//! So whichever one of them is killed, the others end what it had started.
//!
//! Descriptors travel over the sockets between them (`SCM_RIGHTS`), never by inheritance. All that a launcher
//! knows comes in one message and stays in one value, `launch::Launch`.
//!
//! # Other systems than Linux
//!
//! A system without subreapers, parent death signals and `/proc` gives weaker guarantees: a worker's process group is
//! ended, and what has left it on purpose is not found. A launcher that is killed leaves its program behind.

mod descendants;
mod init;
mod launch;
pub(crate) mod message;
mod starter;
mod supervise;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, getpid, getppid};

use message::Channel;

/// The first argument of a helper process. The second is its role, the third the process that started it.
const HIDDEN_ARGUMENT: &str = "--sekisho-helper-process";

/// Whether [`run_if_asked`] was called: only then may this program be started again as a helper.
static IS_PREPARED: AtomicBool = AtomicBool::new(false);

/// What a helper process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Supervisor,
    Launcher,
    Starter,
}

impl Role {
    const ALL: [Self; 3] = [Self::Supervisor, Self::Launcher, Self::Starter];

    fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Launcher => "launcher",
            Self::Starter => "starter",
        }
    }

    /// What process lists show. Linux cuts it after 15 bytes.
    #[cfg(target_os = "linux")]
    fn process_name(self) -> &'static std::ffi::CStr {
        match self {
            Self::Supervisor => c"sekisho-superv",
            Self::Launcher | Self::Starter => c"sekisho-launch",
        }
    }
}

/// Makes this process a helper where it was started as one, and does not return then.
///
/// A program that embeds a runtime whose workers are processes calls this first thing in `main`, before it starts a
/// thread or opens anything: helpers are meant to stay small. Where
/// [`RuntimeConfig::launcher`](crate::RuntimeConfig::launcher) names another program, that one has to call it.
///
/// As process 1, in a container, it starts the program once more as its child, passes signals on to it, reaps every
/// process that it inherits, and exits as the program did.
pub fn run_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == HIDDEN_ARGUMENT) {
        let role = arguments.next();
        let parent = arguments.next();
        let role = Role::ALL.into_iter().find(|known| role.as_deref() == Some(OsStr::new(known.as_str())));
        let parent = parent.and_then(|parent| parent.to_str()?.parse().ok());
        std::process::exit(match role.zip(parent) {
            Some((role, parent)) => match run(role, parent) {
                Ok(()) => 0,
                Err(_) => FAILED,
            },
            None => FAILED,
        });
    }
    if getpid().is_init() {
        std::process::exit(init::run());
    }
    IS_PREPARED.store(true, Ordering::Relaxed);
}

/// The exit code of a helper that could not do its work. What was wrong is told over its socket.
const FAILED: i32 = 3;

/// Makes this process unreadable for others of the same user, workers included: its memory, its environment and its
/// command line, by `/proc` and by debuggers, core dumps too (`PR_SET_DUMPABLE`). It does nothing on other systems
/// than Linux.
///
/// The programs that workers run are not affected.
pub fn conceal_process() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn run(role: Role, parent: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(role.process_name());
    let control = take_control()?;
    let parent = Parent(parent);
    match role {
        Role::Supervisor => supervise::run(control),
        Role::Launcher => launch::run(control, parent),
        Role::Starter => starter::run(&control, parent),
    }
}

/// The socket that a helper is started with as its standard input, which becomes `/dev/null` instead.
fn take_control() -> io::Result<Channel> {
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Channel::new(UnixStream::from(control)))
}

/// The process that started a helper, by its number at that time.
#[derive(Clone, Copy)]
struct Parent(i32);

impl Parent {
    /// Asks for a signal when the parent dies, and fails where it has died already.
    fn watch(self, signal: rustix::process::Signal) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(signal))?;
        #[cfg(not(target_os = "linux"))]
        let _ = signal;
        match getppid().map(Pid::as_raw_pid) {
            Some(parent) if parent == self.0 => Ok(()),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// The program that helpers run: one that calls [`run_if_asked`].
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    path: PathBuf,
}

impl Helper {
    /// The one that was configured, else this program, if it is prepared for that.
    pub(crate) fn configured(path: Option<&Path>) -> io::Result<Self> {
        match path {
            Some(path) => Ok(Self { path: path.to_owned() }),
            None if IS_PREPARED.load(Ordering::Relaxed) => Self::itself(),
            None => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the program does not call sekisho_runtime::launcher::run_if_asked",
            )),
        }
    }

    /// This program. On Linux by a name that holds after its file was replaced.
    fn itself() -> io::Result<Self> {
        let path = match cfg!(target_os = "linux") {
            true => PathBuf::from("/proc/self/exe"),
            false => std::env::current_exe()?,
        };
        Ok(Self { path })
    }

    /// Starts a helper, which has this socket and nothing else. It keeps none of our environment but what the
    /// dynamic loader may need.
    pub(crate) fn start(&self, role: Role, control: OwnedFd) -> io::Result<Child> {
        let loader = |(name, _): &(OsString, OsString)| {
            let name = name.as_encoded_bytes();
            name.starts_with(b"LD_") || name.starts_with(b"DYLD_")
        };
        Command::new(&self.path)
            .arg0(format!("sekisho-{}", role.as_str()))
            .args([HIDDEN_ARGUMENT, role.as_str(), &std::process::id().to_string()])
            .env_clear()
            .envs(std::env::vars_os().filter(loader))
            .stdin(Stdio::from(control))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}
