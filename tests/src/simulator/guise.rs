//! Where runtimes are and what lets one in: what two worlds may differ in without anybody being able to tell.

use std::cell::RefCell;
use std::collections::BTreeMap;

use sekisho_core::secret::Access;
use sekisho_core::transport::Target;

use super::chance::Chance;

/// How many tokens a runtime has over time, at most.
pub(super) const TOKENS: usize = 3;

thread_local! {
    /// Ways that were made before: what takes their secrets out of texts takes longer to make than many a world to run.
    static WAYS: RefCell<BTreeMap<(String, Option<String>), Access>> = const { RefCell::new(BTreeMap::new()) };
}

/// In which of the two guises a world appears.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Guise {
    /// Short addresses and tokens.
    #[default]
    Plain,
    /// Other ones, of other lengths.
    Other,
}

/// What is secret about one runtime.
#[derive(Clone)]
pub(super) struct Secrets {
    pub(super) base_url: String,
    pub(super) authority: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) prefix: String,
    /// Each is followed by the next; empty for a runtime that wants none.
    pub(super) tokens: Vec<String>,
}

impl Secrets {
    /// The secrets of the runtime with this number.
    ///
    /// Guises differ in every character and every length, and in nothing that decides anything: both have a port, a
    /// token and a path or neither has. A host is a dotted name or an address in both: a bare word is no secret, because
    /// it is a word of any language before it is a host.
    pub(super) fn of(seed: u64, runtime: usize, has_token: bool, guise: Guise) -> Self {
        // Few ways in, so that the tables that take them out of texts need not be made for each world.
        let variety = Chance::of(seed, 7 + runtime as u64).below(4);
        let number = variety * 4 + runtime as u64;
        let has_prefix = variety.is_multiple_of(2);
        let (scheme, host, port, prefix) = match guise {
            Guise::Plain => ("http", format!("10.7.{variety}.{}", 20 + runtime), 7700 + number, "/r"),
            Guise::Other => (
                "https",
                format!("box-{variety}-{runtime}.rack.machines.example"),
                40_100 + number * 3,
                "/behind/some/proxy",
            ),
        };
        let prefix = if has_prefix { prefix } else { "" };
        let length = match guise {
            Guise::Plain => 12 + number as usize,
            Guise::Other => 40 + 3 * number as usize,
        };
        let mut letters = Chance::of(number, 1000 + guise as u64);
        let mut token = |_| -> String {
            (0..length).map(|_| char::from(letters.pick(b"QXZJKVqxzjkv0123456789+/=\\\"%"))).collect()
        };
        Self {
            base_url: format!("{scheme}://{host}:{port}{prefix}"),
            authority: format!("{host}:{port}"),
            host,
            port: u16::try_from(port).unwrap_or(u16::MAX),
            prefix: prefix.to_owned(),
            tokens: (0..if has_token { TOKENS } else { 0 }).map(&mut token).collect(),
        }
    }

    /// The token with this number; the last is never followed by another.
    pub(super) fn token(&self, number: usize) -> Option<&str> {
        self.tokens.get(number).or(self.tokens.last()).map(String::as_str)
    }

    /// The way there, with the token of this number.
    pub(super) fn access(&self, token: usize) -> Access {
        let token = self.token(token);
        let way = (self.base_url.clone(), token.map(str::to_owned));
        WAYS.with_borrow_mut(|ways| {
            let access = ways.entry(way).or_insert_with(|| {
                let token = token.and_then(|token| token.parse().ok());
                Access::remote(self.base_url.parse().unwrap(), token)
            });
            access.clone()
        })
    }

    /// Whether a transport that goes to this target comes to this runtime.
    pub(super) fn is_at(&self, target: &Target) -> bool {
        matches!(target, Target::Tcp { host, port, .. } if **host == *self.host && *port == self.port)
    }

    /// The first secret that stands in these bytes as it is.
    pub(super) fn found_in(&self, shown: &[u8]) -> Option<&str> {
        let secrets = self.tokens.iter().chain([&self.authority, &self.host]);
        secrets.map(String::as_str).find(|secret| contains(shown, secret.as_bytes()))
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window[0] == part[0] && window == part)
}
