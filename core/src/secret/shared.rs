//! The ways to all runtimes of a gateway, shared by its registry and by every call and stream that the registry made.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, Scrubber, Token};

/// All of them, as they are now.
///
/// They are one piece for two reasons. A token that is replaced must from then on not come out of a call or stream that
/// was made with the old one. And a runtime may write down another one's secrets, which must not come out either.
#[derive(Clone, Debug)]
pub(crate) struct Accesses(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Grows with each change.
    version: AtomicU64,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    accesses: Vec<Arc<Access>>,
    /// What else must not come out.
    others: Vec<Token>,
}

impl Current {
    fn share_scrubber(&mut self) {
        let all = self.accesses.iter().map(|access| (access.base_url.as_ref(), &access.tokens[..]));
        let scrubber = Scrubber::new(all.chain([(None, &self.others[..])]));
        self.accesses.iter_mut().for_each(|access| Arc::make_mut(access).scrubber = scrubber.clone());
    }
}

impl Accesses {
    pub(crate) fn new(accesses: impl IntoIterator<Item = Access>) -> Self {
        let accesses = accesses.into_iter().map(Arc::new).collect();
        let mut current = Current { accesses, others: Vec::new() };
        current.share_scrubber();
        Self(Arc::new(Shared { version: AtomicU64::new(0), current: Mutex::new(current) }))
    }

    /// One of them, in the order in which they were given.
    pub(crate) fn get(&self, index: usize) -> SharedAccess {
        let current = self.0.current();
        let version = self.0.version.load(Ordering::Acquire);
        SharedAccess { shared: self.0.clone(), index, version, access: current.accesses[index].clone() }
    }

    /// One more; or one of those that are not used, where it led to the same place: a runtime that comes and goes with the
    /// configuration is one all the same. None is ever taken away: what was secret stays it.
    pub(crate) fn add(&self, access: Access, is_used: impl Fn(usize) -> bool) -> SharedAccess {
        let mut current = self.0.current();
        let leads_there = |(index, known): &(usize, &Arc<Access>)| {
            // An access may have another token, but never none again.
            let loses_token = known.has_credential() && !access.has_credential();
            // Few lead to one place, and whether one is used takes a look at all runtimes.
            known.is_same_place(&access) && !loses_token && !is_used(*index)
        };
        let known = current.accesses.iter().enumerate().find(leads_there).map(|(index, _)| index);
        let index = known.unwrap_or(current.accesses.len());
        if known.is_none() {
            current.accesses.push(Arc::new(access.clone()));
            current.share_scrubber();
            self.0.version.fetch_add(1, Ordering::Release);
        }
        drop(current);
        let mut added = self.get(index);
        if let Some(token) = access.token() {
            added.use_token(token.clone());
        }
        added
    }

    /// Takes a secret of the gateway's own out of what runtimes write. One that is hidden already costs nothing more.
    pub(crate) fn hide(&self, token: Token) {
        let mut current = self.0.current();
        if current.others.contains(&token) {
            return;
        }
        current.others.push(token);
        current.share_scrubber();
        self.0.version.fetch_add(1, Ordering::Release);
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access to one runtime, as it was when it was last [refreshed](SharedAccess::refresh).
#[derive(Clone, Debug)]
pub(crate) struct SharedAccess {
    shared: Arc<Shared>,
    index: usize,
    version: u64,
    access: Arc<Access>,
}

impl SharedAccess {
    /// Which of all it is.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Takes over what has changed. Costs next to nothing where nothing has.
    pub(crate) fn refresh(&mut self) {
        let version = self.shared.version.load(Ordering::Acquire);
        if version != self.version {
            self.access = self.shared.current().accesses[self.index].clone();
            self.version = version;
        }
    }

    /// Uses another token from now on, everywhere. Whether it is another one.
    pub(crate) fn use_token(&mut self, token: Token) -> bool {
        let mut current = self.shared.current();
        let is_another = !current.accesses[self.index].has_token(&token);
        if is_another {
            current.accesses[self.index] = Arc::new(current.accesses[self.index].with_token(token));
            current.share_scrubber();
            self.shared.version.fetch_add(1, Ordering::Release);
        }
        drop(current);
        self.refresh();
        is_another
    }
}

impl Deref for SharedAccess {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl From<Access> for SharedAccess {
    fn from(access: Access) -> Self {
        Accesses::new([access]).get(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::REDACTED;

    fn access(base_url: &str, token: &str) -> Access {
        Access::remote(base_url.parse().unwrap(), token.parse().ok())
    }

    #[test]
    fn what_is_secret_about_one_runtime_does_not_come_out_of_another() {
        let accesses = Accesses::new([
            access("http://a.example:1111", "tok-a"),
            access("http://b.example:2222", "tok-b"),
        ]);
        let mut first = accesses.get(0);
        let text = "tok-b at b.example:2222, gate-key";
        assert_eq!(first.scrubber().text(text), format!("{REDACTED} at {REDACTED}, gate-key"));
        accesses.hide("gate-key".parse().unwrap());
        first.refresh();
        assert_eq!(first.scrubber().text(text), format!("{REDACTED} at {REDACTED}, {REDACTED}"));
    }

    #[test]
    fn a_way_that_is_not_used_is_taken_again() {
        let accesses =
            Accesses::new([access("http://a.example", "tok-a"), access("http://b.example", "tok-b")]);
        let mut again = accesses.add(access("http://b.example", "new-b"), |index| index == 0);
        assert_eq!((again.index(), accesses.0.current().accesses.len()), (1, 2));
        assert!(again.has_token(&"new-b".parse().unwrap()));
        assert_eq!(again.scrubber().text("tok-b new-b"), format!("{REDACTED} {REDACTED}"));
        // One that is used may come to have another token than the new one.
        let beside = accesses.add(access("http://b.example", "tok-c"), |_| true);
        assert_eq!(beside.index(), 2);
        again.refresh();
        assert!(again.has_token(&"new-b".parse().unwrap()));
        // What would have to show no token any more is another.
        let without = Access::remote("http://b.example".parse().unwrap(), None);
        assert_eq!(accesses.add(without, |_| false).index(), 3);
    }

    #[test]
    fn a_secret_that_is_hidden_again_and_again_is_kept_once() {
        let accesses = Accesses::new([access("http://a.example", "tok-a")]);
        for _ in 0..10 {
            accesses.hide("gate-key".parse().unwrap());
        }
        assert_eq!(accesses.0.current().others.len(), 1);
    }

    #[test]
    fn a_token_that_is_replaced_is_replaced_everywhere() {
        let accesses =
            Accesses::new([access("http://a.example", "old-a"), access("http://b.example", "tok-b")]);
        let (mut one, mut same, mut other) = (accesses.get(0), accesses.get(0), accesses.get(1));
        assert!(one.use_token("new-a".parse().unwrap()));
        assert!(!same.has_token(&"new-a".parse().unwrap()), "until it looks");
        assert!(!same.use_token("new-a".parse().unwrap()), "one and the same change may be heard of twice");
        other.refresh();
        for access in [&one, &same, &other] {
            assert_eq!(access.scrubber().text("old-a new-a"), format!("{REDACTED} {REDACTED}"));
        }
        assert!(one.has_token(&"new-a".parse().unwrap()) && same.has_token(&"new-a".parse().unwrap()));
        assert!(other.has_token(&"tok-b".parse().unwrap()));
    }
}
