//! What really happened: kept by the runtimes themselves, and never asked of the gateway.

/// Names a command of a client: its number stands in what the command says.
pub(super) type CommandId = usize;

/// A place as a runtime itself knows it: in which of its lives, and after how many of a worker's events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct At {
    pub(super) life: u32,
    pub(super) index: u32,
}

/// What became of all commands at the runtimes.
#[derive(Default)]
pub(super) struct Ledger {
    effects: Vec<Effect>,
}

/// What became of one command.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Effect {
    /// How often it took effect on the state that there is.
    pub(super) standing: u32,
    /// How often it took effect on state that has been lost since.
    pub(super) undone: u32,
    /// At which runtime it last did.
    pub(super) runtime: usize,
}

impl Effect {
    /// Whether it ever took effect.
    pub(super) fn ever(self) -> bool {
        self.standing + self.undone > 0
    }
}

impl Ledger {
    /// A command took effect.
    pub(super) fn applied(&mut self, runtime: usize, command: CommandId) {
        if self.effects.len() <= command {
            self.effects.resize_with(command + 1, Effect::default);
        }
        let effect = &mut self.effects[command];
        effect.runtime = runtime;
        effect.standing += 1;
    }

    /// A runtime lost its state.
    pub(super) fn lost(&mut self, runtime: usize) {
        for effect in self.effects.iter_mut().filter(|effect| effect.runtime == runtime) {
            effect.undone += std::mem::take(&mut effect.standing);
        }
    }

    /// What a command did was lost with what had not come to a disk.
    pub(super) fn undo(&mut self, command: CommandId) {
        if let Some(effect) = self.effects.get_mut(command).filter(|effect| effect.standing > 0) {
            effect.standing -= 1;
            effect.undone += 1;
        }
    }

    /// What a command did was taken back before it was answered: it is as if it never had been.
    pub(super) fn take_back(&mut self, command: CommandId) {
        if let Some(effect) = self.effects.get_mut(command) {
            effect.standing = effect.standing.saturating_sub(1);
        }
    }

    pub(super) fn effect(&self, command: CommandId) -> Effect {
        self.effects.get(command).copied().unwrap_or_default()
    }
}

/// How a command calls itself in what it says.
pub(super) fn name(command: CommandId) -> String {
    format!("c{command}.")
}

/// The command that a text is of.
pub(super) fn named(text: &str) -> Option<CommandId> {
    text.strip_prefix('c')?.split_once('.')?.0.parse().ok()
}
