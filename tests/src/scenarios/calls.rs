//! What may become of a command.

mod list;

use super::{Patience, Source, Step, Way};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A read.
    Read,
    /// A stop, which is harmless to repeat.
    Stop,
    /// An input with a key, of a runtime that honours keys.
    Keyed,
    /// An input without a key.
    Change,
}

impl Asked {
    /// Whether repeating it is harmless.
    pub fn is_repeatable(self) -> bool {
        self != Self::Change
    }

    /// Whether it changes anything, so that a failure has an outcome.
    pub fn changes_something(self) -> bool {
        self != Self::Read
    }
}

/// One thing that may happen, and what must come of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What happens, as the table in the documentation says it.
    pub name: &'static str,
    /// The ways by which it may happen.
    pub ways: &'static [Way],
    /// What the runtime does with each connection; with further ones the last again.
    pub connections: Vec<Vec<Step>>,
    /// What is asked.
    pub asked: &'static [Asked],
    /// How often, each time once the runtime has done all that it does without being asked again.
    pub times: usize,
    /// How long an input is.
    pub input: usize,
    /// How much time there is.
    pub patience: Patience,
    /// What the token's source has.
    pub source: Source,
    /// What comes of a command that is harmless to repeat, the last time.
    pub repeatable: End,
    /// What comes of another one.
    pub once: End,
}

/// How a command ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// What went wrong in the end.
    pub fault: Option<Fault>,
    /// After how many attempts.
    pub attempts: u32,
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The code.
    pub code: &'static str,
    /// In which phase.
    pub phase: Option<&'static str>,
    /// Whether a command that changes something may have happened.
    pub outcome: &'static str,
}

/// Every scenario, in the order of the documentation.
pub fn all() -> Vec<Scenario> {
    list::all()
}

const FINE: End = End { fault: None, attempts: 1 };

/// What may follow another attempt.
enum Repeated {
    Always,
    WhereHarmless,
    Never,
}

const EVERY_COMMAND: &[Asked] = &[Asked::Read, Asked::Stop, Asked::Keyed, Asked::Change];

/// What will do where nothing is repeated.
const TWO_COMMANDS: &[Asked] = &[Asked::Read, Asked::Change];

fn scenario(name: &'static str, connections: Vec<Vec<Step>>) -> Scenario {
    Scenario {
        name,
        ways: &[Way::Tcp],
        connections,
        asked: TWO_COMMANDS,
        times: 1,
        input: 5,
        patience: Patience::Ample,
        source: Source::Unchanged,
        repeatable: FINE,
        once: FINE,
    }
}

/// The runtime reads a request, and then does this.
fn answered(name: &'static str, steps: impl IntoIterator<Item = Step>) -> Scenario {
    scenario(name, vec![[Step::Hear].into_iter().chain(steps).collect()])
}

impl Scenario {
    fn over(self, ways: &'static [Way]) -> Self {
        Self { ways, ..self }
    }

    fn short(self) -> Self {
        Self { patience: Patience::Short, ..self }
    }

    fn with_big_input(self) -> Self {
        // More than both ends of a connection buffer, so that some of it is left unsent.
        Self { input: 1 << 20, asked: &[Asked::Keyed, Asked::Change], ..self }
    }

    fn twice(self) -> Self {
        Self { times: 2, ..self }
    }

    fn source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// Ends well, after so many attempts.
    fn recovers(self, attempts: u32) -> Self {
        let end = End { fault: None, attempts };
        Self { repeatable: end, once: end, ..self.of_every_command() }
    }

    fn fails(self, code: &'static str, outcome: &'static str, repeated: Repeated) -> Self {
        self.fails_in(None, code, outcome, repeated)
    }

    fn fails_in(
        self,
        phase: impl Into<Option<&'static str>>,
        code: &'static str,
        outcome: &'static str,
        repeated: Repeated,
    ) -> Self {
        let fault = Some(Fault { code, phase: phase.into(), outcome });
        let end = |attempts| End { fault, attempts };
        match repeated {
            Repeated::Always => Self { repeatable: end(3), once: end(3), ..self.of_every_command() },
            Repeated::WhereHarmless => Self { repeatable: end(3), once: end(1), ..self.of_every_command() },
            Repeated::Never => Self { repeatable: end(1), once: end(1), ..self },
        }
    }

    /// The same, but what is harmless to repeat ends well with the second attempt.
    fn but_repeating_helps(self) -> Self {
        Self { repeatable: End { fault: None, attempts: 2 }, ..self.of_every_command() }
    }

    fn of_every_command(self) -> Self {
        match self.asked == TWO_COMMANDS {
            true => Self { asked: EVERY_COMMAND, ..self },
            false => self,
        }
    }
}
