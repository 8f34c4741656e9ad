//! What is going to happen in a world, as plain data: to shrink a world is to leave parts of its plan out.

/// A world before it has begun.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What chance in this world follows from.
    pub seed: u64,
    /// The gateways.
    pub gateways: Vec<GatewayPlan>,
    /// The runtimes.
    pub runtimes: Vec<RuntimePlan>,
    /// The viewers. Each is interested in one worker.
    pub viewers: Vec<ViewerPlan>,
    /// What happens from outside, in the order of time.
    pub steps: Vec<Step>,
}

/// One gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayPlan {
    /// Which cursor key it has: those with the same number are replicas of each other.
    pub key: u8,
    /// How many event loops it has.
    pub loops: usize,
    /// How many frames its feeds keep.
    pub ring: usize,
}

/// One runtime and the way to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuntimePlan {
    /// What it is.
    pub kind: Kind,
    /// How many workers it begins with.
    pub workers: usize,
    /// How long a message takes to it or back, in milliseconds, at least.
    pub latency: u64,
    /// By how much more that may be, in milliseconds.
    pub unevenness: u64,
    /// How many events of a worker it can replay.
    pub backlog: u32,
    /// How many calls may be under way to it.
    pub max_in_flight: usize,
    /// How long to connect may take, in milliseconds.
    pub connect: u64,
    /// How long a response may take, in milliseconds.
    pub response: u64,
    /// For how long a lost stream is tried again, in milliseconds.
    pub give_up_after: u64,
    /// Whether it wants a token.
    pub has_token: bool,
    /// How long its disk takes, where it has one.
    pub sync: SyncTime,
}

/// How long a disk takes to keep something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncTime {
    /// At most so many microseconds, but now and then ten times as long.
    pub micros: u64,
}

/// How a disk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// All is well.
    Well,
    /// There is no room on it.
    Full,
    /// It cannot be written.
    Failing,
}

/// What a runtime is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// One as it is deployed: it knows nothing of idempotency keys.
    Deployed,
    /// The same, but it honours idempotency keys.
    Keyed,
    /// The runtime crate's own, in the gateway's process.
    Embedded,
    /// The runtime crate's own, behind a network.
    Remote,
    /// One that does what it likes and tells what it knows.
    Hostile,
}

impl Kind {
    /// Whether what it says can be relied on.
    pub fn is_honest(self) -> bool {
        self != Self::Hostile
    }

    /// Whether it repeats no command that comes again under the same key.
    pub fn honours_keys(self) -> bool {
        matches!(self, Self::Keyed | Self::Embedded | Self::Remote)
    }

    /// Whether it is the runtime crate's own, with a disk.
    pub fn has_disk(self) -> bool {
        matches!(self, Self::Embedded | Self::Remote)
    }

    /// Whether there is a network in between.
    pub fn is_remote(self) -> bool {
        self != Self::Embedded
    }
}

/// One viewer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewerPlan {
    /// Whose worker it wants to see.
    pub runtime: usize,
    /// Which of the runtime's workers.
    pub worker: usize,
    /// How long it takes over a frame, in milliseconds.
    pub pace: u64,
    /// How often it comes back by itself when it was sent away and may.
    pub returns: u32,
}

/// Something that happens from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When, in milliseconds.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A client asks a gateway.
    Ask {
        /// Which.
        gateway: usize,
        /// About which runtime.
        runtime: usize,
        /// What.
        ask: Ask,
    },
    /// A viewer comes to a gateway, unless it is there already.
    Come {
        /// Who.
        viewer: usize,
        /// Where.
        gateway: usize,
        /// With what.
        with: With,
    },
    /// A viewer leaves.
    Leave(usize),
    /// A viewer takes so many milliseconds over a frame from now on.
    Pace(usize, u64),
    /// Events happen in a worker.
    Publish {
        /// Whose worker.
        runtime: usize,
        /// Which.
        worker: usize,
        /// How many events.
        count: u32,
        /// How many characters there are in the text of each.
        size: usize,
    },
    /// The network to a runtime changes.
    Weather(usize, Weather),
    /// The streams of a runtime break.
    Break(usize, Breakage),
    /// The runtime ends its streams for a reason of its own.
    EndStreams(usize, &'static str),
    /// So many of the next streams of the runtime end as soon as they have begun.
    Ail(usize, u32),
    /// So many events come twice in the next stream of the runtime that is resumed.
    Repeat(usize, u32),
    /// The runtime's workers take no input for the time being, or do again.
    Busy(usize, bool),
    /// Each of two base URLs leads to the other's machine from now on.
    Swap(usize, usize),
    /// The runtime starts over.
    Restart {
        /// Which.
        runtime: usize,
        /// Whether it keeps its state.
        keeps_state: bool,
        /// Whether its first workers are there again.
        recreates: bool,
    },
    /// The runtime is stopped: it takes no commands.
    Stop(usize),
    /// The runtime wants another token from now on.
    Rotate(usize),
    /// The gateways' file has the token that the runtime wants.
    WriteToken(usize),
    /// A gateway starts over.
    Crash(usize),
    /// How a runtime's disk is from now on.
    Disk(usize, Disk),
}

