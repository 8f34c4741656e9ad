//! Bytes of a terminal, read as keys.

/// The longest control sequence that is waited for, in bytes. What is longer is none.
const MAX_SEQUENCE: usize = 32;

const ESCAPE: u8 = 0x1b;
const BEGIN_PASTE: &[u8] = b"200";
const END_PASTE: &[u8] = b"\x1b[201~";

/// A key that was pressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// A character, typed.
    Char(char),
    /// A letter or sign together with Ctrl.
    Control(char),
    /// A character together with Alt, or after Escape.
    Alt(char),
    /// A text that was pasted as one, lines and all.
    Paste(String),
    Enter,
    AltEnter,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    Up,
    Down,
    Home,
    End,
    /// One that means nothing here.
    Other,
}

/// Reads keys from bytes, however they are cut.
#[derive(Default, Debug)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// How much a paste may hold. The rest is dropped.
    max_paste: usize,
    paste: Option<Vec<u8>>,
}

impl Keys {
    pub(super) fn new(max_paste: usize) -> Self {
        Self { max_paste, ..Self::default() }
    }

    /// The keys that are complete with these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.bytes.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut at = 0;
        loop {
            let bytes = &self.bytes[at..];
            if let Some(paste) = &mut self.paste {
                let end = bytes.windows(END_PASTE.len()).position(|window| window == END_PASTE);
                // What may be the beginning of the end stays.
                let whole = end.unwrap_or(bytes.len().saturating_sub(END_PASTE.len() - 1));
                let room = self.max_paste.saturating_sub(paste.len());
                paste.extend_from_slice(&bytes[..whole.min(room)]);
                at += whole;
                if end.is_none() {
                    break;
                }
                at += END_PASTE.len();
                keys.extend(self.paste.take().map(|paste| Key::Paste(pasted(&paste))));
                continue;
            }
            match next(bytes) {
                Some((Token::Key(key), length)) => {
                    keys.push(key);
                    at += length;
                }
                Some((Token::BeginPaste, length)) => {
                    self.paste = Some(Vec::new());
                    at += length;
                }
                None => break,
            }
        }
        self.bytes.drain(..at);
        keys
    }

    /// Whether an Escape waits for what may belong to it.
    pub(super) fn is_waiting(&self) -> bool {
        self.paste.is_none() && !self.bytes.is_empty()
    }

    /// Nothing more has come: what waited is a key by itself, and means nothing here.
    pub(super) fn give_up(&mut self) {
        self.bytes.clear();
    }
}

enum Token {
    Key(Key),
    BeginPaste,
}

/// What the bytes begin with and how long it is; `None` where that cannot be told yet.
fn next(bytes: &[u8]) -> Option<(Token, usize)> {
    let (key, length) = match *bytes.first()? {
        ESCAPE => return escaped(bytes),
        b'\r' | b'\n' => (Key::Enter, 1),
        b'\t' => (Key::Char('\t'), 1),
        0x08 | 0x7f => (Key::Backspace, 1),
        control @ ..0x20 => (Key::Control(char::from(control + 0x40).to_ascii_lowercase()), 1),
        _ => match character(bytes)? {
            Ok(character) => (Key::Char(character), character.len_utf8()),
            Err(length) => (Key::Other, length),
        },
    };
    Some((Token::Key(key), length))
}

fn escaped(bytes: &[u8]) -> Option<(Token, usize)> {
    let (key, length) = match *bytes.get(1)? {
        b'[' => return sequence(bytes),
        b'O' => (named(*bytes.get(2)?, b""), 3),
        // Two in a row are one by itself, and the beginning of something else.
        ESCAPE => (Key::Other, 1),
        b'\r' | b'\n' => (Key::AltEnter, 2),
        0x08 | 0x7f => (Key::Alt('\u{8}'), 2),
        ..0x20 => (Key::Other, 2),
        _ => match character(&bytes[1..])? {
            Ok(character) => (Key::Alt(character.to_ascii_lowercase()), 1 + character.len_utf8()),
            Err(length) => (Key::Other, 1 + length),
        },
    };
    Some((Token::Key(key), length))
}

