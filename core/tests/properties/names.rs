use proptest::prelude::*;
use proptest::sample::select;
use sekisho_core::id::{IdError, MAX_ID_LENGTH, RuntimeId, WorkerId};
use sekisho_core::secret::{Access, BaseUrl, BaseUrlError, Token};
use sekisho_core::transport::{Connect, Target};
use sekisho_core::watch::OnExpiredCursor;

use crate::any::{ALPHABET, id, text};
use crate::{cases, epoch, first_connect, registry};

/// What stands between the scheme and the path, and the host in it.
fn authority() -> impl Strategy<Value = (String, Option<u16>)> {
    let host = prop_oneof![
        "[A-Za-z][a-z0-9-]{0,12}(\\.[a-z0-9]{1,6}){0,3}",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
    ];
    (host, prop::option::of(1..=u16::MAX))
}

fn written((host, port): &(String, Option<u16>)) -> String {
    port.map_or(host.clone(), |port| format!("{host}:{port}"))
}

fn prefix() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "(/[A-Za-z0-9._~!$&'()*+,;=:@-]{1,8}|/%[0-9A-Fa-f]{2}){1,4}"]
}

/// Where a watch of worker `w` connects to, and what it asks for there.
fn connect(base_url: BaseUrl, token: Option<Token>) -> Connect {
    let worker =
        sekisho_core::id::WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() };
    let now = epoch();
    let mut registry = registry(Access::remote(base_url, token));
    first_connect(&mut registry.watch(now, &worker, None, OnExpiredCursor::Stop).unwrap(), now)
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn an_id_comes_back(text in id()) {
        let (runtime_id, worker_id): (RuntimeId, WorkerId) = (text.parse().unwrap(), text.parse().unwrap());
        prop_assert_eq!(runtime_id.to_string(), &*text);
        prop_assert_eq!(worker_id.to_string(), &*text);
        prop_assert_eq!(format!("{runtime_id:?} {worker_id:?}"), format!("{text} {text}"));
        let json = serde_json::to_string(&worker_id).unwrap();
        prop_assert_eq!(serde_json::from_str::<WorkerId>(&json).unwrap(), worker_id);
    }

    #[test]
    fn an_id_is_of_its_alphabet_and_of_its_length(
        text in prop_oneof![text(), "[ -~]{0,6}", "[a-z:]{126,131}", "\\.{0,4}", "[A-Za-z0-9._:~/%-]{1,20}"],
    ) {
        let length = (1..=MAX_ID_LENGTH).contains(&text.len());
        let letters = text.chars().all(|character| ALPHABET.contains(character));
        let is_id = length && letters && text != "." && text != "..";
        prop_assert_eq!(text.parse::<RuntimeId>().is_ok(), is_id);
        prop_assert_eq!(text.parse::<RuntimeId>().err(), text.parse::<WorkerId>().err());
        if let Err(IdError::Character { position }) = text.parse::<WorkerId>() {
            prop_assert!(text[..position].chars().all(|character| ALPHABET.contains(character)));
            prop_assert!(!ALPHABET.contains(text[position..].chars().next().unwrap()));
        }
    }

    #[test]
    fn a_base_url_leads_where_it_says(
        tls in any::<bool>(),
        authority in authority(),
        prefix in prefix(),
        slashes in "/{0,2}",
    ) {
        let scheme = if tls { "HTTPS" } else { "http" };
        let text = format!("{scheme}://{}{prefix}{slashes}", written(&authority));
        let base_url: BaseUrl = text.parse().unwrap();
        prop_assert_eq!(format!("{:?}", base_url), "BaseUrl");
        prop_assert_eq!(base_url.is_https(), tls);
        let Connect { target, request, .. } = connect(base_url, None);
        let host = authority.0.to_ascii_lowercase();
        let name = host.trim_matches(['[', ']']).into();
        let port = authority.1.unwrap_or(if tls { 443 } else { 80 });
        let expected = Target::Tcp { host: name, port, tls };
        prop_assert!(target == expected);
        prop_assert_eq!(request.headers()["host"].to_str().unwrap(), written(&(host, authority.1)));
        prop_assert_eq!(request.uri().path(), format!("{prefix}/v1/workers/w/events/ws"));
        prop_assert_eq!(format!("{target:?}"), "Target::Tcp");
    }

    #[test]
    fn a_socket_is_a_base_url(path in "(/[^/\0-\x20\x7f]{1,12}){1,4}") {
        let base_url: BaseUrl = format!("unix://{path}").parse().unwrap();
        prop_assert!(!base_url.exposes_token() && !base_url.is_https());
        let Connect { target, request, .. } = connect(base_url, None);
        prop_assert!(target == Target::Unix(std::path::Path::new(&path).into()));
        prop_assert_eq!(request.headers()["host"].to_str().unwrap(), "localhost");
    }

    #[test]
    fn what_does_not_belong_into_a_base_url_is_refused(
        authority in authority(),
        prefix in prefix(),
        name in "[a-z0-9%]{1,6}(:[a-z0-9]{0,6})?",
        scheme in "[a-z][a-z0-9+.-]{0,8}",
        digits in "[+-][0-9]{1,4}|[1-9][0-9]{5,8}|[a-f]{1,3}|",
        control in select(vec!['\0', '\n', '\t', '\x7f', ' ']),
    ) {
        let (host, place) = (&authority.0, format!("{}{prefix}", written(&authority)));
        let refused = |text: String| text.parse::<BaseUrl>().unwrap_err();
        prop_assert_eq!(refused(format!("http://{name}@{place}")), BaseUrlError::Credentials);
        for rest in ["?", "#", "?a=b", "/?a#b"] {
            prop_assert_eq!(refused(format!("https://{place}{rest}")), BaseUrlError::Query);
        }
        prop_assert_eq!(refused(format!("http://{host}:{digits}")), BaseUrlError::NotAUrl);
        prop_assert_eq!(refused(format!("http://{place}{control}")), BaseUrlError::NotAUrl);
        prop_assert_eq!(refused(place.clone()), BaseUrlError::NotAUrl);
        if !["http", "https", "unix"].contains(&scheme.as_str()) {
            prop_assert_eq!(refused(format!("{scheme}://{place}")), BaseUrlError::Scheme);
        }
    }

    #[test]
    fn no_text_upsets_a_base_url(
        scheme in select(vec!["", "http://", "https://", "unix://", "HTTP://[", "http://[::1]"]),
        rest in prop_oneof![text(), "[ -~]{0,40}", "[]\\[:/.@%0-9]{0,12}"],
    ) {
        let text = format!("{scheme}{rest}");
        match text.parse::<BaseUrl>() {
            Ok(base_url) => {
                let token = "token".parse().ok();
                prop_assert_eq!(format!("{:?}", Access::remote(base_url.clone(), token)), "Access");
                connect(base_url, None);
            }
            Err(error) => prop_assert!(rest.len() < 12 || !error.to_string().contains(&rest)),
        }
    }

    #[test]
    fn a_token_shows_nothing(text in "[!-~]{1,40}", space in "[ \t\n]{0,3}") {
        let token: Token = format!("{space}{text}{space}").parse().unwrap();
        prop_assert_eq!(format!("{:?}", token), "Token");
        let Connect { request, .. } = connect("http://localhost".parse().unwrap(), Some(token.clone()));
        let value = &request.headers()["authorization"];
        prop_assert_eq!(value.to_str().unwrap(), format!("Bearer {text}"));
        prop_assert!(value.is_sensitive() && token.admits(Some(value)));
        let other: Token = format!("{text}x").parse().unwrap();
        prop_assert!(!other.admits(Some(value)) && other != token);
    }
}
