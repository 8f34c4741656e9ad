//! Where a runtime is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;

/// The longest base URL, in bytes. What a request adds to it leaves far room in the target of a request.
pub const MAX_BASE_URL_LENGTH: usize = 4096;

/// The base URL of a runtime: `http://HOST[:PORT][/PREFIX]`, the same with `https`, or `unix:///PATH`.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Arc<Parts>);

#[derive(PartialEq, Eq)]
enum Parts {
    Tcp { host: Arc<str>, port: Option<u16>, tls: bool, prefix: String },
    Unix(Arc<Path>),
}

/// Where a transport connects to for one attempt. Prints its kind alone.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A runtime in the same process.
    InProcess,
    /// A TCP endpoint.
    Tcp {
        /// A name or an IP address, the latter without brackets.
        host: Arc<str>,
        /// The port.
        port: u16,
        /// Whether to speak TLS, with `host` as the server's name.
        tls: bool,
    },
    /// A unix socket.
    Unix(Arc<Path>),
}

/// Why a text is not the base URL of a runtime. It never repeats the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseUrlError {
    /// Not a URL at all.
    #[error("not a URL")]
    NotAUrl,
    /// More than [`MAX_BASE_URL_LENGTH`] bytes.
    #[error("the base URL is longer than {MAX_BASE_URL_LENGTH} bytes")]
    TooLong,
    /// Another scheme than `http`, `https` or `unix`.
    #[error("the scheme is not http, https or unix")]
    Scheme,
    /// `user:password@` belongs into no URL here: credentials are tokens.
    #[error("credentials do not belong into a base URL")]
    Credentials,
    /// A base URL ends with its path.
    #[error("a query or fragment does not belong into a base URL")]
    Query,
    /// `unix:` needs an absolute path and nothing else, as in `unix:///run/worker-runtime.sock`.
    #[error("a unix base URL is unix:// and an absolute path")]
    UnixPath,
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(BaseUrlError::NotAUrl)?;
        if text.len() > MAX_BASE_URL_LENGTH {
            return Err(BaseUrlError::TooLong);
        }
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(BaseUrlError::NotAUrl);
        }
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "unix" if rest.starts_with('/') && rest.len() > 1 => {
                return Ok(Self(Arc::new(Parts::Unix(PathBuf::from(rest).into()))));
            }
            "unix" => return Err(BaseUrlError::UnixPath),
            _ => return Err(BaseUrlError::Scheme),
        };
        if text.contains(['?', '#']) {
            return Err(BaseUrlError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| BaseUrlError::NotAUrl)?;
        let authority = uri.authority().ok_or(BaseUrlError::NotAUrl)?;
        if authority.as_str().contains('@') {
            return Err(BaseUrlError::Credentials);
        }
        let host = authority.host().to_ascii_lowercase();
        let host = match host.strip_prefix('[').map(|address| address.trim_end_matches(']')) {
            Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(BaseUrlError::NotAUrl),
            None => &host,
        };
        // `Authority::port` takes a port over 65535, and whatever else follows a `]`, for none at all.
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => None,
            rest => Some(rest.strip_prefix(':').and_then(port_number).ok_or(BaseUrlError::NotAUrl)?),
        };
        if host.is_empty() {
            return Err(BaseUrlError::NotAUrl);
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Parts::Tcp { host: host.into(), port, tls, prefix })))
    }
}

impl BaseUrl {
    /// Whether a token sent there would cross a network that others can read: plain `http` to anything but a
    /// loopback address.
    pub fn exposes_token(&self) -> bool {
        match &*self.0 {
            Parts::Tcp { host, tls, .. } => !tls && !is_loopback(host),
            Parts::Unix(_) => false,
        }
    }

    /// Whether TLS is spoken there.
    pub fn is_https(&self) -> bool {
        matches!(&*self.0, Parts::Tcp { tls: true, .. })
    }

    /// Where to connect to.
    pub fn target(&self) -> Target {
        match &*self.0 {
            Parts::Tcp { host, port, tls, .. } => {
                Target::Tcp { host: host.clone(), port: effective_port(*port, *tls), tls: *tls }
            }
            Parts::Unix(path) => Target::Unix(path.clone()),
        }
    }

    pub(crate) fn path_prefix(&self) -> &str {
        match &*self.0 {
            Parts::Tcp { prefix, .. } => prefix,
            Parts::Unix(_) => "",
        }
    }

    pub(crate) fn host_header(&self) -> HeaderValue {
        match &*self.0 {
            Parts::Tcp { host, port, .. } => HeaderValue::from_str(&authority(host, *port))
                // Both came out of an `http::uri::Authority`, whose characters are those of a header value.
                .expect("an authority is a header value"),
            Parts::Unix(_) => HeaderValue::from_static("localhost"),
        }
    }

    /// The host, of a base URL that has one.
    pub(super) fn host(&self) -> Option<&str> {
        match &*self.0 {
            Parts::Tcp { host, .. } => Some(host),
            Parts::Unix(_) => None,
        }
    }

