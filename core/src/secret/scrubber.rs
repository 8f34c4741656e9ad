//! Takes secrets out of what a runtime wrote.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use aho_corasick::AhoCorasick;

use super::{BaseUrl, Token};

/// What stands where a secret stood. Its length tells nothing about the secret's.
pub const REDACTED: &str = "[redacted]";

/// How many layers of JSON escapes and percent-encoding are looked through.
const MAX_LAYERS: usize = 3;

/// How many bytes may stand between the host and the port of a runtime for the two to be read as one address, as in
/// `host=H port=P`, `(H, P)` or `port P of H`.
const MAX_BETWEEN: usize = 24;

/// Replaces the base URLs, authorities, ports and tokens of runtimes in texts, wherever they stand: as they are,
/// JSON-escaped, percent-encoded, or any mixture of these up to three layers deep, in any case. A host and a port that
/// stand near each other are replaced, too, whatever words are between them.
///
/// A text without secrets comes back unchanged and uncopied.
///
/// This is against accident. A runtime that wants to tell its secret can do so in a code of its own.
#[derive(Clone, Default)]
pub struct Scrubber(Option<Arc<Patterns>>);

struct Patterns {
    texts: Vec<String>,
    kinds: Vec<Kind>,
    /// Made when there is a first text to be searched: it takes longer than many a process needs it.
    automaton: OnceLock<AhoCorasick>,
}

/// What a pattern is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A secret wherever it stands.
    Secret,
    /// The same, unless a further digit follows.
    ColonPort,
    /// A secret only near the port of the runtime with this number.
    Host(usize),
    /// The digits of a port: a secret only near the host of the runtime with this number.
    Port(usize),
}

impl Scrubber {
    /// Whether the other one is a clone of this one, so that both take the same out of every text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// What takes out all of these base URLs and tokens.
    pub(super) fn new<'s>(secrets: impl IntoIterator<Item = (Option<&'s BaseUrl>, &'s [Token])>) -> Self {
        let mut patterns: Vec<(String, Kind)> = Vec::new();
        for (number, (base_url, tokens)) in secrets.into_iter().enumerate() {
            patterns.extend(tokens.iter().map(|token| (token.0.to_string(), Kind::Secret)));
            let Some(base_url) = base_url else { continue };
            patterns.extend(base_url.spellings().into_iter().map(|spelling| (spelling, Kind::Secret)));
            if let Some((host, port)) = base_url.host().zip(base_url.distinctive_port()) {
                patterns.push((format!(":{port}"), Kind::ColonPort));
                patterns.push((port.to_string(), Kind::Port(number)));
                patterns.push((host.to_owned(), Kind::Host(number)));
            }
        }
        if patterns.is_empty() {
            return Self::default();
        }
        let (texts, kinds) = patterns.into_iter().unzip();
        Self(Some(Arc::new(Patterns { texts, kinds, automaton: OnceLock::new() })))
    }

    /// The text with [`REDACTED`] in the place of each secret.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.scrubbed(text, next_character)
    }

    fn scrubbed<'t>(&self, text: &'t str, step: Step) -> Cow<'t, str> {
        let spans = whole(text, self.spans(text), step);
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
            scrubbed.extend([before, "\"", &self.scrubbed(string, next_escape), "\""]);
            rest = after.get(string.len() + 1..).unwrap_or_default();
        }
        scrubbed.push_str(rest);
        Cow::Owned(scrubbed)
    }

    /// Whether no text that stands in this one, whole and between other characters than letters and digits, has anything to
    /// be taken out: there is no secret in it, and nothing that could be encoded. One look through a reply thus spares
    /// one through each of its texts.
    pub(crate) fn leaves_alone(&self, text: &str) -> bool {
        let Some(patterns) = &self.0 else { return true };
        memchr::memchr2(b'\\', b'%', text.as_bytes()).is_none()
            && (!patterns.automaton().is_match(text) || !self.finds(text))
    }

    /// Whether there is a secret in the text.
    pub fn finds(&self, text: &str) -> bool {
        !self.spans(text).is_empty()
    }

    /// Where secrets stand, in no order.
    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let Some(patterns) = &self.0 else { return Vec::new() };
        let mut spans = Vec::new();
        match u32::try_from(text.len()) {
            Ok(_) => {
                patterns.search(Source { bytes: text.as_bytes(), origins: None }, MAX_LAYERS, &mut spans)
            }
            // What is too long to be looked through does not leave.
            Err(_) => spans.push(0..text.len()),
        }
        spans
    }
}

