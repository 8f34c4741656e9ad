//! What must not leave: where a runtime is, and what lets one in.
//!
//! [`Token`] and [`BaseUrl`] print as nothing, are neither `Display` nor `Serialize`, and leave this crate only
//! inside an [`Attempt`](super::transport::Attempt) that a transport sends. What a runtime writes itself passes the
//! [`Scrubber`].

pub(crate) mod base_url;
mod scrubber;
mod shared;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use base_url::Target;
pub use base_url::{BaseUrl, BaseUrlError, MAX_BASE_URL_LENGTH};
pub use scrubber::{REDACTED, Scrubber};
pub(crate) use shared::{Accesses, SharedAccess};

/// The longest token, in characters.
pub const MAX_TOKEN_LENGTH: usize = 4096;

/// How many tokens of a runtime are scrubbed: the present one and those that it replaced.
pub const MAX_KNOWN_TOKENS: usize = 8;

/// A bearer token (RFC 6750): visible ASCII, 1 to [`MAX_TOKEN_LENGTH`] characters.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// Why a text is not a token. It never repeats the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nothing, or white space alone.
    #[error("the token is empty")]
    Empty,
    /// More than [`MAX_TOKEN_LENGTH`] characters.
    #[error("the token is longer than {MAX_TOKEN_LENGTH} characters")]
    TooLong,
    /// White space inside, a control character, or a character that is not ASCII.
    #[error("the token has a character that is not visible ASCII")]
    Character,
}

impl FromStr for Token {
    type Err = TokenError;

    /// Takes a token as a file or a variable holds it: white space around it is not part of it.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim_ascii();
        match text.len() {
            0 => Err(TokenError::Empty),
            length if length > MAX_TOKEN_LENGTH => Err(TokenError::TooLong),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(TokenError::Character),
            _ => Ok(Self(text.into())),
        }
    }
}

impl Token {
    /// Whether `authorization` presents this token under the `Bearer` scheme, in time that does not depend on
    /// how much of it is right.
    pub fn admits(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some((scheme, presented)) = authorization
            .map(HeaderValue::as_bytes)
            .and_then(|value| value.split_at_checked("bearer ".len()))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && self.equals(presented.trim_ascii())
    }

    pub(crate) fn equals(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }

