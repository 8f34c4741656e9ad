//! Faults that are planted on purpose, to see them found: rules of the loops around core, each broken in one place.

use super::invariants::Invariant;

/// A rule of the harness that is broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Planted {
    /// The transport reports that nothing was sent when a response was lost.
    FalselyUnsent,
    /// The driver sends an attempt twice.
    SendsTwice,
    /// The transport makes up a success for a request that was lost.
    MakesUpSuccess,
    /// The gateway leaves the outcome out of what it shows.
    DropsOutcome,
    /// A viewer is shown a frame twice.
    RepeatsFrame,
    /// A viewer is not shown a frame.
    SkipsFrame,
    /// A viewer is not shown the snapshot that it begins with.
    SkipsSnapshot,
    /// The driver drops the notice that comes before a jump.
    DropsResynchronized,
    /// A frame says something else to every second viewer.
    ShowsDifferently,
    /// A viewer's stream ends without a word.
    EndsSilently,
    /// A gateway that starts over draws a new cursor key.
    ForgetsKey,
    /// A call's driver sleeps past the deadline.
    OversleepsCall,
    /// A watch's driver sleeps past the deadline.
    OversleepsWatch,
    /// A watch is not told of the frames that come after a reconnect.
    DeafAfterReconnect,
    /// The driver's clock is behind.
    SlowClock,
    /// The feed's ring is larger than it was told.
    UnboundedRing,
    /// Calls are let through although too many are under way.
    UnboundedCalls,
    /// One runtime's bad weather slows the ways to all others.
    SpreadsFaults,
    /// What is under way to one runtime slows the ways to all others.
    SpreadsLoad,
    /// What is under way at one gateway slows the ways of all others.
    SpreadsGateways,
    /// A gateway looks whether runtimes are back when a client asks for something, whatever that is.
    ProbesWithRequests,
    /// Viewers hear of what is new when the slowest of them would have read it.
    WaitsForSlowest,
    /// The transport sends what needs an identified connection over any.
    IgnoresIdentity,
    /// Requests go to another runtime.
    Misdirects,
    /// What a runtime wrote is shown as it is.
    BypassesScrubber,
    /// Responses take the longer, the longer the token is.
    LeaksByTiming,
    /// The log says where a request goes.
    LogsTarget,
    /// Delays follow from something else than the seed.
    TrueChance,
    /// A session's driver does not say that a frame is written.
    ForgetsWritten,
    /// A session's driver does not pass pongs on.
    LosesPongs,
    /// A session's driver does not drop the replay stream.
    KeepsReplay,
    /// A session's driver does not say that the shared stream has ended.
    HidesEnd,
    /// A session's driver does not say that the replay stream has ended.
    HidesReplayEnd,
    /// A shared stream's driver does not wake it.
    KeepsStream,
    /// A read is told what an equal one asked before it.
    JoinsUnderWay,
    /// Those who wait for an exchange of equal reads never have it.
    ForgetsWaiters,
    /// A disk says that it has kept what it has not.
    LosesWrites,
    /// A store takes what was torn for whole.
    KeepsTornWrites,
    /// A store takes what was written last for written twice.
    DoublesWrites,
    /// A disk says that it has kept what it is still writing.
    AcknowledgesEarly,
    /// A full disk says that it has kept what it has no room for.
    FullAcknowledges,
    /// A store forgets what was answered under idempotency keys.
    ForgetsAnswers,
    /// A store does not keep which places may have been given out.
    ReusesPlaces,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 43] = [
        Self::FalselyUnsent,
        Self::SendsTwice,
        Self::MakesUpSuccess,
        Self::DropsOutcome,
        Self::RepeatsFrame,
        Self::SkipsFrame,
        Self::SkipsSnapshot,
        Self::DropsResynchronized,
        Self::ShowsDifferently,
        Self::EndsSilently,
        Self::ForgetsKey,
        Self::OversleepsCall,
        Self::OversleepsWatch,
        Self::DeafAfterReconnect,
        Self::SlowClock,
        Self::UnboundedRing,
        Self::UnboundedCalls,
        Self::SpreadsFaults,
        Self::SpreadsLoad,
        Self::SpreadsGateways,
        Self::ProbesWithRequests,
        Self::WaitsForSlowest,
        Self::IgnoresIdentity,
        Self::Misdirects,
        Self::BypassesScrubber,
        Self::LeaksByTiming,
        Self::LogsTarget,
        Self::TrueChance,
        Self::ForgetsWritten,
        Self::LosesPongs,
        Self::KeepsReplay,
        Self::HidesEnd,
        Self::HidesReplayEnd,
        Self::KeepsStream,
        Self::JoinsUnderWay,
        Self::ForgetsWaiters,
        Self::LosesWrites,
        Self::KeepsTornWrites,
        Self::DoublesWrites,
        Self::AcknowledgesEarly,
        Self::FullAcknowledges,
        Self::ForgetsAnswers,
        Self::ReusesPlaces,
    ];

    /// The rules one of which it breaks first.
    pub fn breaks(self) -> &'static [Invariant] {
        match self {
            Self::FalselyUnsent => &[Invariant::NotApplied, Invariant::AtMostOnce],
            Self::SendsTwice => &[Invariant::AtMostOnce],
            Self::MakesUpSuccess => &[Invariant::ExactlyOnce],
            Self::DropsOutcome => &[Invariant::OutcomeStated],
            Self::RepeatsFrame | Self::SkipsFrame => &[Invariant::FramesInOrder],
            Self::SkipsSnapshot => &[Invariant::SnapshotFirst],
            Self::DropsResynchronized => &[Invariant::ResynchronizedBeforeJump],
            Self::ShowsDifferently => &[Invariant::SameForEverybody],
            Self::EndsSilently | Self::LosesPongs => &[Invariant::TypedEnd],
            Self::ForgetsKey => &[Invariant::CursorsHold],
            Self::OversleepsCall | Self::ForgetsWaiters => &[Invariant::CallEnds],
            Self::JoinsUnderWay => &[Invariant::Fresh],
            Self::OversleepsWatch => &[Invariant::WatchProgresses],
            Self::DeafAfterReconnect | Self::ForgetsWritten | Self::HidesEnd | Self::HidesReplayEnd => {
                &[Invariant::ComesToRest]
            }
            Self::LosesWrites
            | Self::KeepsTornWrites
            | Self::DoublesWrites
            | Self::AcknowledgesEarly
            | Self::FullAcknowledges
            | Self::ReusesPlaces => &[Invariant::Durable, Invariant::FramesInOrder],
            Self::ForgetsAnswers => &[Invariant::Durable],
            Self::SlowClock => &[Invariant::NoPastDeadline],
            Self::UnboundedRing | Self::UnboundedCalls | Self::KeepsReplay | Self::KeepsStream => {
                &[Invariant::Bounded]
            }
            Self::SpreadsFaults | Self::SpreadsLoad | Self::SpreadsGateways | Self::ProbesWithRequests => {
                &[Invariant::Isolation]
            }
            Self::WaitsForSlowest => &[Invariant::Prompt],
            Self::IgnoresIdentity => &[Invariant::RightMachine],
            Self::Misdirects => &[Invariant::CredentialStaysHome],
            Self::BypassesScrubber => &[Invariant::NothingSecretShown],
            Self::LeaksByTiming | Self::LogsTarget => &[Invariant::NonInterference],
            Self::TrueChance => &[Invariant::Repeatable],
        }
    }
}
