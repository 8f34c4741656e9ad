//! What is answered to bytes that are no request.
//!
//! The HTTP library answers them before its service could, with a head alone. Here that head is given the body that
//! the server's other errors have.

use bytes::{Buf, Bytes};
use http::{Response, StatusCode};

/// Makes the response to a request that cannot be read, of the status that the HTTP library has found: 400, 414 or 431.
pub type Unreadable = fn(StatusCode) -> Response<Bytes>;

/// The lines of the library's head: no response of a service is a refusal that has these alone.
const BARE: [&str; 3] = ["connection", "content-length", "date"];

/// A response in place of the library's.
#[derive(Debug)]
pub(crate) struct Replacement {
    rest: Bytes,
    /// How many bytes it stands for.
    instead_of: usize,
}

impl Replacement {
    /// The response in place of `written`, where that is the library's own refusal.
    pub(crate) fn of(written: &[u8], answer: Unreadable) -> Option<Self> {
        // Of nearly all that is written no more than this is looked at.
        if !written.starts_with(b"HTTP/1.1 4") {
            return None;
        }
        let head = std::str::from_utf8(written).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next()?;
        let status = status_line.split(' ').nth(1)?.parse().ok()?;
        let mut kept = String::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            match *BARE.iter().find(|bare| name.eq_ignore_ascii_case(bare))? {
                "content-length" if value.trim() != "0" => return None,
                "content-length" => {}
                _ => kept.extend([line, "\r\n"]),
            }
        }
        let response = answer(status);
        let mut bytes = format!("{status_line}\r\n{kept}").into_bytes();
        let length = response.body().len().to_string();
        let length = ("content-length", length.as_bytes());
        let headers = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        for (name, value) in headers.filter(|(name, _)| *name != length.0).chain([length]) {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(response.body());
        Some(Self { rest: bytes.into(), instead_of: written.len() })
    }

    /// What is still to be written.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// So many bytes were written. How many of the library's are then, once all is.
    pub(crate) fn written(&mut self, bytes: usize) -> Option<usize> {
        self.rest.advance(bytes);
        self.rest.is_empty().then_some(self.instead_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: StatusCode) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(format!("{{\"status\":{}}}", status.as_u16())));
        response.headers_mut().insert("content-type", "application/problem+json".parse().unwrap());
        response
    }

    fn replaced(written: &str) -> Option<String> {
        Replacement::of(written.as_bytes(), answer)
            .map(|replacement| String::from_utf8(replacement.rest().to_vec()).unwrap())
    }

    #[test]
    fn a_bare_refusal_gets_a_body() {
        let bare = "HTTP/1.1 431 Too Large\r\ncontent-length: 0\r\nConnection: close\r\ndate: today\r\n\r\n";
        assert_eq!(
            replaced(bare).unwrap(),
            "HTTP/1.1 431 Too Large\r\nConnection: close\r\ndate: today\r\n\
             content-type: application/problem+json\r\ncontent-length: 14\r\n\r\n{\"status\":431}"
        );
        let mut replacement = Replacement::of(bare.as_bytes(), answer).unwrap();
        let length = replacement.rest().len();
        assert_eq!(replacement.written(length - 1), None);
        assert_eq!(replacement.rest(), b"}");
        assert_eq!(replacement.written(1), Some(bare.len()));
    }

    #[test]
    fn nothing_else_is_touched() {
        for written in [
            "",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\ncontent-type: text/plain\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            "HTTP/1.1 4",
            "HTTP/1.1 4\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(replaced(written), None, "{written}");
        }
    }
}