    fn authorization(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            // Visible ASCII is what a header value may hold: `from_str` let nothing else in.
            .expect("a token is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other.0.as_bytes())
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What it takes to speak to one runtime: its base URL, the credential for it, and the [`Scrubber`] that keeps both from
/// getting out. A registry makes it one scrubber for all of its runtimes.
#[derive(Clone)]
pub struct Access {
    base_url: Option<BaseUrl>,
    /// Tells several apart that are in this process.
    place: u64,
    /// The token, and before it those that it replaced, up to [`MAX_KNOWN_TOKENS`].
    tokens: Vec<Token>,
    host: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    scrubber: Scrubber,
}

impl Access {
    /// The access to a remote runtime.
    pub fn remote(base_url: BaseUrl, token: Option<Token>) -> Self {
        let host = Some(base_url.host_header());
        Self::new(Some(base_url), host, token.into_iter().collect())
    }

    /// The access to a runtime in the same process, which has neither address nor credential.
    pub fn in_process() -> Self {
        Self::in_process_at(0)
    }

    /// The same to one of several, each of which has a number of its own.
    pub fn in_process_at(place: u64) -> Self {
        Self { place, ..Self::new(None, None, Vec::new()) }
    }

    fn new(base_url: Option<BaseUrl>, host: Option<HeaderValue>, tokens: Vec<Token>) -> Self {
        let scrubber = Scrubber::new([(base_url.as_ref(), &tokens[..])]);
        let authorization = tokens.last().map(Token::authorization);
        Self { base_url, place: 0, tokens, host, authorization, scrubber }
    }

    /// The same with another credential.
    ///
    /// Previous tokens go on being scrubbed: the runtime may still repeat them.
    pub fn with_token(&self, token: Token) -> Self {
        if self.has_token(&token) {
            // The same change may be heard of twice: what was before it must not be forgotten.
            return self.clone();
        }
        let mut tokens = self.tokens.clone();
        tokens.retain(|previous| *previous != token);
        tokens.push(token);
        tokens.drain(..tokens.len().saturating_sub(MAX_KNOWN_TOKENS));
        Self::new(self.base_url.clone(), self.host.clone(), tokens)
    }

    /// Whether it leads to the same place, with whatever credential.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        (&self.base_url, self.place) == (&other.base_url, other.place)
    }

    /// What keeps the secrets out of texts.
    pub fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.tokens.last()
    }

    pub(crate) fn has_token(&self, token: &Token) -> bool {
        self.token() == Some(token)
    }

    pub(crate) fn target(&self) -> Target {
        self.base_url.as_ref().map_or(Target::InProcess, BaseUrl::target)
    }

    pub(crate) fn path_prefix(&self) -> &str {
        self.base_url.as_ref().map_or("", BaseUrl::path_prefix)
    }

    /// Whether there is a credential that could be read anew.
    pub(crate) fn has_credential(&self) -> bool {
        self.authorization.is_some()
    }

    /// Adds `Host` and `Authorization`, the latter marked as sensitive.
    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) {
        // `extend` would make room for a header that is not there, too.
        for (name, value) in [(header::HOST, &self.host), (header::AUTHORIZATION, &self.authorization)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_visible_ascii() {
        assert_eq!("".parse::<Token>(), Err(TokenError::Empty));
        assert_eq!(" \n".parse::<Token>(), Err(TokenError::Empty));
        assert_eq!("a b".parse::<Token>(), Err(TokenError::Character));
        assert_eq!("関".parse::<Token>(), Err(TokenError::Character));
        assert_eq!("x".repeat(4097).parse::<Token>(), Err(TokenError::TooLong));
        assert!("x".repeat(4096).parse::<Token>().is_ok());
        assert_eq!("secret\n".parse::<Token>(), "secret".parse::<Token>());
    }

    #[test]
    fn a_token_admits_its_own_bearer_alone() {
        let token: Token = "s3cret".parse().unwrap();
        let admits = |value: &str| token.admits(Some(&HeaderValue::from_str(value).unwrap()));
        assert!(admits("Bearer s3cret"));
        assert!(admits("bearer  s3cret "));
        assert!(!admits("Bearer s3cre"));
        assert!(!admits("Bearer s3cretx"));
        assert!(!admits("Basic s3cret"));
        assert!(!admits("s3cret"));
        assert!(!admits(""));
        assert!(!token.admits(None));
    }

    #[test]
    fn nothing_prints() {
        let token: Token = "hunter2hunter2".parse().unwrap();
        let base_url: BaseUrl = "https://vault.example:9443/rt".parse().unwrap();
        let access = Access::remote(base_url.clone(), Some(token.clone()));
        let printed =
            format!("{token:?} {base_url:?} {access:?} {:?} {:?}", access.target(), access.scrubber());
        assert_eq!(printed, "Token BaseUrl Access Target::Tcp Scrubber");
        let mut headers = HeaderMap::new();
        access.add_headers(&mut headers);
        assert!(headers["authorization"].is_sensitive());
    }

    #[test]
    fn a_replaced_token_is_still_scrubbed() {
        let access = Access::remote("http://h.example:1234".parse().unwrap(), "old-token".parse().ok());
        let access = access.with_token("new-token".parse().unwrap());
        // The same change may be heard of from a call, from the token's file, and from another loop.
        let access = access.with_token("new-token".parse().unwrap());
        assert_eq!(access.scrubber().text("old-token new-token"), format!("{REDACTED} {REDACTED}"));
        // Back to one from before, and on, more often than is remembered.
        let access = access.with_token("old-token".parse().unwrap()).with_token("new-token".parse().unwrap());
        let many = (0..MAX_KNOWN_TOKENS).map(|number| format!("token-{number}").parse().unwrap());
        let last = many.fold(access.clone(), |access, token| access.with_token(token));
        assert_eq!(
            last.scrubber().text("old-token token-0 token-7"),
            format!("old-token {REDACTED} {REDACTED}")
        );
        let mut headers = HeaderMap::new();
        access.add_headers(&mut headers);
        assert_eq!(headers["authorization"], "Bearer new-token");
    }
}
