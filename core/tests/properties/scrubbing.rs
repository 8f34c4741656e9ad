use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use proptest::prelude::*;
use proptest::sample::select;
use sekisho_core::secret::{Access, REDACTED};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::any::text;
use crate::cases;

/// How many layers of encoding are looked through.
const LAYERS: usize = 3;

/// One way of writing a text.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    /// Escapes where JSON needs them.
    Json,
    /// A slash that is escaped, as some do.
    JsonSlashes,
    /// Each character as `\u00xx`.
    JsonUnits,
    /// Each byte, in lower case.
    Percent,
    /// What is not a letter or a digit, in upper case.
    PercentReserved,
}

impl Encoding {
    fn encode(self, text: &str) -> String {
        let json = || {
            let quoted = serde_json::to_string(text).unwrap();
            quoted[1..quoted.len() - 1].to_owned()
        };
        match self {
            Self::Json => json(),
            Self::JsonSlashes => json().replace('/', "\\/"),
            Self::JsonUnits => text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
            Self::Percent => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
            Self::PercentReserved => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        }
    }
}

fn layers() -> impl Strategy<Value = Vec<Encoding>> {
    use Encoding::{Json, JsonSlashes, JsonUnits, Percent, PercentReserved};
    prop::collection::vec(select(vec![Json, JsonSlashes, JsonUnits, Percent, PercentReserved]), 0..=LAYERS)
}

fn encode(text: &str, layers: &[Encoding]) -> String {
    layers.iter().fold(text.to_owned(), |text, layer| layer.encode(&text))
}

/// What a token can be, but for what could stand in `[redacted]` by chance.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{2}[!-Z^-~]{6,20}",
        // Such as are encoded themselves, or seem to be the rest of an escape.
        "[bfnrtu/\"0-9a-f]{2}(%[0-9a-f]{2}|\\\\[nu\\\\\"/]|[a-z]){4,8}",
    ]
    .prop_filter("a part of the word that replaces it", |token| {
        !REDACTED.contains(&token.to_ascii_lowercase())
    })
}

/// A base URL, and what of it tells where it is.
fn place() -> impl Strategy<Value = (String, String)> {
    let named = "[a-z]{2,8}\\.[a-z]{2,8}";
    prop_oneof![
        named.prop_map(|host| (format!("http://{host}/rt"), host)),
        (named, 1024..=u16::MAX)
            .prop_map(|(host, port)| { (format!("https://{host}:{port}"), format!("{host}:{port}")) }),
        any::<std::net::Ipv6Addr>()
            .prop_filter("loopback tells nothing", |address| !address.is_loopback())
            .prop_map(|address| (format!("http://[{address}]:7700"), format!("[{address}]:7700"))),
        "(/[a-z関😀%]{1,6}){2,3}".prop_map(|path| (format!("unix://{path}"), path)),
    ]
}

/// Every way of decoding it, up to so many times.
fn decodings(text: String, layers: usize) -> Vec<String> {
    let decoded = [unescape(&text), percent_decode_str(&text).decode_utf8_lossy().into_owned()];
    let further = decoded.into_iter().filter(|decoded| layers > 0 && *decoded != text);
    let mut all: Vec<String> = further.flat_map(|decoded| decodings(decoded, layers - 1)).collect();
    all.push(text);
    all
}

/// The text with the escapes of JSON taken out, each by a parser of JSON.
fn unescape(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let character = [12, 6, 2].into_iter().find_map(|length| {
            let escape = format!("\"{}\"", rest.get(..length)?);
            Some((serde_json::from_str::<char>(&escape).ok()?, length))
        });
        let (character, length) = character.unwrap_or(('\\', 1));
        decoded.push(character);
        rest = &rest[length..];
    }
    decoded + rest
}

fn shows(text: &str, secret: &str) -> bool {
    text.to_ascii_lowercase().contains(&secret.to_ascii_lowercase())
}

fn access(base_url: &str, token: &str) -> Access {
    Access::remote(base_url.parse().unwrap(), Some(token.parse().unwrap()))
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn no_way_of_decoding_shows_a_secret(
        (base_url, place) in place(),
        token in token(),
        layers in layers(),
        before in "[ -~]{0,8}|%[0-9]?|\\\\|\\\\u[0-9a-f]{0,3}",
        after in "[ -~]{0,8}",
    ) {
        let access = access(&base_url, &token);
        for secret in [&token, &place, &base_url] {
            let text = format!("{before}{}{after}", encode(secret, &layers));
            let scrubbed = access.scrubber().text(&text);
            for decoded in decodings(scrubbed.clone().into_owned(), LAYERS) {
                prop_assert!(!shows(&decoded, &token), "{} became {}", text, scrubbed);
                prop_assert!(!shows(&decoded, &place), "{} became {}", text, scrubbed);
            }
            prop_assert_eq!(access.scrubber().text(&scrubbed), scrubbed.as_ref());
        }
    }

    #[test]
    fn nothing_else_changes(
        (base_url, place) in place(),
        token in token(),
        layers in layers(),
        before in "[あ-ん ,{}]{0,12}",
        after in "[あ-ん ,{}]{0,12}",
    ) {
        let access = access(&base_url, &token);
        for secret in [token, place] {
            let text = format!("{before}{}{after}", encode(&secret, &layers));
            prop_assert_eq!(access.scrubber().text(&text), format!("{before}{REDACTED}{after}"));
        }
    }

    #[test]
    fn a_text_without_secrets_is_the_same_text(text in text()) {
        let access = access("http://vault.example:7700/rt", "s3cr3t-t0k3n");
        prop_assert!(matches!(access.scrubber().text(&text), Cow::Borrowed(same) if same == text));
        let json = serde_json::to_string(&text).unwrap();
        prop_assert!(matches!(access.scrubber().json(&json), Cow::Borrowed(same) if same == json));
    }

    #[test]
    fn json_stays_json(
        (base_url, place) in place(),
        token in token(),
        layers in layers(),
        texts in prop::collection::vec(text(), 3),
        escape in select(vec!["", "\\n", "\\\\", "\\\"", "\\u0041", "\\ud83d", "\\ud83d\\ude00", "%", "%4"]),
    ) {
        let access = access(&base_url, &token);
        let string = |text: &str| serde_json::to_string(text).unwrap();
        for secret in [token, place] {
            let inner = string(&encode(&secret, &layers));
            let planted = format!("\"{escape}{}{escape}\"", &inner[1..inner.len() - 1]);
            let [first, key, last] = [0, 1, 2].map(|index| string(&texts[index]));
            let json = format!("[{first}, {{{planted} : {planted}, {key}:1.50}},{last},7700 ]");
            prop_assert!(serde_json::from_str::<&RawValue>(&json).is_ok());
            let scrubbed = access.scrubber().json(&json);
            prop_assert!(serde_json::from_str::<&RawValue>(&scrubbed).is_ok(), "{} became {}", json, scrubbed);
            prop_assert_eq!(access.scrubber().json(&scrubbed), scrubbed.as_ref());
            let ends = (format!("[{first}, {{\""), format!(", {key}:1.50}},{last},7700 ]"));
            prop_assert!(scrubbed.starts_with(&ends.0) && scrubbed.ends_with(&ends.1), "{}", scrubbed);
            // Half of a pair is JSON, but no text.
            if let Ok(Value::Array(values)) = serde_json::from_str(&scrubbed) {
                for (name, value) in values[1].as_object().unwrap() {
                    prop_assert!(!shows(name, &secret) && !shows(&value.to_string(), &secret), "{}", scrubbed);
                }
            }
        }
    }
}
