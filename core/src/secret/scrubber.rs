//! Takes secrets out of what a runtime wrote.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::AhoCorasick;

use super::{BaseUrl, Token};

/// What stands where a secret stood. Its length tells nothing about the secret's.
pub const REDACTED: &str = "[redacted]";

/// How many layers of JSON escapes and percent-encoding are looked through.
const MAX_LAYERS: usize = 3;

/// Replaces a runtime's base URL, authority, port and tokens in texts, wherever they stand: as they are,
/// JSON-escaped, percent-encoded, or any mixture of these up to three layers deep, in any case.
///
/// A text without secrets comes back unchanged and uncopied.
#[derive(Clone, Default)]
pub struct Scrubber(Option<Arc<Patterns>>);

struct Patterns {
    automaton: AhoCorasick,
    /// Patterns from here on are ports, which end where a further digit does not follow.
    first_port: usize,
}

impl Scrubber {
    pub(super) fn new(base_url: Option<&BaseUrl>, tokens: &[Token]) -> Self {
        let mut patterns: Vec<String> = tokens.iter().map(|token| token.0.to_string()).collect();
        patterns.extend(base_url.into_iter().flat_map(BaseUrl::spellings));
        let first_port = patterns.len();
        patterns.extend(base_url.and_then(BaseUrl::distinctive_port).map(|port| format!(":{port}")));
        if patterns.is_empty() {
            return Self::default();
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&patterns)
            // Building fails past 2^31 states; a few patterns of at most a few KiB are far from it.
            .expect("a few short patterns make a small automaton");
        Self(Some(Arc::new(Patterns { automaton, first_port })))
    }

    /// The text with [`REDACTED`] in the place of each secret.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let spans = self.spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut scrubbed = String::with_capacity(text.len());
        let mut kept = 0;
        for span in spans {
            scrubbed.push_str(&text[kept..span.start]);
            scrubbed.push_str(REDACTED);
            kept = span.end;
        }
        scrubbed.push_str(&text[kept..]);
        Cow::Owned(scrubbed)
    }

    /// The same for a text that is JSON, and that stays JSON: secrets go out of its strings and keys, whatever it is
    /// made of besides is left alone.
    pub fn json<'t>(&self, json: &'t str) -> Cow<'t, str> {
        if !self.finds(json) {
            return Cow::Borrowed(json);
        }
        let mut scrubbed = String::with_capacity(json.len());
        let mut rest = json;
        while let Some((before, after)) = rest.split_once('"') {
            let string = &after[..string_length(after.as_bytes())];
            scrubbed.extend([before, "\"", &self.text(string), "\""]);
            rest = after.get(string.len() + 1..).unwrap_or_default();
        }
        scrubbed.push_str(rest);
        Cow::Owned(scrubbed)
    }

    /// Whether there is a secret in the text.
    pub fn finds(&self, text: &str) -> bool {
        !self.spans(text).is_empty()
    }

    /// Where secrets stand, on character boundaries, in order, apart from each other.
    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let Some(patterns) = &self.0 else { return Vec::new() };
        let mut spans = patterns.search(text.as_bytes(), |offset| offset);
        let mut layer = Layer::peel(text.as_bytes(), |offset| offset);
        for _ in 0..MAX_LAYERS {
            let Some(current) = layer else { break };
            spans.extend(patterns.search(&current.bytes, |offset| current.origin(offset)));
            layer = Layer::peel(&current.bytes, |offset| current.origin(offset));
        }
        merge(text, spans)
    }
}

impl Patterns {
    fn search(&self, bytes: &[u8], origin: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
        self.automaton
            .find_overlapping_iter(bytes)
            .filter(|found| {
                let followed_by_digit = bytes.get(found.end()).is_some_and(u8::is_ascii_digit);
                found.pattern().as_usize() < self.first_port || !followed_by_digit
            })
            .map(|found| origin(found.start())..origin(found.end()))
            .collect()
    }
}

