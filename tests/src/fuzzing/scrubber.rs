use std::borrow::Cow;
use std::sync::OnceLock;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sekisho_core::secret::{Access, REDACTED, Scrubber};
use serde_json::value::RawValue;

/// A base URL, a token, and everything that tells of either.
struct Secrets {
    base_url: &'static str,
    token: &'static str,
    all: &'static [&'static str],
}

/// Plain ones, and such as are themselves encoded, look like a part of an escape, or are not ASCII.
const SECRETS: [Secrets; 5] = [
    Secrets {
        base_url: "http://vault.example:7700",
        token: "s3cr3t-t0k3n",
        all: &["vault.example", "s3cr3t-t0k3n"],
    },
    Secrets {
        base_url: "https://[fd00::1]:8443/a%20b",
        token: "t%6Fk%2Fen+1=",
        all: &["[fd00::1]:8443", "fd00::1", "t%6fk%2fen+1="],
    },
    Secrets {
        base_url: "unix:///run/関所/😀.sock",
        token: r#"n0t"a\u0062\n"#,
        all: &["/run/関所/😀.sock", r#"n0t"a\u0062\n"#],
    },
    Secrets { base_url: "http://10.0.0.5:8080", token: "d83d41", all: &["10.0.0.5", "d83d41"] },
    Secrets { base_url: "http://build/rt", token: "25abc/\\", all: &["http://build", "25abc/\\"] },
];

/// How many layers of encoding are looked through.
const LAYERS: usize = 3;

/// The input is a byte that chooses the secrets, and a text. Control characters in it stand for a secret in one of its
/// encodings, so that the search need not guess any.
///
/// No way of decoding what comes out shows a secret, what is no secret stays, and JSON stays JSON.
pub fn scrubber(data: &[u8]) {
    let [choice, text @ ..] = data else { return };
    let secrets = &SECRETS[usize::from(*choice) % SECRETS.len()];
    let access = access(usize::from(*choice) % SECRETS.len());
    let text = plant(&String::from_utf8_lossy(text), secrets);
    assert_scrubbed(access.scrubber(), secrets, &text);
    for json in [serde_json::to_string(&text).unwrap(), text] {
        if serde_json::from_str::<&RawValue>(&json).is_ok() {
            let scrubbed = access.scrubber().json(&json);
            assert!(serde_json::from_str::<&RawValue>(&scrubbed).is_ok(), "{json} became {scrubbed}");
            assert_eq!(access.scrubber().json(&scrubbed), scrubbed);
        }
    }
}

/// The way that the secrets of this number belong to.
fn access(number: usize) -> &'static Access {
    static ACCESSES: [OnceLock<Access>; SECRETS.len()] = [const { OnceLock::new() }; SECRETS.len()];
    ACCESSES[number].get_or_init(|| {
        let Secrets { base_url, token, .. } = &SECRETS[number];
        Access::remote(base_url.parse().unwrap(), token.parse().ok())
    })
}

fn plant(text: &str, secrets: &Secrets) -> String {
    let planted = |character: char| match character as u32 {
        code @ 1..=9 => encode(secrets.token, code),
        code @ 11..=19 => encode(secrets.all[0], code - 10),
        _ => character.to_string(),
    };
    text.chars().map(planted).collect()
}

fn encode(secret: &str, how: u32) -> String {
    let json = |text: &str| serde_json::to_string(text).unwrap().trim_matches('"').to_owned();
    let units = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    match how {
        1 => secret.to_owned(),
        // A quote at the end of a secret would be trimmed, too: there is none.
        2 => json(secret),
        3 => units(secret),
        4 => percent(secret),
        5 => utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        6 => json(secret).replace('/', "\\/"),
        7 => json(&percent(secret)),
        8 => percent(&units(secret)),
        _ => units(&json(&percent(secret))),
    }
}

fn assert_scrubbed(scrubber: &Scrubber, secrets: &Secrets, text: &str) {
    let scrubbed = scrubber.text(text);
    assert_decodes_to_none(&scrubbed, secrets.all, LAYERS);
    assert_eq!(scrubber.text(&scrubbed), scrubbed);
    assert_eq!(scrubber.finds(text), scrubbed != text);
    // What stays stands in the same order.
    let mut rest = text;
    for kept in scrubbed.split(REDACTED) {
        rest = rest.split_once(kept).unwrap_or_else(|| panic!("{text} became {scrubbed}")).1;
    }
    let spellings = [secrets.token, secrets.base_url, ":7700", ":8443", ":8080", "build:80"];
    let plain = text.to_ascii_lowercase();
    let holds = |secret: &&str| plain.contains(&secret.to_ascii_lowercase());
    if !plain.contains(['%', '\\'])
        && !spellings.iter().chain(secrets.all).any(holds)
        && !plain.contains("://")
    {
        assert!(matches!(scrubbed, Cow::Borrowed(_)), "{text} became {scrubbed}");
    }
}

/// However it is decoded, so many times.
fn assert_decodes_to_none(text: &str, secrets: &[&str], layers: usize) {
    let shown = text.to_ascii_lowercase();
    for secret in secrets {
        assert!(!shown.contains(&secret.to_ascii_lowercase()), "{secret} is in {text}");
    }
    if layers == 0 || !text.contains(['%', '\\']) {
        return;
    }
    let unescaped = unescape(text);
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    for further in [unescaped.as_str(), &decoded] {
        if further != text {
            assert_decodes_to_none(further, secrets, layers - 1);
        }
    }
}

/// The text with the escapes of JSON taken out by a parser of JSON: all at once, or where that does not take the text,
/// each by itself.
fn unescape(text: &str) -> String {
    if let Ok(decoded) = serde_json::from_str(&format!("\"{text}\"")) {
        return decoded;
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, _)) = rest.split_once('\\') {
        decoded.push_str(before);
        rest = &rest[before.len()..];
        let lengths: &[usize] = if rest.starts_with("\\u") { &[12, 6] } else { &[2] };
        let escape = lengths.iter().find_map(|length| {
            let escape = rest.get(..*length)?;
            let character: char = serde_json::from_str(&format!("\"{escape}\"")).ok()?;
            Some((character, *length))
        });
        let (character, length) = escape.unwrap_or(('\\', 1));
        decoded.push(character);
        rest = &rest[length..];
    }
    decoded + rest
}
