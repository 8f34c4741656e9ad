//! Which requests are let in (`docs/http-api.md`, "Who may come in").

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response, StatusCode};

#[cfg(feature = "pages")]
use super::asset::Asset;
use super::observation::{BEARER_SUBPROTOCOL, subprotocols};
use super::request::Overview;
use crate::error::{Error, ErrorKind, bounded};
use crate::runtime_api::{IdempotencyKey, is_websocket_upgrade};
use crate::secret::Token;
use crate::trace::{HttpRequestId, TraceParent, only};

/// A name under which the gateway may be spoken to: a host, on any port or on one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

/// The origin of pages that may use the API: `scheme://host[:port]` (RFC 6454). Applications that show pages of their own
/// have schemes of their own, such as `tauri` or `vscode-webview`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowedOrigin(String);

/// Not a host, or not an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAllowance {
    /// Not `HOST` or `HOST:PORT`.
    #[error("not a host name or address, with or without a port")]
    Host,
    /// Not `SCHEME://HOST[:PORT]`.
    #[error("not an origin: a scheme such as https, ://, and a host with or without a port")]
    Origin,
}

impl FromStr for AllowedHost {
    type Err = InvalidAllowance;

    fn from_str(text: &str) -> Result<Self, InvalidAllowance> {
        let authority: Authority = text.parse().map_err(|_| InvalidAllowance::Host)?;
        let host = authority.host().to_ascii_lowercase();
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => None,
            port => Some(port[1..].parse().map_err(|_| InvalidAllowance::Host)?),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
        if host.is_empty() || !text.bytes().all(is_host) {
            return Err(InvalidAllowance::Host);
        }
        Ok(Self { host, port })
    }
}

impl FromStr for AllowedOrigin {
    type Err = InvalidAllowance;

