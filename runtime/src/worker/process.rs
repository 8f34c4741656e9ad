//! One worker's program, as its thread holds it: the launcher's socket, and the ends of pipes or of the terminal.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::ioctl_fionbio;

use super::output::{Output, Pace};
use super::supervisor::Supervisor;
use super::{NotStarted, ProgramSpec, START_TIMEOUT, Step, terminal};
use crate::launcher::message::{Channel, Message};

/// A program that runs. Dropping it ends it, and all that it started, without waiting for that.
pub(super) struct Process {
    control: Channel,
}

/// What the launcher told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// The program ended with this status of `wait`, and nothing is left of it.
    Ended(i32),
    /// Nothing is left of it, and how it ended is not known: a helper process was killed.
    Lost,
}

/// The ends of pipes, or of the terminal, that are ours. None of them blocks.
pub(super) struct Ends {
    pub(super) input: File,
    pub(super) output: File,
    /// None on a terminal, where there is no difference.
    pub(super) error: Option<File>,
}

/// Both sides of what a program reads and writes.
struct Stdio {
    ours: Ends,
    theirs: Vec<OwnedFd>,
}

impl Process {
    /// Starts a program, and returns when it runs, its process id with it, or when it is known that it does not: after
    /// [`START_TIMEOUT`] at the latest.
    pub(super) fn start(
        spec: &ProgramSpec,
        supervisor: &Supervisor,
    ) -> Result<(Self, Ends, i32), NotStarted> {
        let stdio = Stdio::open(spec)?;
        let start = Message::Start(Box::new(spec.program(std::env::vars_os())));
        // The supervisor may have been killed when it was asked: then there is another by the next time.
        let mut started = Self::ask(&start, &stdio.theirs, supervisor);
        if let Err(None) = started {
            started = Self::ask(&start, &stdio.theirs, supervisor);
        }
        let no_helper = NotStarted { step: Step::Helper, errno: 0 };
        let (process, pid) = started.map_err(|refusal| refusal.unwrap_or(no_helper))?;
        Ok((process, stdio.ours, pid))
    }

    /// There is no reason where the helper process was gone before it could be asked.
    fn ask(
        start: &Message,
        descriptors: &[OwnedFd],
        supervisor: &Supervisor,
    ) -> Result<(Self, i32), Option<NotStarted>> {
        let helper = |error: io::Error| Some(NotStarted::helper(&error));
        let control = supervisor.launcher().map_err(helper)?;
        control.limit(START_TIMEOUT).map_err(helper)?;
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = control.send_with(start, &descriptors);
        // A supervisor that could not start a launcher has told so, though nothing could be sent.
        match control.receive() {
            Ok(Some((Message::Started(pid), _))) => Ok((Self { control }, pid)),
            Ok(Some((Message::NotStarted(refusal), _))) => Err(Some(refusal)),
            Ok(_) => match sent {
                // It cannot have been read, so that nothing was started.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(None),
                Err(error) => Err(helper(error)),
                Ok(()) => Err(Some(NotStarted { step: Step::Helper, errno: 0 })),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let errno = rustix::io::Errno::TIMEDOUT.raw_os_error();
                Err(Some(NotStarted { step: Step::Helper, errno }))
            }
            Err(error) => Err(helper(error)),
        }
    }

    /// Readable when there are news.
    pub(super) fn news_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// What the launcher has told. To be asked when there are news, and not again after that.
    pub(super) fn news(&self) -> News {
        match self.control.receive() {
            Ok(Some((Message::Ended(status), _))) => News::Ended(status),
            _ => News::Lost,
        }
    }

    /// Asks the program and all that it started to end, and ends what is left when this time is over.
    pub(super) fn stop(&self, grace: Duration) {
        self.tell(&Message::Stop(grace));
    }

    /// Ends the program and all that it started.
    pub(super) fn cancel(&self) {
        self.tell(&Message::Cancel);
    }

    /// Interrupts the program's process group.
    pub(super) fn interrupt(&self) {
        self.tell(&Message::Interrupt);
    }

    fn tell(&self, message: &Message) {
        // A launcher that does not hear is gone, which is news.
        let _ = self.control.send(message);
    }
}

impl Stdio {
    fn open(spec: &ProgramSpec) -> Result<Self, NotStarted> {
        match &spec.terminal {
            Some(settings) => {
                let terminal = || {
                    let (ours, theirs) = terminal::open(settings)?;
                    ioctl_fionbio(&ours, true)?;
                    let output = File::from(ours);
                    let ours = Ends { input: output.try_clone()?, output, error: None };
                    io::Result::Ok(Self { ours, theirs: vec![theirs] })
                };
                terminal().map_err(|error| NotStarted::new(Step::Terminal, &error))
            }
            None => Self::pipes().map_err(|error| NotStarted::helper(&error)),
        }
    }

    fn pipes() -> io::Result<Self> {
        let (stdin, input): (PipeReader, PipeWriter) = io::pipe()?;
        let (output, stdout) = io::pipe()?;
        let (error, stderr) = io::pipe()?;
        let ours = Ends {
            input: File::from(OwnedFd::from(input)),
            output: File::from(OwnedFd::from(output)),
            error: Some(File::from(OwnedFd::from(error))),
        };
        for end in [&ours.input, &ours.output].into_iter().chain(&ours.error) {
            ioctl_fionbio(end, true)?;
        }
        Ok(Self { ours, theirs: vec![stdin.into(), stdout.into(), stderr.into()] })
    }
}

/// A stream of output, as long as it is open.
pub(super) struct Stream {
    end: Option<File>,
    pub(super) output: Output,
}

impl Stream {
    pub(super) fn new(end: Option<File>, pace: Pace) -> Self {
        Self { end, output: Output::new(pace) }
    }

    /// What to watch, as long as there can be more.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(AsFd::as_fd)
    }

    /// Reads once: what there was, or nothing at the end of the stream, which is closed by then, or none where there is
    /// nothing yet.
    pub(super) fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let count = match self.end.as_mut()?.read(buffer) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return None;
            }
            // A terminal whose last program is gone says so by an error.
            Err(_) => 0,
        };
        if count == 0 {
            self.end = None;
        }
        buffer.get(..count)
    }
}

/// Writes as much of both as is taken at once, and tells how much that was.
pub(super) fn write_some(end: &mut File, first: &[u8], second: &[u8]) -> io::Result<usize> {
    loop {
        match end.write_vectored(&[io::IoSlice::new(first), io::IoSlice::new(second)]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}
