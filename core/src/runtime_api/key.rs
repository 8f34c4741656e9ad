//! Keys that make repeating a command harmless.

use std::fmt;
use std::str::FromStr;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Names one command over all its repetitions: 1 to 128 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Box<str>);

/// Not 1 to 128 visible ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an idempotency key is 1 to {} visible ASCII characters", IdempotencyKey::MAX_LENGTH)]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// The header that carries a key.
    pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

    /// The key as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        // Visible ASCII: `from_str` let nothing else in.
        HeaderValue::from_str(&self.0).expect("visible ASCII")
    }

    /// The key in a request's headers, if there is one.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidIdempotencyKey> {
        let mut values = headers.get_all(Self::HEADER).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map_err(|_| InvalidIdempotencyKey)?.parse().map(Some),
            (Some(_), Some(_)) => Err(InvalidIdempotencyKey),
        }
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;
    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let length = 1..=Self::MAX_LENGTH;
        if length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
