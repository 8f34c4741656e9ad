//! Sealed cursors: a runtime's place in a worker's stream, for browsers to keep and not to read.
//!
//! A cursor is the place under deterministic authenticated encryption (AES-SIV, RFC 5297) with the names of runtime and
//! worker as associated data. There is no table of cursors: any replica that has the key can open them, before
//! and after a restart. The same place gives the same cursor everywhere.
//!
//! ```text
//! base64url( version 1 │ key's number 4 │ synthetic IV 16 │ sealed place n │ checksum 4 )
//! ```
//!
//! The checksum keeps apart what was damaged on its way, which no key can ever open, from what was sealed under another
//! key, which another gateway might.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use subtle::ConstantTimeEq;

use crate::id::WorkerRef;

/// The longest place that is sealed, in bytes.
pub const MAX_UPSTREAM_CURSOR: usize = 512;

/// The longest cursor that is looked at, in characters.
pub const MAX_CURSOR: usize = 1024;

const VERSION: u8 = 1;
const KEY_NUMBER: usize = 4;
const SYNTHETIC_IV: usize = 16;
const CHECKSUM: usize = 4;

/// A runtime's own cursor. Places order nothing: they are compared for equality. Cheap to clone.
#[derive(Clone, Eq)]
pub struct UpstreamCursor {
    /// Of the text, the same in each run: to look it up by, and to tell two apart that begin alike.
    hash: u64,
    text: Arc<str>,
}

impl UpstreamCursor {
    /// `None` for a place longer than [`MAX_UPSTREAM_CURSOR`], and for none at all.
    pub fn new(cursor: &str) -> Option<Self> {
        (1..=MAX_UPSTREAM_CURSOR).contains(&cursor.len()).then(|| {
            let mut hasher = DefaultHasher::new();
            hasher.write(cursor.as_bytes());
            Self { hash: hasher.finish(), text: cursor.into() }
        })
    }

    /// The cursor as the runtime wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for UpstreamCursor {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(test)]
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.hash == other.hash && self.text == other.text
    }
}

impl Ord for UpstreamCursor {
    /// An order to search by, which means nothing: that of the hashes, and of the texts where two have the same. A runtime
    /// that finds such cursors makes its own stream slower, and nothing wrong.
    fn cmp(&self, other: &Self) -> Ordering {
        self.hash.cmp(&other.hash).then_with(|| {
            #[cfg(test)]
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.text.cmp(&other.text)
        })
    }
}

impl PartialOrd for UpstreamCursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for UpstreamCursor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

// How often this thread has compared two cursors: a test bounds what a search costs by it.
#[cfg(test)]
thread_local! {
    pub(crate) static COMPARISONS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl fmt::Debug for UpstreamCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamCursor")
    }
}

/// The gateway's key: 64 bytes that replicas of a gateway share. Prints nothing.
#[derive(Clone)]
pub struct CursorKey([u8; CursorKey::LENGTH]);

/// Not 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a cursor key is {} hexadecimal digits", CursorKey::LENGTH * 2)]
pub struct InvalidCursorKey;

impl CursorKey {
    /// How long a key is, in bytes: AES-256-SIV takes two of AES-256.
    pub const LENGTH: usize = 64;

    /// A key of these bytes, which must come from a good random source.
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Whether cursors that one has sealed open with the other.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(&other.0).into()
    }

    /// The key as a file holds it.
    pub fn to_hex(&self) -> String {
        HEXLOWER_PERMISSIVE.encode(&self.0)
    }
}

impl FromStr for CursorKey {
    type Err = InvalidCursorKey;

    /// Takes a key as a file holds it: white space around it is not part of it.
    fn from_str(text: &str) -> Result<Self, InvalidCursorKey> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.trim_ascii().as_bytes()).map_err(|_| InvalidCursorKey)?;
        Ok(Self(bytes.try_into().map_err(|_| InvalidCursorKey)?))
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey")
    }
}

/// Why a cursor cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CursorError {
    /// Not a cursor, or one that was tampered with, or that belongs to another runtime or worker.
    Malformed,
    /// A cursor, but sealed under another key.
    Unknown,
}

/// Seals and opens the cursors of one worker.
pub struct Sealer {
    siv: Aes256Siv,
    key_number: [u8; KEY_NUMBER],
    worker: WorkerRef,
    /// Where a cursor is put together.
    scratch: Vec<u8>,
}

impl Sealer {
    /// A sealer for this worker's cursors.
    pub fn new(key: &CursorKey, worker: WorkerRef) -> Self {
        let mut siv = Aes256Siv::new(&key.0.into());
        let mut key_number = [0; KEY_NUMBER];
        let tag = encrypt(&mut siv, &[b"sekisho cursor key"], b"");
        key_number.copy_from_slice(&tag[..KEY_NUMBER]);
        Self { siv, key_number, worker, scratch: Vec::new() }
    }

    /// The cursor for a place: the same for the same place, whenever and wherever it is sealed.
    pub fn seal(&mut self, place: &UpstreamCursor) -> String {
        let mut cursor = String::new();
        self.seal_into(place, &mut cursor);
        cursor
    }

