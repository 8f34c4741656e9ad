//! HTTP messages as files of a corpus hold them, so that people can read and write them.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A first line, lines of headers, an empty line, and the body.
pub(super) struct Message<'a> {
    pub(super) first: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl<'a> Message<'a> {
    /// `None` for what no HTTP library would hand on.
    pub(super) fn read(data: &'a [u8]) -> Option<Self> {
        let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
        let mut lines = data[..end].split(|byte| *byte == b'\n');
        let first = std::str::from_utf8(lines.next()?).ok()?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
        }
        let body = Bytes::copy_from_slice(data.get(end + 2..).unwrap_or_default());
        Some(Self { first, headers, body })
    }
}
