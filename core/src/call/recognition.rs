//! Answers that were read before.

use bytes::Bytes;
use http::Response;

use crate::secret::Scrubber;

/// A successful answer as it came, for another call of the same command: where the same bytes come again, and the same
/// secrets would be taken out of them, there is no need to read them.
#[derive(Clone)]
pub struct Seen {
    body: Bytes,
    scrubber: Scrubber,
}

/// Whether a call recognises answers.
#[derive(Default)]
pub(super) enum Recognition {
    /// It does not, as a call does that a client waits for.
    #[default]
    Off,
    /// It does, and this was the last answer before.
    On(Option<Seen>),
}

impl Recognition {
    /// Whether this answer is the one before. Where it is not, it is kept in its place.
    pub(super) fn recognises(&mut self, response: &Response<Bytes>, scrubber: &Scrubber) -> bool {
        let Self::On(seen) = self else { return false };
        if !response.status().is_success() {
            return false;
        }
        let body = response.body();
        if seen.as_ref().is_some_and(|seen| seen.body == body && seen.scrubber.is_same(scrubber)) {
            return true;
        }
        *seen = Some(Seen { body: body.clone(), scrubber: scrubber.clone() });
        false
    }

    pub(super) fn take(&mut self) -> Option<Seen> {
        match self {
            Self::Off => None,
            Self::On(seen) => seen.take(),
        }
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // How long it is would tell how long the secrets in it are.
        f.write_str("Seen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_answer_is_printed_not_even_its_length() {
        let mut recognition = Recognition::On(None);
        let response = Response::new(Bytes::from_static(b"at http://10.0.0.5:7700"));
        assert!(!recognition.recognises(&response, &Scrubber::default()));
        assert!(recognition.recognises(&response, &Scrubber::default()));
        assert_eq!(format!("{:?}", recognition.take().unwrap()), "Seen");
    }
}
