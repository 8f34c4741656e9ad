//! What a gateway serves as it is: a page that says what it is, the OpenAPI document, and the page that shows that.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Response};

use super::openapi;

/// Something that is served as it is, whatever the state of the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Asset {
    /// The page at the root: what this is, whether it is ready, and one worker, watched.
    Home,
    /// The script of that page.
    HomeScript,
    /// The style of that page.
    HomeStyle,
    /// The client for a worker's stream that the page uses, and shows (`docs/observation.md`).
    WatchScript,
    /// The OpenAPI document of this API.
    OpenApi,
    /// A page that shows the OpenAPI document.
    Reference,
    /// The script of that page.
    ReferenceScript,
    /// The style of that page.
    ReferenceStyle,
}

/// What a page may load and whom it may speak to: files of its own origin, and the gateway (Content Security Policy,
/// Level 3). What it is told by runtimes can be text in it, and never code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Asset {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Home,
        Self::HomeScript,
        Self::HomeStyle,
        Self::WatchScript,
        Self::OpenApi,
        Self::Reference,
        Self::ReferenceScript,
        Self::ReferenceStyle,
    ];

    /// Where it is served.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::HomeScript => "/home.js",
            Self::HomeStyle => "/home.css",
            Self::WatchScript => "/watch.js",
            Self::OpenApi => "/api/openapi.json",
            Self::Reference => "/api",
            Self::ReferenceScript => "/api/reference.js",
            Self::ReferenceStyle => "/api/reference.css",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenApi => "application/json",
            Self::Home | Self::Reference => "text/html; charset=utf-8",
            Self::HomeScript | Self::WatchScript | Self::ReferenceScript => "text/javascript; charset=utf-8",
            Self::HomeStyle | Self::ReferenceStyle => "text/css; charset=utf-8",
        }
    }

    /// Whether it is served without the access token: a browser that opens a page has no place for one. Such a file is the
    /// same for every gateway of this version, and tells nothing of this one.
    pub(super) const fn is_public(self) -> bool {
        !matches!(self, Self::OpenApi)
    }

    fn bytes(self) -> Bytes {
        static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
        let text: &'static str = match self {
            Self::OpenApi => {
                // A value of JSON has a JSON form.
                let make = || serde_json::to_vec(&openapi::document()).expect("plain data").into();
                return DOCUMENT.get_or_init(make).clone();
            }
            Self::Home => include_str!("asset/home.html"),
            Self::HomeScript => include_str!("asset/home.js"),
            Self::HomeStyle => include_str!("asset/home.css"),
            Self::WatchScript => include_str!("asset/watch.js"),
            Self::Reference => include_str!("asset/reference.html"),
            Self::ReferenceScript => include_str!("asset/reference.js"),
            Self::ReferenceStyle => include_str!("asset/reference.css"),
        };
        Bytes::from_static(text.as_bytes())
    }

    /// The response that carries it.
    pub(super) fn response(self) -> Response<Bytes> {
        let mut response = Response::new(self.bytes());
        let headers: &mut HeaderMap = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, self.media_type()),
            // Another version of the gateway may have another one.
            (header::CACHE_CONTROL, "no-cache"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_loads_nothing_from_elsewhere_and_holds_no_code_in_its_markup() {
        for asset in Asset::ALL {
            let response = asset.response();
            assert_eq!(response.headers()["content-type"], asset.media_type());
            assert_eq!(response.headers()["content-security-policy"], POLICY);
            let text = std::str::from_utf8(response.body()).unwrap();
            assert!(!text.is_empty(), "{asset:?}");
            if asset != Asset::OpenApi {
                assert!(!text.contains("http://") && !text.contains("https://"), "{asset:?}");
                assert!(!text.contains("innerHTML") && !text.contains(" style="), "{asset:?}");
            }
        }
        for (page, files) in [
            (Asset::Home, &[Asset::HomeScript, Asset::HomeStyle, Asset::Reference][..]),
            (Asset::Reference, &[Asset::ReferenceScript, Asset::ReferenceStyle, Asset::OpenApi]),
        ] {
            let page = page.bytes();
            let page = std::str::from_utf8(&page).unwrap();
            for asset in files {
                // Relative to the page, so that it is right behind any prefix.
                assert!(page.contains(&format!("\"{}\"", &asset.path()[1..])), "{asset:?}");
            }
            assert!(!page.contains("<script>") && !page.contains(" onclick"));
        }
    }

    #[test]
    fn the_client_that_is_served_is_the_one_of_the_documentation() {
        let documentation = include_str!("../../../docs/observation.md");
        assert!(documentation.contains(&format!("```js\n{}```", include_str!("asset/watch.js"))));
    }
}
