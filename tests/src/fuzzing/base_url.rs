use sekisho_core::secret::{Access, BaseUrl, REDACTED};
use sekisho_core::transport::{Connect, Target};
use sekisho_core::watch::OnExpiredCursor;

use super::{epoch, first_connect, registry, worker};

/// The input is a base URL. One that is taken leads where it says, prints nothing, and is scrubbed out of texts.
pub fn base_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let base_url: BaseUrl = match text.parse() {
        Ok(base_url) => base_url,
        Err(error) => {
            // The shortest text that could be a part of the fault's own words by chance is far shorter.
            assert!(text.len() < 12 || !error.to_string().contains(text));
            return;
        }
    };
    assert_eq!(format!("{base_url:?}"), "BaseUrl");
    let access = Access::remote(base_url.clone(), None);
    let scrubber = access.scrubber().clone();
    let scrubbed = scrubber.text(text);
    assert!(scrubbed.contains(REDACTED), "{text}");

    let now = epoch();
    let mut watch = registry(access).watch(now, &worker(), None, OnExpiredCursor::Stop).unwrap();
    let Connect { target, request, .. } = first_connect(now, &mut watch);
    let path = request.uri().path();
    let prefix = path.strip_suffix("/v1/workers/worker-00000001/events/ws").unwrap();
    assert!(!prefix.ends_with('/') && request.uri().query().is_none(), "{text}");
    let host = request.headers()["host"].to_str().unwrap();
    match target {
        Target::Tcp { host: name, port, tls } => {
            let scheme = if tls { "https" } else { "http" };
            assert!(text.to_ascii_lowercase().starts_with(&format!("{scheme}://")), "{text}");
            let rest = &text[scheme.len() + 3..];
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, written) = rest.split_at(end);
            assert!(!text.contains(['?', '#']) && !authority.contains('@'), "{text}");
            assert_eq!(written.trim_end_matches('/'), prefix);
            assert_port(authority, port, tls);
            assert!(host.starts_with(&*name) || host.starts_with(&format!("[{name}]")), "{text}");
            assert!(
                authority.to_ascii_lowercase().starts_with(host.rsplit_once(':').map_or(host, |it| it.0))
            );
            // The scheme's own port may be written or not.
            let shortest = host.strip_suffix(if tls { ":443" } else { ":80" }).unwrap_or(host);
            for spelling in [host, shortest] {
                let written = format!("{scheme}://{spelling}{prefix}");
                assert_eq!(scrubber.text(&written), REDACTED, "{text}");
            }
            let again: BaseUrl = format!("{scheme}://{host}{prefix}").parse().unwrap();
            assert!(again == base_url, "{text}");
        }
        Target::Unix(path) => {
            assert_eq!(text.split_at(7).1, path.to_str().unwrap());
            assert!(path.is_absolute() && host == "localhost" && prefix.is_empty());
            assert!(!scrubbed.contains(path.to_str().unwrap()));
        }
        Target::InProcess => panic!("{text} is nowhere"),
    }
}

/// The port is the one that is written, or the scheme's own.
fn assert_port(authority: &str, port: u16, tls: bool) {
    let after_host = &authority[authority.rfind(']').map_or(0, |bracket| bracket + 1)..];
    match after_host.split_once(':') {
        None => assert_eq!(port, if tls { 443 } else { 80 }, "{authority}"),
        Some((_, digits)) => {
            assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{authority}");
            assert_eq!(digits.parse(), Ok(port), "{authority}");
        }
    }
}