/// A control sequence (ECMA-48, 5.4): parameters, and a final byte.
fn sequence(bytes: &[u8]) -> Option<(Token, usize)> {
    // Function keys of the Linux console, which are not of that form.
    if bytes.get(2) == Some(&b'[') {
        return bytes.get(3).map(|_| (Token::Key(Key::Other), 4));
    }
    let Some(end) = bytes.iter().skip(2).position(|byte| !matches!(byte, 0x20..=0x3f)) else {
        return (bytes.len() > MAX_SEQUENCE).then_some((Token::Key(Key::Other), bytes.len()));
    };
    let (parameters, last) = (&bytes[2..2 + end], bytes[2 + end]);
    let token = match last {
        b'~' if parameters == BEGIN_PASTE => Token::BeginPaste,
        // What cuts a sequence short does not belong to it.
        ..0x20 => return Some((Token::Key(Key::Other), 2 + end)),
        _ => Token::Key(named(last, parameters)),
    };
    Some((token, 3 + end))
}

/// The keys that have sequences, by their final byte and parameters, of which the second tells of Ctrl and Alt.
fn named(last: u8, parameters: &[u8]) -> Key {
    let mut parameters = parameters.split(|byte| *byte == b';');
    let number = parameters.next().unwrap_or_default();
    let modified = parameters.next().is_some_and(|modifiers| !matches!(modifiers, b"" | b"1" | b"2"));
    match (last, number) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) if modified => Key::WordRight,
        (b'C', _) => Key::Right,
        (b'D', _) if modified => Key::WordLeft,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'~', b"3") => Key::Delete,
        (b'M', b"") => Key::Enter,
        _ => Key::Other,
    }
}

/// The character that the bytes begin with, or how many of them are none.
fn character(bytes: &[u8]) -> Option<Result<char, usize>> {
    let bytes = &bytes[..bytes.len().min(4)];
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // What is valid before an error is a whole number of characters.
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => return error.error_len().map(Err),
    };
    text.chars().next().map(Ok)
}

/// A paste as text: terminals send its line ends as they send Enter, and what controls a terminal is no text.
fn pasted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|character| matches!(character, '\n' | '\t') || !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::new(100);
        let whole = keys.feed(bytes);
        // However they are cut, they are the same.
        let mut one_by_one = Keys::new(100);
        let pieces: Vec<Key> = bytes.iter().flat_map(|byte| one_by_one.feed(&[*byte])).collect();
        assert_eq!(whole, pieces);
        whole
    }

    #[test]
    fn what_terminals_send() {
        for (bytes, expected) in [
            (&b"a"[..], Key::Char('a')),
            ("関".as_bytes(), Key::Char('関')),
            (b"\r", Key::Enter),
            (b"\n", Key::Enter),
            (b"\x1b\r", Key::AltEnter),
            (b"\x7f", Key::Backspace),
            (b"\x03", Key::Control('c')),
            (b"\x1c", Key::Control('\\')),
            (b"\x1b[A", Key::Up),
            (b"\x1bOA", Key::Up),
            (b"\x1b[1;5D", Key::WordLeft),
            (b"\x1b[1;2D", Key::Left),
            (b"\x1bB", Key::Alt('b')),
            (b"\x1b[3~", Key::Delete),
            (b"\x1b[15~", Key::Other),
            (b"\x1b[[A", Key::Other),
            (b"\x1bOH", Key::Home),
            (b"\x1b[4~", Key::End),
            (b"\xff", Key::Other),
        ] {
            assert_eq!(keys(bytes), [expected], "{bytes:?}");
        }
        assert_eq!(keys(b"\x1b[\x03"), [Key::Other, Key::Control('c')]);
        assert_eq!(keys(b"\xe9\x96a"), [Key::Other, Key::Char('a')]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Other, Key::Up]);
    }

    #[test]
    fn a_paste_is_one_key_and_nothing_but_text() {
        let pasted = keys(b"x\x1b[200~one\r\ntwo\rthr\x1b[31mee\t\x03\x1b[201~y");
        let text = Key::Paste("one\ntwo\nthr[31mee\t".into());
        assert_eq!(pasted, [Key::Char('x'), text, Key::Char('y')]);
    }

    #[test]
    fn a_paste_is_bounded() {
        let pasted = keys(&[b"\x1b[200~".as_slice(), &[b'x'; 500], END_PASTE].concat());
        assert_eq!(pasted, [Key::Paste("x".repeat(100))]);
    }

    #[test]
    fn an_escape_by_itself_is_given_up() {
        let mut keys = Keys::new(100);
        assert_eq!(keys.feed(b"\x1b"), []);
        assert!(keys.is_waiting());
        keys.give_up();
        assert!(!keys.is_waiting());
        assert_eq!(keys.feed(b"["), [Key::Char('[')]);
        assert_eq!(keys.feed(&[b"\x1b[".as_slice(), &[b'1'; 100]].concat()), [Key::Other]);
    }
}