    /// The same, at the end of a text.
    pub(crate) fn seal_into(&mut self, place: &UpstreamCursor, text: &mut String) {
        let Self { siv, key_number, worker, scratch } = self;
        scratch.clear();
        scratch.push(VERSION);
        scratch.extend_from_slice(key_number);
        scratch.extend_from_slice(&[0; SYNTHETIC_IV]);
        scratch.extend_from_slice(place.as_str().as_bytes());
        let (head, sealed) = scratch.split_at_mut(1 + KEY_NUMBER + SYNTHETIC_IV);
        // It fails with more than 126 pieces of associated data alone, and there are two.
        let iv = siv
            .encrypt_inout_detached(associated(worker), sealed.into())
            .expect("few pieces of associated data");
        head[1 + KEY_NUMBER..].copy_from_slice(&iv);
        let check = checksum(scratch);
        scratch.extend_from_slice(&check);
        BASE64URL_NOPAD.encode_append(scratch, text);
    }

    /// The place that a cursor stands for.
    pub fn open(&mut self, cursor: &str) -> Result<UpstreamCursor, CursorError> {
        if cursor.len() > MAX_CURSOR {
            return Err(CursorError::Malformed);
        }
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| CursorError::Malformed)?;
        let (bytes, check) = bytes.split_last_chunk::<CHECKSUM>().ok_or(CursorError::Malformed)?;
        let (key_number, sealed) = match bytes.split_first_chunk::<{ 1 + KEY_NUMBER }>() {
            Some(([VERSION, key_number @ ..], sealed)) if checksum(bytes) == *check => (key_number, sealed),
            _ => return Err(CursorError::Malformed),
        };
        if *key_number != self.key_number {
            return Err(CursorError::Unknown);
        }
        let place = self.siv.decrypt(associated(&self.worker), sealed).map_err(|_| CursorError::Malformed)?;
        let place = std::str::from_utf8(&place).map_err(|_| CursorError::Malformed)?;
        UpstreamCursor::new(place).ok_or(CursorError::Malformed)
    }
}

fn associated(worker: &WorkerRef) -> [&[u8]; 2] {
    [worker.runtime_id.as_str().as_bytes(), worker.worker_id.as_str().as_bytes()]
}

fn encrypt(siv: &mut Aes256Siv, associated: &[&[u8]], plain: &[u8]) -> Vec<u8> {
    // It fails with more than 126 pieces of associated data alone, and there are two.
    siv.encrypt(associated, plain).expect("few pieces of associated data")
}

/// FNV-1a of 32 bits: every change of a single byte changes it.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811C_9DC5, fold).to_be_bytes()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("worker", &self.worker).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(key: u8, runtime_id: &str, worker_id: &str) -> Sealer {
        let worker =
            WorkerRef { runtime_id: runtime_id.parse().unwrap(), worker_id: worker_id.parse().unwrap() };
        Sealer::new(&CursorKey::from_bytes([key; CursorKey::LENGTH]), worker)
    }

    fn place(text: &str) -> UpstreamCursor {
        UpstreamCursor::new(text).unwrap()
    }

    #[test]
    fn every_fault_has_its_name() {
        let cursor = sealer(1, "r", "w").seal(&place("wo_0000000000000013"));
        assert_eq!(sealer(1, "r", "w").open(&cursor), Ok(place("wo_0000000000000013")));
        assert_eq!(sealer(2, "r", "w").open(&cursor), Err(CursorError::Unknown));
        assert_eq!(sealer(1, "r", "v").open(&cursor), Err(CursorError::Malformed));
        assert_eq!(sealer(1, "s", "w").open(&cursor), Err(CursorError::Malformed));
        let long = "A".repeat(MAX_CURSOR + 1);
        for cursor in ["", "A", "wo_0000000000000013", "関所", "AAAAAAAAAAAA", &format!("{cursor}="), &long]
        {
            assert_eq!(sealer(1, "r", "w").open(cursor), Err(CursorError::Malformed), "{cursor}");
        }
    }

    #[test]
    fn cursors_outlive_versions_of_this_code() {
        assert_eq!(sealer(1, "r", "w").seal(&place("wo_1")), "AdOpbV8nuk3zasUDNLywqJIYDmJh_B2ag4zsuNI");
    }

    #[test]
    fn keys_are_hexadecimal() {
        let key = CursorKey::from_bytes([0xA5; CursorKey::LENGTH]);
        assert_eq!(format!("{}\n", key.to_hex()).parse::<CursorKey>().unwrap().0, key.0);
        for text in ["", "a5", &"a5".repeat(63), &"a5".repeat(65), &"zz".repeat(64)] {
            assert_eq!(text.parse::<CursorKey>().map(|_| ()), Err(InvalidCursorKey), "{text}");
        }
    }

    #[test]
    fn places_are_bounded() {
        assert!(
            UpstreamCursor::new("").is_none()
                && UpstreamCursor::new(&"x".repeat(MAX_UPSTREAM_CURSOR + 1)).is_none()
        );
        let longest = sealer(1, "r", "w").seal(&place(&"x".repeat(MAX_UPSTREAM_CURSOR)));
        assert!(longest.len() <= MAX_CURSOR, "{}", longest.len());
    }

    proptest! {
        #[test]
        fn any_place_comes_back_and_any_flipped_bit_is_noticed(
            text in "\\PC{1,64}",
            byte in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut sealer = sealer(7, "runtime", "worker");
            let cursor = sealer.seal(&place(&text));
            prop_assert_eq!(sealer.open(&cursor), Ok(place(&text)));
            let mut bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap();
            *byte.get_mut(&mut bytes) ^= 1 << bit;
            prop_assert_eq!(sealer.open(&BASE64URL_NOPAD.encode(&bytes)), Err(CursorError::Malformed));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = sealer(7, "runtime", "worker").open(&text);
        }
    }
}