    /// Every spelling of this place that must not be read by anybody outside.
    pub(super) fn spellings(&self) -> Vec<String> {
        match &*self.0 {
            Parts::Unix(path) => {
                let path = path.to_string_lossy();
                vec![format!("unix://{path}"), path.into_owned()]
            }
            Parts::Tcp { host, port, tls, prefix } => {
                let mut spellings = Vec::new();
                let effective = effective_port(*port, *tls);
                // The scheme's own port is the same written or not.
                let unwritten = (effective == effective_port(None, *tls)).then_some(None);
                for port in [Some(effective)].into_iter().chain(unwritten) {
                    let authority = authority(host, port);
                    for scheme in ["http", "https", "ws", "wss"] {
                        spellings.push(format!("{scheme}://{authority}{prefix}"));
                        spellings.push(format!("{scheme}://{authority}"));
                    }
                    // A bare `build` or `localhost` is a word of any language before it is a host.
                    if port.is_some() || is_distinctive(host) {
                        spellings.push(authority);
                    }
                }
                if is_distinctive(host) {
                    spellings.push(host.to_string());
                }
                // By itself a path may be a word of any text; as the beginning of a route it is what was asked for.
                if !prefix.is_empty() {
                    spellings.push(format!("{prefix}/v1"));
                }
                spellings
            }
        }
    }

    /// The port, where it was written out and tells something.
    pub(super) fn distinctive_port(&self) -> Option<u16> {
        match &*self.0 {
            Parts::Tcp { port, .. } => port.filter(|port| ![80, 443].contains(port)),
            Parts::Unix(_) => None,
        }
    }
}

/// `parse` would take a sign, too, and zeros before the number: a port has one spelling.
fn port_number(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|_| digits.starts_with(|first| matches!(first, '1'..='9')))
}

fn effective_port(port: Option<u16>, tls: bool) -> u16 {
    port.unwrap_or(if tls { 443 } else { 80 })
}

fn authority(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_distinctive(host: &str) -> bool {
    host.contains(['.', ':']) && !is_loopback(host)
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BaseUrl")
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::InProcess => "Target::InProcess",
            Target::Tcp { .. } => "Target::Tcp",
            Target::Unix(_) => "Target::Unix",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Target {
        Target::Tcp { host: host.into(), port, tls }
    }

    #[test]
    fn what_is_a_base_url() {
        for (text, target, host, prefix) in [
            ("http://127.0.0.1:7700", tcp("127.0.0.1", 7700, false), "127.0.0.1:7700", ""),
            ("https://Build.example", tcp("build.example", 443, true), "build.example", ""),
            ("HTTPS://a.example:9/rt/one/", tcp("a.example", 9, true), "a.example:9", "/rt/one"),
            ("http://[::1]:80/", tcp("::1", 80, false), "[::1]:80", ""),
            ("unix:///run/rt.sock", Target::Unix(Path::new("/run/rt.sock").into()), "localhost", ""),
        ] {
            let base_url: BaseUrl = text.parse().unwrap();
            assert!(base_url.target() == target, "{text}");
            assert_eq!(base_url.host_header(), host, "{text}");
            assert_eq!(base_url.path_prefix(), prefix, "{text}");
        }
    }

    #[test]
    fn what_is_not() {
        for (text, error) in [
            ("", BaseUrlError::NotAUrl),
            ("10.0.0.5:7700", BaseUrlError::NotAUrl),
            ("http://", BaseUrlError::NotAUrl),
            ("http://:80", BaseUrlError::NotAUrl),
            ("http://host:", BaseUrlError::NotAUrl),
            ("http://host:0", BaseUrlError::NotAUrl),
            ("http://host:99999", BaseUrlError::NotAUrl),
            ("http://host:+80", BaseUrlError::NotAUrl),
            ("http://host:080", BaseUrlError::NotAUrl),
            ("http://[::1]x", BaseUrlError::NotAUrl),
            ("http://[name]", BaseUrlError::NotAUrl),
            ("http://[::1]x:80", BaseUrlError::NotAUrl),
            (&format!("http://host/{}", "x".repeat(MAX_BASE_URL_LENGTH)), BaseUrlError::TooLong),
            ("http://a b", BaseUrlError::NotAUrl),
            ("unix:///a b", BaseUrlError::NotAUrl),
            ("unix:///a\nb", BaseUrlError::NotAUrl),
            ("ftp://host", BaseUrlError::Scheme),
            ("http://user:pw@host", BaseUrlError::Credentials),
            ("http://host/?token=x", BaseUrlError::Query),
            ("http://host/#x", BaseUrlError::Query),
            ("unix://run/x.sock", BaseUrlError::UnixPath),
            ("unix:///", BaseUrlError::UnixPath),
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_token_in_the_clear() {
        for (text, exposes) in [
            ("http://127.0.0.1:1", false),
            ("http://[::1]:1", false),
            ("http://localhost", false),
            ("https://10.0.0.5", false),
            ("unix:///run/x", false),
            ("http://10.0.0.5", true),
            ("http://localhost.example", true),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().exposes_token(), exposes, "{text}");
        }
    }
}