impl Patterns {
    fn automaton(&self) -> &AhoCorasick {
        self.automaton.get_or_init(|| {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(&self.texts)
                // Building fails past 2^31 states. A runtime has about fifteen patterns, each as long as its base URL or
                // token, which are bounded: that is a hundred thousand runtimes away.
                .expect("the patterns make an automaton")
        })
    }

    /// Finds what is secret in the source and in everything that it decodes to.
    fn search(&self, source: Source<'_>, layers: usize, spans: &mut Vec<Range<usize>>) {
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        let mut secrets = Vec::new();
        for found in self.automaton().find_overlapping_iter(source.bytes) {
            let span = found.start()..found.end();
            match self.kinds[found.pattern().as_usize()] {
                Kind::Secret => secrets.push(span),
                Kind::ColonPort if !continues(source.bytes.get(span.end)) => secrets.push(span),
                Kind::Port(runtime) if stands_alone(source.bytes, &span) => ports.push((runtime, span)),
                Kind::Host(runtime) if stands_alone(source.bytes, &span) => hosts.push((runtime, span)),
                Kind::ColonPort | Kind::Port(_) | Kind::Host(_) => {}
            }
        }
        secrets.extend(near_each_other(&hosts, &ports, &secrets));
        let origin = |offset| source.origin(offset) as usize;
        spans.extend(secrets.into_iter().map(|span| origin(span.start)..origin(span.end)));
        if layers == 0 {
            return;
        }
        let mut kinds = 0;
        for escapes in [Escapes::Json, Escapes::Percent, Escapes::Both] {
            // A secret may itself look encoded: what it means shows where its own escapes are left alone.
            if (escapes != Escapes::Both || kinds == 2)
                && let Some(layer) = Layer::peel(source, escapes)
            {
                kinds += 1;
                self.search(layer.source(), layers - 1, spans);
            }
        }
    }
}

fn continues(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_digit)
}

/// Whether neither a letter nor a digit is directly before or after.
fn stands_alone(text: &[u8], span: &Range<usize>) -> bool {
    let goes_on = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    !goes_on(span.start.checked_sub(1).and_then(|before| text.get(before))) && !goes_on(text.get(span.end))
}

/// A runtime's number, and where its host or port stands.
type Part = (usize, Range<usize>);

/// Each host and port of one runtime with at most [`MAX_BETWEEN`] bytes between them that are no part of a secret, a
/// host or a port. Both are in the order of the text.
fn near_each_other(hosts: &[Part], ports: &[Part], secrets: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut near = Vec::new();
    if hosts.is_empty() || ports.is_empty() {
        return near;
    }
    let parts = hosts.iter().chain(ports).map(|(_, span)| span);
    let distances = Distances::without(parts.chain(secrets).cloned().collect());
    let at = |offset| distances.position(offset);
    let mut first = 0;
    for (host_of, host) in hosts {
        let (start, end) = (at(host.start), at(host.end));
        // Ports that are too far before this host are so for all that follow.
        first += ports[first..].iter().take_while(|(_, port)| at(port.end) + MAX_BETWEEN < start).count();
        let within = ports[first..].iter().take_while(|(_, port)| at(port.start) <= end + MAX_BETWEEN);
        for (_, port) in within.filter(|(port_of, _)| port_of == host_of) {
            near.push(host.start.min(port.start)..host.end.max(port.end));
        }
    }
    near
}

