//! The starter: it makes itself what the worker's program is to be, and then becomes the program.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::Parent;
use super::message::{Channel, Identity, Message, NotStarted, Program, Step};

/// Returns only when the program could not be started, which it has told by then. That it was started is told by the
/// end of the socket, which the program does not inherit.
pub(super) fn run(control: &Channel, parent: Parent) -> io::Result<()> {
    let Some((Message::Start(program), descriptors)) = control.receive()? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let refusal = become_program(*program, &descriptors, parent);
    control.send(&Message::NotStarted(refusal))
}

fn become_program(program: Program, descriptors: &[OwnedFd], parent: Parent) -> NotStarted {
    match prepare(&program, descriptors, parent) {
        Ok(()) => execute(program),
        Err(refusal) => refusal,
    }
}

fn prepare(program: &Program, descriptors: &[OwnedFd], parent: Parent) -> Result<(), NotStarted> {
    let at = |step| move |error: io::Error| NotStarted::new(step, &error);
    setsid().map_err(io::Error::from).map_err(at(Step::Helper))?;
    let (stdin, stdout, stderr) = match descriptors {
        [terminal] if program.has_terminal => (terminal, terminal, terminal),
        [stdin, stdout, stderr] if !program.has_terminal => (stdin, stdout, stderr),
        _ => return Err(NotStarted { step: Step::Helper, errno: 0 }),
    };
    if program.has_terminal {
        ioctl_tiocsctty(stdin).map_err(io::Error::from).map_err(at(Step::Terminal))?;
    }
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .map_err(io::Error::from)
        .map_err(at(Step::Helper))?;
    if let Some(user) = &program.user {
        become_user(user).map_err(at(Step::User))?;
    }
    if let Some(directory) = &program.directory {
        std::env::set_current_dir(directory).map_err(at(Step::Directory))?;
    }
    // A change of user takes it back: therefore it comes after that.
    parent.watch(Signal::KILL).map_err(at(Step::Helper))?;
    // Also what this process was started with by others, and does not know of.
    close_fds::set_fds_cloexec(3, &[]);
    Ok(())
}

fn execute(program: Program) -> NotStarted {
    let mut command = program.command.into_iter();
    // A message without a program is none.
    let mut become_it = Command::new(command.next().unwrap_or_default());
    become_it.args(command).env_clear().envs(program.environment);
    #[cfg(not(target_os = "linux"))]
    if let Some(Identity { uid, gid, .. }) = &program.user {
        become_it.gid(*gid).uid(*uid);
    }
    NotStarted::new(Step::Program, &become_it.exec())
}

#[cfg(target_os = "linux")]
fn become_user(Identity { uid, gid, groups }: &Identity) -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    // This process has one thread: what goes for the thread goes for the process.
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Left to the execution of the program.
#[cfg(not(target_os = "linux"))]
fn become_user(_user: &Identity) -> io::Result<()> {
    Ok(())
}
