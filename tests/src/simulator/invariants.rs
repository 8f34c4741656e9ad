//! What must be so in every world, whatever happens in it.

use std::fmt;

use super::clock::Time;

/// A rule that no world may break.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Invariant {
    /// A viewer's frames are the runtime's events in order, each exactly once and as the runtime wrote it.
    FramesInOrder,
    /// A viewer that came without a cursor is shown a snapshot before anything else.
    SnapshotFirst,
    /// Nothing is skipped without `resynchronized` before it, which is said only where there is a reason for it.
    ResynchronizedBeforeJump,
    /// The same event is the same bytes for every viewer and on every replica.
    SameForEverybody,
    /// A stream ends with a diagnostic, and with one that is true.
    TypedEnd,
    /// A cursor is good on every replica that has the key, and nowhere else.
    CursorsHold,
    /// A failure of a command that changes something says whether it may have happened.
    OutcomeStated,
    /// A command that was said not to have been applied never took effect.
    NotApplied,
    /// A command takes effect at most once, unless it is harmless to do it twice.
    AtMostOnce,
    /// A command that succeeded took effect exactly once.
    ExactlyOnce,
    /// Nothing changes on a machine that is not the one that was meant.
    RightMachine,
    /// A call ends within its bounds.
    CallEnds,
    /// What a client is told was asked after it asked.
    Fresh,
    /// A watch makes progress or ends within its bounds.
    WatchProgresses,
    /// Once the network is well, everybody comes to see everything.
    ComesToRest,
    /// No deadline in the past is waited for.
    NoPastDeadline,
    /// Queues, connections, attempts and what is under way stay in their bounds.
    Bounded,
    /// One runtime's faults change no other runtime's results or timing. Nor does what clients and viewers of one runtime
    /// do change them for those of another, or what those of one gateway do for those of another gateway.
    Isolation,
    /// What a runtime with a store has acknowledged is there after a crash, once and as it was written.
    Durable,
    /// A viewer is shown what is new as soon as it can be, however slow the others of the same worker are.
    Prompt,
    /// A credential goes to its own runtime alone.
    CredentialStaysHome,
    /// No secret is shown.
    NothingSecretShown,
    /// Worlds that differ in secrets alone show the same bytes at the same times, and log the same.
    NonInterference,
    /// The same plan gives the same trace.
    Repeatable,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::FramesInOrder,
        Self::SnapshotFirst,
        Self::ResynchronizedBeforeJump,
        Self::SameForEverybody,
        Self::TypedEnd,
        Self::CursorsHold,
        Self::OutcomeStated,
        Self::NotApplied,
        Self::AtMostOnce,
        Self::ExactlyOnce,
        Self::RightMachine,
        Self::CallEnds,
        Self::Fresh,
        Self::WatchProgresses,
        Self::ComesToRest,
        Self::NoPastDeadline,
        Self::Bounded,
        Self::Isolation,
        Self::Durable,
        Self::Prompt,
        Self::CredentialStaysHome,
        Self::NothingSecretShown,
        Self::NonInterference,
        Self::Repeatable,
    ];
}

/// A rule was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When, since the beginning of the world.
    pub at: Time,
    /// How.
    pub facts: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}: {}", self.invariant, self.at, self.facts)
    }
}