/// Distances in a text in which secrets have no length: how far two things are apart must not depend on how long the
/// secrets between them are, or what is replaced would tell it.
struct Distances {
    /// The secrets in order and apart from each other, each with the bytes of those before it.
    secrets: Vec<(Range<usize>, usize)>,
}

impl Distances {
    fn without(mut spans: Vec<Range<usize>>) -> Self {
        spans.sort_by_key(|span| span.start);
        let mut secrets: Vec<(Range<usize>, usize)> = Vec::with_capacity(spans.len());
        for span in spans {
            match secrets.last_mut() {
                Some((last, _)) if span.start <= last.end => last.end = last.end.max(span.end),
                Some((last, before)) => {
                    let before = *before + last.len();
                    secrets.push((span, before));
                }
                None => secrets.push((span, 0)),
            }
        }
        Self { secrets }
    }

    /// Where an offset of the text stands. Within a secret all offsets are one.
    fn position(&self, offset: usize) -> usize {
        let after = self.secrets.partition_point(|(span, _)| span.start <= offset);
        match after.checked_sub(1).map(|last| &self.secrets[last]) {
            Some((span, before)) => offset - before - (offset.min(span.end) - span.start),
            None => offset,
        }
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

/// Where the next thing begins after the one that begins here; `None` at the end of the text.
type Step = fn(&str, usize) -> Option<usize>;

/// The spans in order and apart from each other, each with all of the things that it begins or ends in.
fn whole(text: &str, mut spans: Vec<Range<usize>>, step: Step) -> Vec<Range<usize>> {
    spans.sort_by_key(|span| span.start);
    let mut wholes: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    // Walks through the text once.
    let mut at = 0;
    for span in spans {
        while let Some(next) = step(text, at).filter(|next| *next <= span.start) {
            at = next;
        }
        let start = at;
        while let Some(next) = step(text, at).filter(|_| at < span.end) {
            at = next;
        }
        match wholes.last_mut() {
            Some(last) if start <= last.end => last.end = at,
            _ => wholes.push(start..at),
        }
    }
    wholes
}

fn next_character(text: &str, at: usize) -> Option<usize> {
    Some(at + text[at..].chars().next()?.len_utf8())
}

/// The same where what is left of an escape would mean something else, or nothing.
fn next_escape(text: &str, at: usize) -> Option<usize> {
    let after = next_character(text, at)?;
    Some(unescape(&text.as_bytes()[at..]).map_or(after, |(_, length)| at + length))
}

/// What is searched, and where each of its bytes came from: from the same place, unless something else is said.
#[derive(Clone, Copy)]
struct Source<'a> {
    bytes: &'a [u8],
    origins: Option<&'a [u32]>,
}

impl Source<'_> {
    fn origin(self, offset: usize) -> u32 {
        // No text that is looked through is longer than that.
        self.origins.map_or(offset as u32, |origins| origins[offset])
    }
}

/// Which escapes are taken off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Json,
    Percent,
    Both,
}

/// A text with one layer of escapes taken off, and where each of its bytes came from.
struct Layer {
    bytes: Vec<u8>,
    /// For each byte, and once more for the end, its offset in the original text.
    origins: Vec<u32>,
}

impl Layer {
    /// `None` where there is nothing to take off.
    fn peel(source: Source<'_>, escapes: Escapes) -> Option<Self> {
        let Source { bytes: encoded, .. } = source;
        let json = escapes != Escapes::Percent && encoded.contains(&b'\\');
        let percent = escapes != Escapes::Json && encoded.contains(&b'%');
        if !json && !percent {
            return None;
        }
        let mut layer = Self { bytes: Vec::new(), origins: Vec::new() };
        let mut position = 0;
        let mut peeled = false;
        while position < encoded.len() {
            let rest = &encoded[position..];
            let begins = (json && rest[0] == b'\\') || (percent && rest[0] == b'%');
            let unescaped = begins.then(|| unescape(rest)).flatten();
            peeled |= !matches!(unescaped, None | Some((Unescaped::Half, _)));
            let length = match unescaped {
                Some((Unescaped::Byte(byte), length)) => {
                    layer.bytes.push(byte);
                    length
                }
                Some((Unescaped::Char(character), length)) => {
                    layer.bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
                    length
                }
                Some((Unescaped::Half, _)) | None => {
                    layer.bytes.push(rest[0]);
                    1
                }
            };
            layer.origins.resize(layer.bytes.len(), source.origin(position));
            position += length;
        }
        layer.origins.push(source.origin(encoded.len()));
        peeled.then_some(layer)
    }