    fn from_str(text: &str) -> Result<Self, InvalidAllowance> {
        let origin = text.to_ascii_lowercase();
        let (scheme, authority) = origin.split_once("://").ok_or(InvalidAllowance::Origin)?;
        // RFC 3986, section 3.1.
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        match authority.parse::<AllowedHost>() {
            Ok(_) if is_scheme => Ok(Self(origin)),
            _ => Err(InvalidAllowance::Origin),
        }
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AllowedHost {
    fn admits(&self, asked: &AllowedHost) -> bool {
        self.host == asked.host && (self.port.is_none() || self.port == asked.port)
    }

    /// No name server of a third party can point names of this machine here.
    fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Examines the head of every request before anything else does.
pub struct AccessGuard {
    hosts: Vec<AllowedHost>,
    origins: Vec<AllowedOrigin>,
    access_token: Option<Token>,
    /// Whether clients reach the gateway by TLS for certain. Without it a proxy may stand in front that has TLS or none.
    https_only: bool,
}

/// What the access guard decided about a request, and what its response must carry.
#[derive(Debug)]
pub struct Admission {
    /// Whether it came in.
    pub decision: Decision,
    /// The allowed page of another origin that asked.
    cross_origin: Option<HeaderValue>,
}

/// Whether a request comes in.
#[derive(Debug)]
pub enum Decision {
    /// It does.
    Admitted,
    /// It is a preflight (Fetch, 3.2.2), and this is its whole answer.
    Preflight(Response<Bytes>),
    /// It does not.
    Refused(Error),
}

impl AccessGuard {
    /// A guard for a gateway that may be reached under `hosts`, besides all names of loopback, by pages of
    /// `origins`, besides its own, and where `access_token` is given, by those alone who have it.
    pub fn new(hosts: Vec<AllowedHost>, origins: Vec<AllowedOrigin>, access_token: Option<Token>) -> Self {
        Self { hosts, origins, access_token, https_only: false }
    }

    /// The same for a gateway that clients reach by TLS alone: pages of the same host that came without are of another
    /// origin.
    #[must_use]
    pub fn https_only(self) -> Self {
        Self { https_only: true, ..self }
    }

    /// Examines `Host`, `Origin` and, for `/api` and `/metrics`, the access token, in this order. The constant answers about the gateway
    /// itself are given to every request: what asks for them often knows no name of the gateway's.
    pub fn examine(&self, head: &Parts) -> Admission {
        if PROBES.contains(&head.uri.path()) {
            return Admission { decision: Decision::Admitted, cross_origin: None };
        }
        let (decision, cross_origin) = match self.examine_origin(head) {
            Err(error) => (Decision::Refused(error.refusing(&head.method)), None),
            Ok(cross_origin) if cross_origin.is_some() && is_preflight(head) => {
                (Decision::Preflight(preflight()), cross_origin)
            }
            Ok(cross_origin) if self.knows(head) => (Decision::Admitted, cross_origin),
            Ok(cross_origin) => {
                let error = Error::new(ErrorKind::Unauthorized).refusing(&head.method);
                (Decision::Refused(error), cross_origin)
            }
        };
        Admission { decision, cross_origin }
    }

    fn examine_origin(&self, head: &Parts) -> Result<Option<HeaderValue>, Error> {
        let no_host = || {
            let detail = "The request has no Host, several, or one that is not text";
            Error::with_detail(ErrorKind::HostNotAllowed, detail)
        };
        let host =
            only(&head.headers, header::HOST).and_then(|host| host.to_str().ok()).ok_or_else(no_host)?;
        // A request in absolute form (RFC 9112, 3.2.2) names its host twice.
        for named in [Some(host), head.uri.authority().map(Authority::as_str)].into_iter().flatten() {
            let refuse = || {
                let detail = format!("The Host {} is not in `allowed_hosts`", shown(named));
                Error::with_detail(ErrorKind::HostNotAllowed, detail)
            };
            let asked: AllowedHost = named.parse().map_err(|_| refuse())?;
            if !asked.is_loopback() && !self.hosts.iter().any(|allowed| allowed.admits(&asked)) {
                return Err(refuse());
            }
        }
        if !head.headers.contains_key(header::ORIGIN) {
            return Ok(None);
        }
        let no_origin = || {
            let detail = "The request has several Origins, or one that is not text";
            Error::with_detail(ErrorKind::OriginNotAllowed, detail)
        };
        let value = only(&head.headers, header::ORIGIN).ok_or_else(no_origin)?;
        let origin = value.to_str().map_err(|_| no_origin())?.to_ascii_lowercase();
        if self.is_same(&origin, host) {
            return Ok(None);
        }
        match self.origins.iter().any(|allowed| allowed.0 == origin) {
            true => Ok(Some(value.clone())),
            false => {
                let detail = format!("The Origin {} is not in `allowed_origins`", shown(&origin));
                Err(Error::with_detail(ErrorKind::OriginNotAllowed, detail))
            }
        }
    }

    /// Whether a page of this origin came from the host that it now speaks to.
    fn is_same(&self, origin: &str, host: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let port = match scheme {
            "https" => ":443",
            "http" if !self.https_only => ":80",
            _ => return false,
        };
        // A browser leaves the port of the scheme out of both.
        let plain = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
        plain(authority) == plain(host)
    }

    fn knows(&self, head: &Parts) -> bool {
        let path = head.uri.path();
        let is_of_api = path == "/api" || path.starts_with("/api/") || path == Overview::Metrics.path();
        let guarded = is_of_api && !is_public(path);
        match &self.access_token {
            Some(token) if guarded => {
                token.admits(only(&head.headers, header::AUTHORIZATION)) || knows_inside(token, head)
            }
            _ => true,
        }
    }
}

impl Admission {
    /// Adds to the response's headers what the page that asked needs to be able to read it (Fetch, 3.2.3).
    pub fn add_cors_headers(&self, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = &self.cross_origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("location, retry-after, x-request-id"),
            );
        }
    }
}

/// The routes whose answers are constant and read nothing.
const PROBES: [&str; 3] = [Overview::Live.path(), Overview::Health.path(), Overview::Ready.path()];

/// Whether a path is that of a file which anyone may read who may come in at all.
#[cfg(feature = "pages")]
fn is_public(path: &str) -> bool {
    Asset::ALL.into_iter().any(|asset| asset.is_public() && asset.path() == path)
}

#[cfg(not(feature = "pages"))]
fn is_public(_path: &str) -> bool {
    false
}

/// The longest name that is repeated in an error, in characters.
const MAX_NAME: usize = 128;

/// What a client wrote in a header, fit to be repeated.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(MAX_NAME).collect();
    format!("`{}`", bounded(&text))
}

/// Whether an opening handshake offers the token as a subprotocol.
fn knows_inside(token: &Token, head: &Parts) -> bool {
    let mut offered = subprotocols(&head.headers).filter_map(|it| it.strip_prefix(BEARER_SUBPROTOCOL));
    is_websocket_upgrade(&head.headers) && offered.any(|presented| token.equals(presented.as_bytes()))
}

fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    let ours = [IdempotencyKey::HEADER, HttpRequestId::HEADER, TraceParent::HEADER];
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE].into_iter().chain(ours) {
        headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, name.into());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

