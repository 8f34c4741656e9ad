//! Answers that are kept so that a repeated command is answered, not repeated.
//!
//! Only successes are kept. A refusal changed nothing, so asking again under the same key is harmless and may
//! well succeed: a busy worker takes the input a moment later.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::IdempotencyKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::shares::Shares;
use crate::timestamp::Timestamp;

/// How long an answer is kept.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many answers are kept to commands about one worker, and how many to creates; the oldest goes first. What one
/// worker's clients send pushes out no answer about another.
pub(crate) const MAX_ANSWERS: usize = 1024;

/// How much memory all answers take at most, in bytes. Beyond it the worker with the most loses its oldest.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// What an answer takes beside its body and its key, in bytes.
const ANSWER_COST: usize = 512;

/// Stands for a request's method, path and body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request.
    pub fn of(request: &Request<Bytes>) -> Self {
        let mut hash = Sha256::new();
        for part in [request.method().as_str().as_bytes(), request.uri().path().as_bytes(), request.body()] {
            // The length keeps what ends one part from beginning the next.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// An answer with what it answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptAnswer {
    /// The request's key.
    pub key: IdempotencyKey,
    /// The request.
    pub fingerprint: Fingerprint,
    /// When it was answered. It is kept for a day.
    pub at: Timestamp,
    /// The worker that it was about; `None` for a create.
    pub worker_id: Option<WorkerId>,
    /// The JSON body of the answer, whose status is 200. `None` takes back the answer that was kept under the key:
    /// what it said has turned out not to be so.
    pub body: Option<Bytes>,
}

impl KeptAnswer {
    fn size(&self) -> usize {
        ANSWER_COST + self.body.as_ref().map_or(0, Bytes::len) + IdempotencyKey::MAX_LENGTH
    }
}

/// The same key was used for something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Conflict;

/// Answers that are bounded together.
type Scope = Option<WorkerId>;

/// The kept answers.
pub(crate) struct Answers {
    by_key: BTreeMap<IdempotencyKey, KeptAnswer>,
    /// Oldest first. A key that is not in `by_key` any more is passed over.
    by_scope: BTreeMap<Scope, VecDeque<IdempotencyKey>>,
    shares: Shares<Scope>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_scope: BTreeMap::new(), shares: Shares::new(MAX_BYTES) }
    }
}

impl Answers {
    /// What was answered to this very command under this key, if it still is known at `now`.
    pub(crate) fn recall(
        &mut self,
        now: Timestamp,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
    ) -> Result<Option<Bytes>, Conflict> {
        match self.by_key.get(key) {
            Some(answer) if answer.at.age(now) >= MAX_AGE => {
                self.remove(key);
                Ok(None)
            }
            None => Ok(None),
            Some(answer) if answer.fingerprint == fingerprint => Ok(answer.body.clone()),
            Some(_) => Err(Conflict),
        }
    }

    /// Keeps the answer to a command in place of what was kept under its key, or takes that back.
    pub(crate) fn keep(&mut self, answer: KeptAnswer) {
        let (key, scope) = (answer.key.clone(), answer.worker_id.clone());
        self.remove(&key);
        if answer.body.is_none() {
            return;
        }
        let bytes = self.shares.of(&scope) + answer.size();
        self.by_key.insert(key.clone(), answer);
        let keys = self.by_scope.entry(scope.clone()).or_default();
        keys.push_back(key);
        let is_over = keys.len() > MAX_ANSWERS;
        self.shares.set(&scope, bytes);
        if is_over {
            self.remove_oldest(&scope);
        }
        while let Some(reduction) = self.shares.reduction(&[]) {
            while self.shares.of(&reduction.owner) > reduction.max_bytes {
                if !self.remove_oldest(&reduction.owner) {
                    return;
                }
            }
        }
    }

    fn remove(&mut self, key: &IdempotencyKey) {
        let Some(answer) = self.by_key.remove(key) else { return };
        let scope = &answer.worker_id;
        self.shares.set(scope, self.shares.of(scope) - answer.size());
        if let Some(keys) = self.by_scope.get_mut(scope) {
            keys.retain(|kept| kept != key);
        }
    }

    /// Forgets all answers about a worker.
    pub(crate) fn forget(&mut self, worker_id: &WorkerId) {
        let scope = Some(worker_id.clone());
        for key in self.by_scope.remove(&scope).unwrap_or_default() {
            self.by_key.remove(&key);
        }
        self.shares.remove(&scope);
    }

    fn remove_oldest(&mut self, scope: &Scope) -> bool {
        let oldest = self.by_scope.get(scope).and_then(|keys| keys.front().cloned());
        if let Some(key) = &oldest {
            self.remove(key);
        }
        oldest.is_some()
    }
}

#[cfg(test)]
mod tests;