    fn source(&self) -> Source<'_> {
        Source { bytes: &self.bytes, origins: Some(&self.origins) }
    }
}

/// Percent-encoding speaks of bytes (RFC 3986, 2.1), JSON of characters (RFC 8259, 7).
enum Unescaped {
    Byte(u8),
    Char(char),
    /// Half of a surrogate pair, which is no character: it stays as it is.
    Half,
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
            let unit = |digits: &[u8]| u16::try_from(hex(digits.get(..4)?)?).ok();
            let second = digits.get(4..).and_then(|rest| unit(rest.strip_prefix(b"\\u")?));
            let mut units = char::decode_utf16([unit(digits)?].into_iter().chain(second));
            Some(match units.next()? {
                Ok(character) => (Unescaped::Char(character), 6 * character.len_utf16()),
                Err(_) => (Unescaped::Half, 6),
            })
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
        Scrubber::new([(Some(&base_url.parse().unwrap()), &[token.parse().unwrap()][..])])
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
    fn a_secret_that_looks_escaped_goes_however_it_is_escaped() {
        let scrubber = scrubber("http://vault.example:7700/a%2Fb", r#"t%41k\n"e/n%2541"#);
        for text in [
            r#"t%41k\n"e/n%2541"#,
            r#"t%41k\\n\"e\/n%2541"#,
            r#"t%41k\\\\n\\\"e/n%2541"#,
            r#"t%2541k%5Cn%22e%2Fn%252541"#,
            r#"t%2541k\n%22e%2Fn%252541"#,
            r"http:\/\/vault.example:7700\/a%2Fb",
            "http%3A//vault.example:7700/a%252Fb",
        ] {
            assert_eq!(scrubber.text(&format!("see {text}.")), format!("see {REDACTED}."), "{text}");
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
    fn a_host_and_its_port_go_whatever_stands_between_them() {
        let scrubber = scrubber("http://127.0.0.1:7700", "s3cret");
        for address in [
            "127.0.0.1 port 7700",
            "127.0.0.1 port=7700",
            "127.0.0.1, 7700",
            "7700 of 127.0.0.1",
            "127.0.0.1', 'port': 7700",
            r#"127.0.0.1\", \"port\": 7700"#,
            "127.0.0.1%22%2C%22port%22%3A7700",
        ] {
            let text = format!("connect to ({address})");
            assert_eq!(scrubber.text(&text), format!("connect to ({REDACTED})"), "{text}");
        }
        for text in [
            "127.0.0.1 port 77001",
            "127.0.0.1 port x7700",
            "127.0.0.11 port 7700",
            "127.0.0.1 is where all of it was before 7700 lines were written",
        ] {
            assert!(matches!(scrubber.text(text), Cow::Borrowed(_)), "{text}");
        }
        let other: BaseUrl = "http://localhost:8800".parse().unwrap();
        let (first, token): (BaseUrl, Token) =
            ("http://127.0.0.1:7700".parse().unwrap(), "x1x".parse().unwrap());
        let both = Scrubber::new([(Some(&first), &[token][..]), (Some(&other), &[][..])]);
        assert_eq!(both.text("(127.0.0.1, 8800)"), "(127.0.0.1, 8800)", "of two runtimes");
        assert_eq!(both.text("(localhost, 8800) x1x"), format!("({REDACTED}) {REDACTED}"));
    }

    #[test]
    fn how_long_a_secret_is_does_not_tell_what_is_near() {
        let shown = |base_url: &str, token: &str| {
            let (host, port) = base_url.split_once("//").unwrap().1.split_once(':').unwrap();
            let port = port.split_once('/').map_or(port, |(port, _)| port);
            let text = format!(
                "{base_url} and more 100% {base_url}; {host} {token} port {port}; {host} {host} {host}, all of it: {port}"
            );
            scrubber(base_url, token).text(&text).into_owned()
        };
        let short = shown("http://10.0.0.5:7700", "s3cret");
        let long = shown(
            "https://machine-of-a-long-name.example:65001/a/path/that/goes/on/for/quite/a/while",
            "a-token-that-is-longer-than-what-may-be-between",
        );
        assert_eq!(short, long);
        assert_eq!(short.matches(REDACTED).count(), 1 + short.matches(';').count());
    }

    #[test]
    fn many_hosts_and_ports_are_paired_in_one_walk() {
        let scrubber = scrubber("http://127.0.0.1:7700", "s3cret");
        let text = "127.0.0.1 7700 ".repeat(3000);
        assert!(scrubber.text(&text).len() < text.len());
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
    fn a_secret_may_look_encoded_itself() {
        let scrubber = scrubber("http://h", r"tok%2Fen\u0041");
        for text in [
            r"tok%2Fen\u0041",
            r"tok%2Fen\\u0041",
            r"\u0074ok%2Fen\\u0041",
            "tok%252Fen%5Cu0041",
            r"tok%252Fen%5C\u0075\u00300%34%31",
        ] {
            assert_eq!(scrubber.text(text), REDACTED, "{text}");
        }
    }

    #[test]
    fn nothing_beside_a_secret_goes_with_it() {
        // However the secret ends, and whatever that makes of what follows.
        for token in ["s3cret", "s3cret\\", "s3cret%", "s3cret%2"] {
            let scrubber = scrubber("http://h", token);
            assert_eq!(scrubber.text(&format!("at {token}\"2F.")), format!("at {REDACTED}\"2F."), "{token}");
        }
    }

    #[test]
    fn no_half_of_an_escape_is_left() {
        let scrubber = scrubber("http://h", "n83dtoken\\");
        for (json, scrubbed) in [
            (r#"["\n83dtoken\\"]"#, r#"["[redacted]"]"#),
            (r#"["\\n83dtoken\\\""]"#, r#"["\\[redacted]\""]"#),
        ] {
            assert_eq!(scrubber.json(json), scrubbed);
        }
        for (escape, token) in [("r", "rtoken"), ("t", "ttoken"), ("b", "btoken"), ("f", "ftoken")] {
            let scrubber = self::scrubber("http://h", token);
            assert_eq!(scrubber.json(&format!(r#""a\{escape}token""#)), r#""a[redacted]""#);
        }
        let scrubber = self::scrubber("http://h", "d83dtoken");
        assert_eq!(scrubber.json(r#""a\ud83dtoken""#), r#""a[redacted]""#);
    }

    #[test]
    fn a_socket_path_is_a_secret() {
        let base_url: BaseUrl = "unix:///run/関所/rt.sock".parse().unwrap();
        let scrubber = Scrubber::new([(Some(&base_url), &[][..])]);
        assert_eq!(scrubber.text("no /run/関所/rt.sock here"), format!("no {REDACTED} here"));
        assert_eq!(scrubber.text(r"\/run\/\u95a2所\/rt.sock"), REDACTED);
        assert_eq!(scrubber.text("%2Frun/%E9%96%A2所/rt.sock"), REDACTED);
        let base_url: BaseUrl = "unix:///run/😀".parse().unwrap();
        let scrubber = Scrubber::new([(Some(&base_url), &[][..])]);
        assert_eq!(scrubber.text(r"\/run\/\ud83d\uDE00"), REDACTED);
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