impl fmt::Debug for AccessGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessGuard")
            .field("hosts", &self.hosts)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(token: Option<&str>) -> AccessGuard {
        let hosts = vec!["gate.example".parse().unwrap(), "10.0.0.1:8787".parse().unwrap()];
        let origins = vec!["https://app.example".parse().unwrap()];
        AccessGuard::new(hosts, origins, token.map(|token| token.parse().unwrap()))
    }

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn decision(
        guard: &AccessGuard,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), ErrorKind> {
        match guard.examine(&head(method, uri, headers)).decision {
            Decision::Refused(error) => Err(error.kind()),
            Decision::Admitted | Decision::Preflight(_) => Ok(()),
        }
    }

    #[test]
    fn hosts() {
        let guard = guard(None);
        let asked = |host| decision(&guard, "GET", "/api/runtimes", &[("host", host)]);
        for host in [
            "localhost",
            "localhost:9",
            "LOCALHOST:8787",
            "127.0.0.1:8787",
            "127.9.9.9",
            "[::1]:80",
            "gate.example",
            "Gate.Example:99",
            "10.0.0.1:8787",
        ] {
            assert_eq!(asked(host), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "10.0.0.1:80",
            "user@localhost",
            "gate.example.evil",
            "localhost:x",
            "127.0.0.1.evil.example",
            "a b",
        ] {
            assert_eq!(asked(host), Err(ErrorKind::HostNotAllowed), "{host}");
        }
        let none = decision(&guard, "GET", "/metrics", &[]);
        assert_eq!(none, Err(ErrorKind::HostNotAllowed));
        let twice = decision(&guard, "GET", "/metrics", &[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(twice, Err(ErrorKind::HostNotAllowed));
        let absolute = decision(&guard, "GET", "http://evil.example/metrics", &[("host", "localhost")]);
        assert_eq!(absolute, Err(ErrorKind::HostNotAllowed));
    }

    #[test]
    fn probes_are_answered_whatever_the_host_is() {
        let guard = guard(Some("s3cret"));
        for path in PROBES {
            for headers in [&[][..], &[("host", "10.1.2.3:8787")], &[("host", "a"), ("host", "b")]] {
                assert_eq!(decision(&guard, "GET", path, headers), Ok(()), "{path} {headers:?}");
            }
        }
    }

    #[test]
    fn a_refusal_names_what_came_and_the_key_that_allows_it() {
        let guard = guard(None);
        let long = format!("{}.example", "x".repeat(300));
        for (headers, detail) in [
            (&[("host", "Evil.example")][..], "The Host `Evil.example` is not in `allowed_hosts`".to_owned()),
            (
                &[("host", "localhost"), ("origin", "http://evil.example")],
                "The Origin `http://evil.example` is not in `allowed_origins`".to_owned(),
            ),
            (&[("host", &long)], format!("The Host `{}` is not in `allowed_hosts`", "x".repeat(MAX_NAME))),
        ] {
            let Decision::Refused(error) = guard.examine(&head("GET", "/api/x", headers)).decision else {
                panic!("{headers:?}")
            };
            assert_eq!(error.detail(), detail);
        }
    }

    #[test]
    fn the_same_origin_has_the_same_scheme_where_it_is_known() {
        let asked = |guard: &AccessGuard, host, origin| {
            decision(guard, "GET", "/api/x", &[("host", host), ("origin", origin)]).is_ok()
        };
        for (host, origin, behind_anything, https_only) in [
            ("gate.example", "https://gate.example", true, true),
            ("gate.example", "http://gate.example", true, false),
            ("gate.example:443", "https://gate.example", true, true),
            ("gate.example:443", "http://gate.example", false, false),
            ("gate.example:80", "http://gate.example", true, false),
            ("gate.example:8443", "https://gate.example:8443", true, true),
            ("gate.example", "ftp://gate.example", false, false),
            ("gate.example", "tauri://gate.example", false, false),
        ] {
            assert_eq!(asked(&guard(None), host, origin), behind_anything, "{origin} at {host}");
            assert_eq!(asked(&guard(None).https_only(), host, origin), https_only, "{origin} at {host}");
        }
    }

    #[test]
    fn applications_have_schemes_of_their_own() {
        let origins = vec!["tauri://localhost".parse().unwrap(), "vscode-webview://0k3nv2".parse().unwrap()];
        let guard = AccessGuard::new(Vec::new(), origins, None);
        for (origin, allowed) in
            [("tauri://localhost", true), ("vscode-webview://0k3nv2", true), ("tauri://elsewhere", false)]
        {
            let headers = [("host", "localhost:8787"), ("origin", origin)];
            assert_eq!(decision(&guard, "GET", "/api/x", &headers).is_ok(), allowed, "{origin}");
        }
    }

    #[test]
    fn origins() {
        let guard = guard(None);
        let asked = |host, origin| decision(&guard, "POST", "/api/x", &[("host", host), ("origin", origin)]);
        for (host, origin) in [
            ("localhost:8787", "http://localhost:8787"),
            ("gate.example", "https://gate.example"),
            ("gate.example", "HTTPS://App.example"),
        ] {
            assert_eq!(asked(host, origin), Ok(()), "{origin}");
        }
        for (host, origin) in [
            ("localhost:8787", "http://localhost:3000"),
            ("localhost:8787", "http://evil.example"),
            ("localhost:8787", "null"),
            ("localhost:8787", ""),
            ("localhost:8787", "http://app.example"),
            ("localhost:8787", "https://app.example:444"),
            ("localhost:8787", "https://app.example.evil"),
        ] {
            assert_eq!(asked(host, origin), Err(ErrorKind::OriginNotAllowed), "{origin}");
        }
    }

    #[test]
    fn the_access_token_guards_the_api_alone() {
        let guard = guard(Some("s3cret"));
        let asked = |uri, authorization: &[(&str, &str)]| {
            let mut headers = vec![("host", "localhost")];
            headers.extend(authorization);
            decision(&guard, "GET", uri, &headers)
        };
        assert_eq!(asked("/healthz", &[]), Ok(()));
        assert_eq!(asked("/readyz", &[]), Ok(()));
        assert_eq!(asked("/api/runtimes", &[("authorization", "Bearer s3cret")]), Ok(()));
        for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "s3cret")]] {
            assert_eq!(asked("/api/runtimes", headers), Err(ErrorKind::Unauthorized));
            assert_eq!(asked("/api/openapi.json", headers), Err(ErrorKind::Unauthorized));
            assert_eq!(asked("/api/no-such-route", headers), Err(ErrorKind::Unauthorized));
            #[cfg(feature = "pages")]
            for path in ["/api", "/api/reference.js", "/api/reference.css"] {
                assert_eq!(
                    asked(path, headers),
                    Ok(()),
                    "{path}: a browser that opens a page sends no token"
                );
                let other = decision(&guard, "GET", path, &[("host", "evil.example")]);
                assert_eq!(other, Err(ErrorKind::HostNotAllowed), "{path}");
            }
        }
    }

    #[test]
    fn a_page_offers_the_token_as_a_subprotocol() {
        let guard = guard(Some("s3cret"));
        let mut headers = vec![
            ("host", "localhost"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "x"),
        ];
        let mut asked = |protocols| {
            headers.push(("sec-websocket-protocol", protocols));
            let decision = decision(&guard, "GET", "/api/x", &headers);
            headers.pop();
            decision
        };
        assert_eq!(asked("sekisho.v1, bearer.s3cret"), Ok(()));
        assert_eq!(asked("sekisho.v1, bearer.other"), Err(ErrorKind::Unauthorized));
        assert_eq!(asked("s3cret"), Err(ErrorKind::Unauthorized));
        let plain = [("host", "localhost"), ("sec-websocket-protocol", "bearer.s3cret")];
        assert_eq!(decision(&guard, "GET", "/api/x", &plain), Err(ErrorKind::Unauthorized));
    }

    #[test]
    fn allowed_pages_can_ask_and_read() {
        let guard = guard(Some("s3cret"));
        let origin = ("origin", "https://app.example");
        let preflight = [("host", "localhost"), origin, ("access-control-request-method", "POST")];
        let admission = guard.examine(&head("OPTIONS", "/api/runtimes", &preflight));
        let Decision::Preflight(answer) = &admission.decision else { panic!("{admission:?}") };
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["access-control-allow-methods"], "GET, POST, DELETE");
        let mut response = Response::new(Bytes::new());
        admission.add_cors_headers(response.headers_mut());
        assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");

        for (method, headers) in [("OPTIONS", &preflight[..2]), ("GET", &preflight)] {
            let admission = guard.examine(&head(method, "/api/runtimes", headers));
            assert!(matches!(admission.decision, Decision::Refused(_)), "{method} is no preflight");
        }

        let refused = guard.examine(&head("GET", "/api/runtimes", &[("host", "localhost"), origin]));
        let mut response = Response::new(Bytes::new());
        refused.add_cors_headers(response.headers_mut());
        assert_eq!(
            response.headers()["access-control-allow-origin"],
            "https://app.example",
            "401 is readable"
        );

        let stranger = [("host", "localhost"), ("origin", "https://evil.example"), preflight[2]];
        let admission = guard.examine(&head("OPTIONS", "/api/runtimes", &stranger));
        assert!(matches!(admission.decision, Decision::Refused(_)));
        let mut response = Response::new(Bytes::new());
        admission.add_cors_headers(response.headers_mut());
        assert!(!response.headers().contains_key("access-control-allow-origin"));
    }

    #[test]
    fn what_may_stand_in_the_configuration() {
        for text in ["", "http://a", "a/b", "a:b", "a:99999", "u@a", "*", "*.example"] {
            assert_eq!(text.parse::<AllowedHost>(), Err(InvalidAllowance::Host), "{text}");
        }
        for text in
            ["", "*", "null", "app.example", "https://app.example/", "https://", "://a", "1a://b", "a b://c"]
        {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(InvalidAllowance::Origin), "{text}");
        }
    }
}