/// How long a JSON string is whose opening quote has just been read.
fn string_length(json: &[u8]) -> usize {
    let mut escaped = false;
    let closes = |byte: &u8| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    };
    json.iter().position(closes).unwrap_or(json.len())
}

fn merge(text: &str, mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    for span in &mut spans {
        while !text.is_char_boundary(span.start) {
            span.start -= 1;
        }
        while !text.is_char_boundary(span.end) {
            span.end += 1;
        }
    }
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// A text with one layer of escapes taken off, and where each of its bytes came from.
struct Layer {
    bytes: Vec<u8>,
    /// For each byte, and once more for the end, its offset in the original text.
    origins: Vec<usize>,
}

impl Layer {
    /// `None` where there is nothing to take off.
    fn peel(source: &[u8], origin: impl Fn(usize) -> usize) -> Option<Self> {
        if !source.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
            return None;
        }
        let mut layer = Self { bytes: Vec::new(), origins: Vec::new() };
        let mut position = 0;
        let mut peeled = false;
        while position < source.len() {
            let rest = &source[position..];
            let length = match unescape(rest) {
                Some((decoded, length)) => {
                    peeled = true;
                    let mut utf8 = [0; 4];
                    match decoded {
                        Unescaped::Byte(byte) => layer.bytes.push(byte),
                        Unescaped::Char(character) => {
                            layer.bytes.extend(character.encode_utf8(&mut utf8).as_bytes());
                        }
                    }
                    length
                }
                None => {
                    layer.bytes.push(rest[0]);
                    1
                }
            };
            layer.origins.resize(layer.bytes.len(), origin(position));
            position += length;
        }
        layer.origins.push(origin(source.len()));
        peeled.then_some(layer)
    }

    fn origin(&self, offset: usize) -> usize {
        self.origins[offset]
    }
}

/// Percent-encoding speaks of bytes (RFC 3986, 2.1), JSON of characters (RFC 8259, 7).
enum Unescaped {
    Byte(u8),
    Char(char),
}

