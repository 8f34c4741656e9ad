//! What the runtime and its helper processes say to each other.
//!
//! A message is its length (four bytes, little endian) and its body, which begins with a tag. Descriptors go with the
//! length. Both ends are the same program: a message that does not parse is a fault of ours, and ends the talk.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The most descriptors that go with a message: standard input, output and error.
const MAX_DESCRIPTORS: usize = 3;

/// The longest message, in bytes: over the most that Linux lets arguments and environment have by default.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;

/// What is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    /// To the supervisor, with the socket that it is to have: a launcher is wanted.
    WantLauncher,
    /// To a launcher, and on to its starter, with the worker's standard input, output and error, or its terminal.
    Start(Box<Program>),
    /// To a launcher: ask all that runs to end, and end it when this time is over.
    Stop(Duration),
    /// To a launcher: end all that runs.
    Cancel,
    /// To a launcher: interrupt the program.
    Interrupt,
    /// From a launcher: the program runs, under this process id.
    Started(i32),
    /// There is no program.
    NotStarted(NotStarted),
    /// From a launcher, last: the program ended with this status of `wait`, and nothing is left of it.
    Ended(i32),
    /// From the supervisor: the launcher ended before it could tell how its program did; nothing is left of either.
    Lost,
}

/// What is to be started.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Program {
    /// The program, found on the `PATH` of `environment` where it has no slash, and its arguments.
    pub(crate) command: Vec<OsString>,
    /// All of it.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Where to start it, if not where the runtime is.
    pub(crate) directory: Option<PathBuf>,
    /// As whom, if not as the runtime's user.
    pub(crate) user: Option<Identity>,
    /// Whether the one descriptor that goes with it is a terminal that it is to control.
    pub(crate) has_terminal: bool,
}

/// A user as the kernel knows one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// Why there is no program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotStarted {
    pub(crate) step: Step,
    /// The system's number for the error; 0 where it has none.
    pub(crate) errno: i32,
}

/// What was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Finding a program that can be a helper process: the one that embeds the runtime has not said that it can.
    Embedding,
    /// Everything before the program's turn comes: pipes, descriptors, helper processes.
    Helper,
    /// The terminal.
    Terminal,
    /// Becoming the user.
    User,
    /// Going to the directory.
    Directory,
    /// Executing the program.
    Program,
}

impl NotStarted {
    pub(crate) fn new(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(0) }
    }

    pub(crate) fn helper(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Unsupported => Self::new(Step::Embedding, error),
            _ => Self::new(Step::Helper, error),
        }
    }

    /// Whether it is for want of descriptors, processes, terminals or memory: later there may be some.
    pub(crate) fn is_for_want_of_room(self) -> bool {
        use rustix::io::Errno;
        [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM, Errno::NOSPC]
            .iter()
            .any(|errno| errno.raw_os_error() == self.errno)
    }
}

impl Step {
    const ALL: [Self; 6] =
        [Self::Embedding, Self::Helper, Self::Terminal, Self::User, Self::Directory, Self::Program];
}

const WANT_LAUNCHER: u8 = b'w';
const START: u8 = b's';
const STOP: u8 = b't';
const CANCEL: u8 = b'c';
const INTERRUPT: u8 = b'i';
const STARTED: u8 = b'r';
const NOT_STARTED: u8 = b'n';
const ENDED: u8 = b'e';
const LOST: u8 = b'l';

// The fields of a program.
const ARGUMENT: u8 = b'a';
const NAME: u8 = b'n';
const VALUE: u8 = b'v';
const DIRECTORY: u8 = b'd';
const UID: u8 = b'u';
const GID: u8 = b'g';
const GROUP: u8 = b'G';
const TERMINAL: u8 = b't';

impl Message {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::WantLauncher => vec![WANT_LAUNCHER],
            Self::Start(program) => program.to_bytes(),
            Self::Stop(grace) => {
                let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                [&[STOP][..], &millis.to_le_bytes()].concat()
            }
            Self::Cancel => vec![CANCEL],
            Self::Interrupt => vec![INTERRUPT],
            Self::Started(pid) => [&[STARTED][..], &pid.to_le_bytes()].concat(),
            Self::NotStarted(NotStarted { step, errno }) => {
                let step = Step::ALL.iter().position(|known| known == step).unwrap_or(0) as u8;
                [&[NOT_STARTED, step][..], &errno.to_le_bytes()].concat()
            }
            Self::Ended(status) => [&[ENDED][..], &status.to_le_bytes()].concat(),
            Self::Lost => vec![LOST],
        }
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let (tag, rest) = body.split_first()?;
        let number = |bytes: &[u8]| bytes.try_into().map(i32::from_le_bytes).ok();
        Some(match *tag {
            WANT_LAUNCHER => Self::WantLauncher,
            START => Self::Start(Box::new(Program::parse(rest)?)),
            STOP => Self::Stop(Duration::from_millis(u64::from_le_bytes(rest.try_into().ok()?))),
            CANCEL => Self::Cancel,
            INTERRUPT => Self::Interrupt,
            STARTED => Self::Started(number(rest)?),
            NOT_STARTED => {
                let (step, errno) = rest.split_first()?;
                let step = *Step::ALL.get(usize::from(*step))?;
                Self::NotStarted(NotStarted { step, errno: number(errno)? })
            }
            ENDED => Self::Ended(number(rest)?),
            LOST => Self::Lost,
            _ => return None,
        })
    }
}

