//! Answers that are kept so that a repeated command is answered, not repeated.
//!
//! Only successes are kept. A refusal changed nothing, so asking again under the same key is harmless and may
//! well succeed: a busy worker takes the input a moment later.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use sekisho_core::runtime_api::{IdempotencyKey, Reply};

/// How many answers are kept; the oldest goes first.
pub(crate) const MAX_ANSWERS: usize = 4096;

/// How long an answer is kept.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Stands for a request's method, path and body. Two hashes under keys of this process: nobody outside can aim
/// for a collision, and by chance there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fingerprint(u64, u64);

/// Takes fingerprints.
#[derive(Default)]
pub(crate) struct Fingerprints(RandomState, RandomState);

impl Fingerprints {
    pub(crate) fn of(&self, request: &Request<Bytes>) -> Fingerprint {
        let hash = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            for part in
                [request.method().as_str().as_bytes(), request.uri().path().as_bytes(), request.body()]
            {
                // The length keeps what ends one part from beginning the next.
                hasher.write_usize(part.len());
                hasher.write(part);
            }
            hasher.finish()
        };
        Fingerprint(hash(&self.0), hash(&self.1))
    }
}

/// The same key was used for something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Conflict;

struct Answer {
    fingerprint: Fingerprint,
    reply: Reply,
}

/// The kept answers.
#[derive(Default)]
pub(crate) struct Answers {
    by_key: BTreeMap<IdempotencyKey, Answer>,
    by_age: VecDeque<(Instant, IdempotencyKey)>,
}

impl Answers {
    /// What was answered to this very command under this key, if it still is known at `now`.
    pub(crate) fn recall(
        &mut self,
        now: Instant,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
    ) -> Result<Option<Reply>, Conflict> {
        self.forget(|at, _| now.saturating_duration_since(at) >= MAX_AGE);
        match self.by_key.get(key) {
            None => Ok(None),
            Some(answer) if answer.fingerprint == fingerprint => Ok(Some(answer.reply.clone())),
            Some(_) => Err(Conflict),
        }
    }

    /// Keeps the answer to a command whose key [`recall`](Self::recall) did not know.
    pub(crate) fn keep(&mut self, now: Instant, key: IdempotencyKey, fingerprint: Fingerprint, reply: Reply) {
        if self.by_key.insert(key.clone(), Answer { fingerprint, reply }).is_none() {
            self.by_age.push_back((now, key));
        }
        self.forget(|_, kept| kept > MAX_ANSWERS);
    }

    fn forget(&mut self, too_much: impl Fn(Instant, usize) -> bool) {
        while self.by_age.front().is_some_and(|(at, _)| too_much(*at, self.by_age.len())) {
            if let Some((_, key)) = self.by_age.pop_front() {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        text.parse().unwrap()
    }

    fn reply() -> Reply {
        Reply::Workers(Vec::new())
    }

    const A: Fingerprint = Fingerprint(1, 1);
    const B: Fingerprint = Fingerprint(1, 2);

    #[test]
    fn a_key_stands_for_one_command() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        assert_eq!(answers.recall(now, &key("k"), A), Ok(None));
        answers.keep(now, key("k"), A, reply());
        assert_eq!(answers.recall(now, &key("k"), A), Ok(Some(reply())));
        assert_eq!(answers.recall(now, &key("k"), B), Err(Conflict));
        assert_eq!(answers.recall(now, &key("K"), B), Ok(None));
    }

    #[test]
    fn answers_age() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        answers.keep(now, key("a"), A, reply());
        answers.keep(now + MAX_AGE / 2, key("b"), A, reply());
        assert_eq!(answers.recall(now + MAX_AGE, &key("a"), B), Ok(None));
        assert_eq!(answers.recall(now + MAX_AGE, &key("b"), A), Ok(Some(reply())));
        assert_eq!((answers.by_key.len(), answers.by_age.len()), (1, 1));
    }

    #[test]
    fn answers_are_bounded() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        for number in 0..=MAX_ANSWERS {
            answers.keep(now, key(&number.to_string()), A, reply());
        }
        assert_eq!((answers.by_key.len(), answers.by_age.len()), (MAX_ANSWERS, MAX_ANSWERS));
        assert_eq!(answers.recall(now, &key("0"), A), Ok(None));
        assert_eq!(answers.recall(now, &key("1"), A), Ok(Some(reply())));
    }

    #[test]
    fn fingerprints_tell_parts_apart() {
        let prints = Fingerprints::default();
        let of = |method: &str, path: &str, body: &'static str| {
            prints.of(&Request::builder().method(method).uri(path).body(Bytes::from(body)).unwrap())
        };
        let first = of("POST", "/v1/workers", "{}");
        assert_eq!(first, of("POST", "/v1/workers", "{}"));
        for other in [
            of("PUT", "/v1/workers", "{}"),
            of("POST", "/v1/worker", "s{}"),
            of("POST", "/v1/workers", "{ }"),
        ] {
            assert_ne!(first, other);
        }
    }
}