/// What an escape at the start of `source` stands for, and the escape's length.
fn unescape(source: &[u8]) -> Option<(Unescaped, usize)> {
    let hex = |digits: &[u8]| {
        let digit = |value: u32, digit: &u8| Some(value * 16 + char::from(*digit).to_digit(16)?);
        digits.iter().try_fold(0, digit)
    };
    let simple = |character| Some((Unescaped::Char(character), 2));
    match source {
        [b'%', digits @ ..] => {
            let byte = hex(digits.get(..2)?)?.try_into().ok()?;
            Some((Unescaped::Byte(byte), 3))
        }
        [b'\\', b'u', digits @ ..] => {
            // Half of a surrogate pair is no character: it stays as it is and matches nothing.
            let character = char::from_u32(hex(digits.get(..4)?)?)?;
            Some((Unescaped::Char(character), 6))
        }
        [b'\\', escaped @ (b'"' | b'\\' | b'/'), ..] => simple(char::from(*escaped)),
        [b'\\', b'n', ..] => simple('\n'),
        [b'\\', b'r', ..] => simple('\r'),
        [b'\\', b't', ..] => simple('\t'),
        [b'\\', b'b', ..] => simple('\u{8}'),
        [b'\\', b'f', ..] => simple('\u{c}'),
        _ => None,
    }
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrubber")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrubber(base_url: &str, token: &str) -> Scrubber {
        Scrubber::new(Some(&base_url.parse().unwrap()), &[token.parse().unwrap()])
    }

    #[test]
    fn every_spelling_goes() {
        let scrubber = scrubber("https://build.example:7700/rt", "tok+en/1=");
        for text in [
            "https://build.example:7700/rt",
            "HTTPS://BUILD.example:7700",
            "wss://build.example:7700",
            "build.example:7700",
            "build.example",
            ":7700",
            "tok+en/1=",
            "https:\\/\\/build.example:7700\\/rt",
            "https%3A%2F%2Fbuild.example%3a7700%2frt",
            "build\\u002eexample\\u003A7700",
            "%74ok%2Ben%2F1%3D",
            "tok%252Ben%252F1%253D",
            "\\\\u0074ok+en\\\\/1=",
            "tok\\u002ben%2F1=",
        ] {
            assert_eq!(scrubber.text(&format!("see {text}.")), format!("see {REDACTED}."), "{text}");
            assert!(scrubber.finds(text));
        }
    }

    #[test]
    fn touching_secrets_become_one() {
        let scrubber = scrubber("http://10.0.0.5:7700", "tok10.0");
        assert_eq!(scrubber.text("a tok10.0.0.5:7700 b"), format!("a {REDACTED} b"));
    }

    #[test]
    fn nothing_else_changes() {
        let scrubber = scrubber("http://127.0.0.1:7700", "s3cret");
        for text in [
            "",
            "localhost 127.0.0.1",
            ":77001",
            "7700",
            "100% \\ \\u12 %zz \\u{1}",
            "secret",
            "関所 \\u95a2",
        ] {
            assert!(matches!(scrubber.text(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert_eq!(scrubber.text("127.0.0.1:7700"), REDACTED);
        assert!(!Scrubber::default().finds("anything"));
    }

    #[test]
    fn json_stays_json() {
        let scrubber = scrubber("http://vault.example:7700", "tok\",\"en");
        for (json, scrubbed) in [
            (r#"{"port":7700,"at":":7700"}"#, r#"{"port":7700,"at":"[redacted]"}"#),
            (r#"["tok","en"]"#, r#"["tok","en"]"#),
            (r#"["tok\",\"en", "a\\"]"#, r#"["[redacted]", "a\\"]"#),
            (r#"{"vault.example":"http:\/\/vault\u002eexample:7700"}"#, r#"{"[redacted]":"[redacted]"}"#),
            (r#""\"vault.example\"""#, r#""\"[redacted]\"""#),
        ] {
            assert_eq!(scrubber.json(json), scrubbed);
            serde_json::from_str::<serde_json::Value>(&scrubber.json(json)).unwrap();
        }
    }

    #[test]
    fn a_socket_path_is_a_secret() {
        let base_url: BaseUrl = "unix:///run/関所/rt.sock".parse().unwrap();
        let scrubber = Scrubber::new(Some(&base_url), &[]);
        assert_eq!(scrubber.text("no /run/関所/rt.sock here"), format!("no {REDACTED} here"));
        assert_eq!(scrubber.text(r"\/run\/\u95a2所\/rt.sock"), REDACTED);
        assert_eq!(scrubber.text("%2Frun/%E9%96%A2所/rt.sock"), REDACTED);
    }

    fn encode(secret: &str, choices: &[u8]) -> String {
        secret
            .chars()
            .zip(choices.iter().cycle())
            .map(|(character, choice)| match choice % 3 {
                0 if character == '\\' => "\\\\".to_owned(),
                0 => character.to_string(),
                1 => format!("\\u{:04x}", u32::from(character)),
                _ => format!("%{:02X}", u32::from(character)),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn no_mixture_of_escapes_hides_a_secret(
            before in "[a-z %\\\\]{0,8}",
            choices in proptest::collection::vec(any::<u8>(), 1..20),
            layers in 0..2usize,
        ) {
            let scrubber = scrubber("http://vault.example:7700", "s3cr3t-t0k3n");
            for secret in ["s3cr3t-t0k3n", "http://vault.example:7700"] {
                let mut encoded = secret.to_owned();
                for _ in 0..=layers {
                    encoded = encode(&encoded, &choices);
                }
                let text = format!("{before} {encoded}");
                prop_assert!(scrubber.text(&text).ends_with(REDACTED), "{}", text);
            }
        }

        #[test]
        fn any_text_is_taken_and_scrubbing_twice_changes_nothing(text in "\\PC{0,64}") {
            let scrubber = scrubber("http://vault.example:7700", "tok");
            let once = scrubber.text(&text).into_owned();
            prop_assert_eq!(scrubber.text(&once), once.as_str());
        }
    }
}