/// What a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// For all runtimes.
    Runtimes,
    /// For all workers.
    AllWorkers,
    /// For the runtime.
    Runtime,
    /// For its workers.
    Workers,
    /// For one of them.
    Worker(usize),
    /// For what was said in one.
    Transcript(usize),
    /// For a new one.
    Create {
        /// Whether under a key.
        keyed: bool,
    },
    /// For one to be told something.
    Input {
        /// Which.
        worker: usize,
        /// Whether under a key.
        keyed: bool,
    },
    /// For the last input under a key to be sent again, as it was or with something else in it.
    Again {
        /// Whether it is the same.
        same: bool,
    },
    /// For one to be stopped.
    Stop(usize),
    /// For one to be cancelled.
    Cancel(usize),
    /// For something that there is not.
    Nonsense(u8),
}

/// With what a viewer comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum With {
    /// With nothing.
    Nothing,
    /// With the last cursor that it has seen.
    Last,
    /// With one that it saw so many frames before.
    Earlier(usize),
    /// With the last cursor, a character of which has changed.
    Damaged,
    /// With a cursor that a viewer saw of another worker.
    Foreign,
}

/// How it is between the gateways and a runtime.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Weather {
    /// All is well.
    Fair,
    /// The process is not there.
    Down,
    /// Its name does not resolve.
    Unresolved,
    /// Its certificate is not trusted.
    Untrusted,
    /// Nothing gets through in either direction, without an error at either end.
    Partition,
    /// Requests are lost on their way.
    LosesRequests,
    /// Responses are lost on their way.
    LosesResponses,
    /// Nothing gets through before the weather changes.
    Stall,
    /// Bodies are cut short.
    Cuts,
    /// What comes is not HTTP.
    Garbles,
    /// Bodies are beyond all bounds.
    Floods,
    /// Bodies come a byte at a time.
    Drips,
    /// Attempts are never reported.
    Hangs,
    /// A proxy answers in the runtime's place.
    Proxy(u16),
    /// A proxy loses the runtime half-way, and answers in its place.
    LateProxy(u16),
    /// Now this and now that.
    Changeable,
}

/// How streams break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breakage {
    /// After all that is on its way.
    Orderly,
    /// What is on its way is lost.
    Abrupt,
    /// Without an error at either end.
    Silent,
    /// With something that is not WebSocket.
    Garbled,
    /// With a frame that is too large.
    TooLarge,
}

impl What {
    /// The runtime that it is a fault of, if it is one: a step without which nothing may change for other runtimes.
    pub fn is_fault_of(self) -> Option<usize> {
        match self {
            Self::Weather(runtime, _)
            | Self::Break(runtime, _)
            | Self::EndStreams(runtime, _)
            | Self::Ail(runtime, _)
            | Self::Repeat(runtime, _)
            | Self::Busy(runtime, _)
            | Self::Restart { runtime, .. }
            | Self::Stop(runtime)
            | Self::Rotate(runtime)
            | Self::Disk(runtime, _) => Some(runtime),
            _ => None,
        }
    }
}

impl Ask {
    /// Whether it is about one runtime.
    pub fn is_about_one(self) -> bool {
        !matches!(self, Self::Runtimes | Self::AllWorkers | Self::Nonsense(_))
    }

    /// Whether something is different once it is done.
    pub fn changes_something(self) -> bool {
        matches!(
            self,
            Self::Create { .. } | Self::Input { .. } | Self::Again { .. } | Self::Stop(_) | Self::Cancel(_)
        )
    }
}

impl Plan {
    /// Whether a viewer may ever come to a gateway like this. One that comes back by itself comes to any.
    pub fn comes(&self, who: usize, to: impl Fn(usize) -> bool) -> bool {
        let comes = |what| matches!(what, What::Come { viewer, gateway, .. } if viewer == who && to(gateway));
        self.viewers[who].returns > 0 || self.steps.iter().any(|step| comes(step.what))
    }
}
