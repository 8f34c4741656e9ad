//! The names of workers: none is given twice.

use std::hash::{BuildHasher, RandomState};

use sekisho_core::id::{MAX_ID_LENGTH, WorkerId};

/// How many characters follow the hyphen.
const RANDOM_LENGTH: usize = 8;

/// Base32 in lower case (RFC 4648, 6).
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What a worker's name begins with where its profile has none.
const PREFIX: &str = "worker";

/// How often a name is drawn at most. With 2⁴⁰ of them one draw is enough but for chance in a billion.
const MAX_DRAWS: usize = 64;

/// Where names come from.
#[derive(Debug)]
pub(crate) enum WorkerIds {
    /// From chance: eight characters after the profile's name.
    Random(RandomState, u64),
    /// `worker-00000001` and on, for simulations, which have to know names beforehand.
    Numbered(u64),
}

impl WorkerIds {
    pub(crate) fn random() -> Self {
        Self::Random(RandomState::new(), 0)
    }

    pub(crate) fn numbered() -> Self {
        Self::Numbered(0)
    }

    /// The name of a new worker of a profile, different from all that are known. `None` where there is no such name.
    pub(crate) fn next(
        &mut self,
        profile: Option<&str>,
        is_known: impl Fn(&WorkerId) -> bool,
    ) -> Option<WorkerId> {
        let room = MAX_ID_LENGTH - RANDOM_LENGTH - 1;
        let prefix = profile.filter(|name| name.len() <= room).unwrap_or(PREFIX);
        (0..MAX_DRAWS).find_map(|_| self.draw(prefix).filter(|worker_id| !is_known(worker_id)))
    }

    fn draw(&mut self, prefix: &str) -> Option<WorkerId> {
        let name = match self {
            Self::Numbered(last) => {
                *last += 1;
                format!("{PREFIX}-{last:08}")
            }
            Self::Random(state, drawn) => {
                *drawn += 1;
                let bits = state.hash_one(*drawn);
                let character = |index: usize| char::from(ALPHABET[(bits >> (5 * index)) as usize % 32]);
                format!("{prefix}-{}", (0..RANDOM_LENGTH).map(character).collect::<String>())
            }
        };
        name.parse().or_else(|_| name.replacen(prefix, PREFIX, 1).parse()).ok()
    }
}

#[cfg(test)]
mod tests;
