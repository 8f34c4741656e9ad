//! What names a request in logs and problems, and at the runtimes that it leads to.
//!
//! A client or a proxy may have named it already, by `X-Request-Id` and `traceparent` (W3C Trace Context); what is not
//! there, or not well-formed, is made.

use std::fmt;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The longest id of a request that is taken over, in characters.
pub const MAX_REQUEST_ID: usize = 128;

/// The id of one request, unique as far as its maker sees to it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpRequestId(HeaderValue);

/// A text is no id of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not 1 to {MAX_REQUEST_ID} letters, digits, `-`, `.`, `_` and `~`")]
pub struct InvalidHttpRequestId;

impl HttpRequestId {
    /// The header that has it, in requests and responses.
    pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// The text.
    pub fn as_str(&self) -> &str {
        // Checked when it was made.
        self.0.to_str().unwrap_or_default()
    }

    /// The value of [`HttpRequestId::HEADER`].
    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl TryFrom<&HeaderValue> for HttpRequestId {
    type Error = InvalidHttpRequestId;

    fn try_from(value: &HeaderValue) -> Result<Self, InvalidHttpRequestId> {
        // Those that a URI has as they are (RFC 3986, 2.3): problems name a request by a URN.
        let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        let bytes = value.as_bytes();
        match (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(is_unreserved) {
            true => Ok(Self(value.clone())),
            false => Err(InvalidHttpRequestId),
        }
    }
}

impl FromStr for HttpRequestId {
    type Err = InvalidHttpRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidHttpRequestId> {
        Self::try_from(&HeaderValue::from_str(text).map_err(|_| InvalidHttpRequestId)?)
    }
}

impl fmt::Display for HttpRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HttpRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A place in a trace: version 00 of `traceparent` (W3C Trace Context, 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceParent {
    /// The whole trace. Not 0.
    pub trace_id: u128,
    /// Who asks. Not 0.
    pub span_id: u64,
    /// [`TraceParent::SAMPLED`], and bits that have no meaning here.
    pub flags: u8,
}

/// A text is no `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a traceparent of W3C Trace Context")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// The header that has it.
    pub const HEADER: HeaderName = HeaderName::from_static("traceparent");

    /// The flag of a caller that may have recorded the request.
    pub const SAMPLED: u8 = 1;

    /// How long one of version 00 is.
    const LENGTH: usize = 55;

    /// The one that the head of a request has; `None` where there is none, several, or something else.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        only(headers, Self::HEADER)?.to_str().ok()?.parse().ok()
    }

    /// The value of [`TraceParent::HEADER`].
    pub fn header_value(self) -> HeaderValue {
        // Hexadecimal digits and hyphens.
        HeaderValue::from_str(&self.to_string()).expect("made of digits")
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let digits = |range: std::ops::Range<usize>| {
            let digits = text.get(range).ok_or(InvalidTraceParent)?;
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            match digits.bytes().all(is_digit) {
                true => u128::from_str_radix(digits, 16).map_err(|_| InvalidTraceParent),
                false => Err(InvalidTraceParent),
            }
        };
        let has_hyphens = [2, 35, 52].into_iter().all(|place| text.as_bytes().get(place) == Some(&b'-'));
        // A later version may have more behind another hyphen.
        let ends = match (digits(0..2)?, text.as_bytes().get(Self::LENGTH)) {
            (0xff, _) | (0, Some(_)) => false,
            (_, after) => after.is_none_or(|after| *after == b'-'),
        };
        let (trace_id, span_id, flags) = (digits(3..35)?, digits(36..52)?, digits(53..55)?);
        match has_hyphens && ends && trace_id != 0 && span_id != 0 {
            // As many digits as the types have.
            true => Ok(Self { trace_id, span_id: span_id as u64, flags: flags as u8 }),
            false => Err(InvalidTraceParent),
        }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, flags } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// Decides which requests are recorded as spans.
pub trait Sampler {
    /// Whether a request of this trace is recorded; `parent` is the caller's place in it, where the caller named one.
    fn is_recorded(&self, trace_id: u128, parent: Option<TraceParent>) -> bool;
}

/// What names one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestTrace {
    /// Its id.
    pub request_id: HttpRequestId,
    /// What the runtimes are told that it leads to: the trace that it belongs to, and the gateway's own place in it.
    pub sent_on: TraceParent,
    /// The caller's place in the trace, where the caller named one.
    pub parent_span_id: Option<u64>,
    /// Whether a span is made of it.
    pub is_recorded: bool,
}

impl RequestTrace {
    /// Takes over what the head of a request names it by, and makes what it does not: the id of a request without one is
    /// that of its trace. `random` gives numbers that no other gateway gives.
    ///
    /// Where there is a `sampler`, the runtimes are told that the request is recorded exactly when it is. Without one
    /// nothing is, and they are told what the caller said.
    pub fn of(headers: &HeaderMap, sampler: Option<&dyn Sampler>, mut random: impl FnMut() -> u64) -> Self {
        let span_id = random().max(1);
        let parent = TraceParent::of(headers);
        let mut made = || (u128::from(random()) << 64 | u128::from(random())).max(1);
        let trace_id = parent.map_or_else(&mut made, |parent| parent.trace_id);
        let recorded = sampler.map(|sampler| sampler.is_recorded(trace_id, parent));
        let said = parent.map_or(0, |parent| parent.flags);
        let flags = match recorded {
            Some(true) => said | TraceParent::SAMPLED,
            Some(false) => said & !TraceParent::SAMPLED,
            None => said,
        };
        let sent_on = TraceParent { trace_id, span_id, flags };
        let (parent_span_id, is_recorded) = (parent.map(|parent| parent.span_id), recorded == Some(true));
        let request_id = only(headers, HttpRequestId::HEADER);
        let request_id = request_id.and_then(|value| HttpRequestId::try_from(value).ok());
        let made = || format!("{:032x}", sent_on.trace_id).parse().expect("made of digits");
        Self { request_id: request_id.unwrap_or_else(made), sent_on, parent_span_id, is_recorded }
    }
}

/// The one value of a header; a header that stands twice has none.
pub(crate) fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(headers: &[(&'static str, &str)]) -> RequestTrace {
        sampled(headers, None)
    }

    fn sampled(headers: &[(&'static str, &str)], sampler: Option<&dyn Sampler>) -> RequestTrace {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let mut last = 0;
        RequestTrace::of(&map, sampler, || {
            last += 1;
            last
        })
    }

    #[test]
    fn what_a_client_named_keeps_its_name() {
        let named = trace(&[("x-request-id", "a-1"), ("traceparent", PARENT)]);
        assert_eq!(named.request_id.as_str(), "a-1");
        assert_eq!(named.sent_on.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000001-01");
        let traced = trace(&[("traceparent", PARENT)]);
        assert_eq!(traced.request_id.as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn what_is_missing_is_made() {
        for headers in [
            &[][..],
            &[("x-request-id", "a b")],
            &[("x-request-id", "")],
            &[("x-request-id", "a"), ("x-request-id", "b")],
            &[("traceparent", PARENT), ("traceparent", PARENT)],
        ] {
            let made = trace(headers);
            assert_eq!(made.request_id.as_str(), "00000000000000020000000000000003", "{headers:?}");
            assert_eq!(made.sent_on.to_string(), "00-00000000000000020000000000000003-0000000000000001-00");
        }
    }

    /// Records requests as this says of what the caller said of its own.
    struct Records(fn(Option<bool>) -> bool);

    impl Sampler for Records {
        fn is_recorded(&self, trace_id: u128, parent: Option<TraceParent>) -> bool {
            assert!(parent.is_none_or(|parent| parent.trace_id == trace_id));
            (self.0)(parent.map(|parent| parent.flags & TraceParent::SAMPLED != 0))
        }
    }

    #[test]
    fn a_request_is_sent_on_as_recorded_exactly_when_it_is() {
        // Bit 1 is one of those without a meaning here.
        let recorded_by_its_caller = PARENT.replace("-01", "-03");
        let not_recorded = PARENT.replace("-01", "-02");
        let (always, never): (Records, Records) = (Records(|_| true), Records(|_| false));
        let as_the_caller = Records(|caller| caller.unwrap_or(true));
        let none: &[(&str, &str)] = &[];
        for (headers, sampler, is_recorded, flags) in [
            (none, None, false, 0),
            (none, Some(&always), true, 1),
            (none, Some(&never), false, 0),
            (none, Some(&as_the_caller), true, 1),
            (&[("traceparent", &recorded_by_its_caller)], None, false, 3),
            (&[("traceparent", &recorded_by_its_caller)], Some(&always), true, 3),
            (&[("traceparent", &recorded_by_its_caller)], Some(&never), false, 2),
            (&[("traceparent", &recorded_by_its_caller)], Some(&as_the_caller), true, 3),
            (&[("traceparent", &not_recorded)], None, false, 2),
            (&[("traceparent", &not_recorded)], Some(&always), true, 3),
            (&[("traceparent", &not_recorded)], Some(&never), false, 2),
            (&[("traceparent", &not_recorded)], Some(&as_the_caller), false, 2),
        ] {
            let trace = sampled(headers, sampler.map(|sampler| sampler as &dyn Sampler));
            assert_eq!((trace.is_recorded, trace.sent_on.flags), (is_recorded, flags), "{headers:?}");
            let parent = (!headers.is_empty()).then_some(0x00f0_67aa_0ba9_02b7);
            assert_eq!((trace.parent_span_id, trace.sent_on.span_id), (parent, 1));
        }
    }

    #[test]
    fn ids_have_a_length_and_an_alphabet() {
        assert!("a".repeat(MAX_REQUEST_ID).parse::<HttpRequestId>().is_ok());
        for text in ["", "a/b", "a%20b", "ä", "a\n", &"a".repeat(MAX_REQUEST_ID + 1)] {
            assert_eq!(text.parse::<HttpRequestId>(), Err(InvalidHttpRequestId), "{text}");
        }
    }

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        assert_eq!(PARENT.parse::<TraceParent>().unwrap().to_string(), PARENT);
        let later = format!("{}-more", PARENT.replacen("00", "cc", 1));
        assert_eq!(later.parse::<TraceParent>().unwrap().to_string(), PARENT);
        for text in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &format!("{PARENT}0"),
            &later.replace("-more", "0more"),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.to_uppercase(),
            &PARENT.replace('-', "_"),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &PARENT.replace("00f067aa0ba902b7", "+0f067aa0ba902b7"),
            &PARENT.replace("4bf9", "äö"),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text}");
        }
    }
}