impl Program {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![START];
        let mut field = |tag: u8, value: &[u8]| {
            // What does not fit is over the bound on a message, too.
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            bytes.push(tag);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(value);
        };
        self.command.iter().for_each(|argument| field(ARGUMENT, argument.as_bytes()));
        for (name, value) in &self.environment {
            field(NAME, name.as_bytes());
            field(VALUE, value.as_bytes());
        }
        if let Some(directory) = &self.directory {
            field(DIRECTORY, directory.as_os_str().as_bytes());
        }
        if let Some(Identity { uid, gid, groups }) = &self.user {
            field(UID, &uid.to_le_bytes());
            field(GID, &gid.to_le_bytes());
            groups.iter().for_each(|group| field(GROUP, &group.to_le_bytes()));
        }
        if self.has_terminal {
            field(TERMINAL, &[]);
        }
        bytes
    }

    fn parse(mut rest: &[u8]) -> Option<Self> {
        let mut program = Self::default();
        let text = |value: &[u8]| OsString::from_vec(value.to_vec());
        let number = |value: &[u8]| value.try_into().map(u32::from_le_bytes).ok();
        while let Some((tag, after)) = rest.split_first() {
            let (length, after) = after.split_at_checked(4)?;
            let length = usize::try_from(number(length)?).ok()?;
            let (value, after) = after.split_at_checked(length)?;
            rest = after;
            match *tag {
                ARGUMENT => program.command.push(text(value)),
                NAME => program.environment.push((text(value), OsString::new())),
                VALUE => program.environment.last_mut()?.1 = text(value),
                DIRECTORY => program.directory = Some(PathBuf::from(OsStr::from_bytes(value))),
                UID => {
                    program.user = Some(Identity { uid: number(value)?, gid: 0, groups: Vec::new() });
                }
                GID => program.user.as_mut()?.gid = number(value)?,
                GROUP => program.user.as_mut()?.groups.push(number(value)?),
                TERMINAL => program.has_terminal = true,
                _ => return None,
            }
        }
        (!program.command.is_empty()).then_some(program)
    }
}

/// One end of a socket between two of the processes.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: UnixStream,
}

impl Channel {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self { socket }
    }

    /// Two ends of one; the second is for another process.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self { socket: ours }, theirs.into()))
    }

    /// How long a message may take from here on, in either direction.
    pub(crate) fn limit(&self, time: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(time))?;
        self.socket.set_write_timeout(Some(time))
    }

    /// Ends the talk, in both directions and whatever other processes have a copy of this end.
    pub(crate) fn hang_up(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Both)
    }

    /// Says something, and gives these descriptors along.
    pub(crate) fn send_with(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = message.to_bytes();
        if body.len() > MAX_MESSAGE || descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        }
        let length = (body.len() as u32).to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // In one piece where it is short, so that its reader is not left with half of it.
        let sent = loop {
            let slices = [IoSlice::new(&length), IoSlice::new(&body)];
            match sendmsg(&self.socket, &slices, &mut ancillary, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                sent => break sent?,
            }
        };
        let sent_of_body = sent.checked_sub(length.len()).ok_or(io::ErrorKind::WriteZero)?;
        (&self.socket).write_all(body.get(sent_of_body..).unwrap_or_default())
    }

    /// Says something.
    pub(crate) fn send(&self, message: &Message) -> io::Result<()> {
        self.send_with(message, &[])
    }

    /// Waits for what the other end says, and takes the descriptors that come along; `None` when it has hung up.
    pub(crate) fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut length = [0; 4];
        let mut descriptors = Vec::new();
        let count = self.receive_length(&mut length, &mut descriptors)?;
        let Some(missing) = length.get_mut(count..).filter(|_| count > 0) else { return Ok(None) };
        (&self.socket).read_exact(missing)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length];
        (&self.socket).read_exact(&mut body)?;
        let message = Message::parse(&body).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((message, descriptors)))
    }

    fn receive_length(&self, length: &mut [u8; 4], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        #[cfg(target_os = "linux")]
        let flags = RecvFlags::CMSG_CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = RecvFlags::empty();
        let received = loop {
            match recvmsg(&self.socket, &mut [IoSliceMut::new(length)], &mut ancillary, flags) {
                Err(rustix::io::Errno::INTR) => {}
                // The other end went while something of ours was under way to it.
                Err(rustix::io::Errno::CONNRESET) => return Ok(0),
                received => break received?,
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        #[cfg(not(target_os = "linux"))]
        for descriptor in &*descriptors {
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
        }
        Ok(received.bytes)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
