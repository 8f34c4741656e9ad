//! What workers are told to do, and what comes back.

use std::fmt;
use std::num::NonZeroU16;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{WireRef, WorkerStatus};

/// Whose words an input is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// The worker's user.
    #[default]
    User,
    /// The system around the worker.
    System,
    /// No words: the end of the worker's input. For runtimes with [`Feature::Eof`](super::super::Feature::Eof).
    Eof,
}

/// The body of an input. Prints no content that is secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "InputBody")]
pub struct Input {
    /// Whose words it is, or that no more will come.
    pub kind: InputKind,
    /// What is said; empty, and not on the wire, at the end of input.
    pub content: String,
    /// Whether the bytes go to the worker's terminal as they are, with no end of line added. For runtimes with
    /// [`Feature::RawInput`](super::super::Feature::RawInput).
    pub raw: bool,
    /// Whether transcript, events and logs have `[secret]` in place of the content. For runtimes with
    /// [`Feature::SecretInput`](super::super::Feature::SecretInput).
    pub secret: bool,
}

impl Input {
    /// Words that any runtime takes.
    pub fn new(kind: InputKind, content: impl Into<String>) -> Self {
        Self { kind, content: content.into(), raw: false, secret: false }
    }

    /// An input of what its body says.
    pub(crate) fn of_parts(
        kind: InputKind,
        content: Option<String>,
        raw: bool,
        secret: bool,
    ) -> Result<Self, &'static str> {
        match (kind, content) {
            (InputKind::Eof, None) if !raw && !secret => Ok(Self::eof()),
            (InputKind::Eof, _) => Err("The end of input goes with nothing else"),
            (_, None) => Err("The body lacks the field `content`"),
            (_, Some(content)) => Ok(Self { kind, content, raw, secret }),
        }
    }

    /// The end of the worker's input.
    pub fn eof() -> Self {
        Self::new(InputKind::Eof, "")
    }
}

#[derive(Deserialize)]
struct InputBody {
    kind: InputKind,
    content: Option<String>,
    #[serde(default)]
    raw: bool,
    #[serde(default)]
    secret: bool,
}

impl TryFrom<InputBody> for Input {
    type Error = &'static str;

    fn try_from(body: InputBody) -> Result<Self, &'static str> {
        let InputBody { kind, content, raw, secret } = body;
        Self::of_parts(kind, content, raw, secret)
    }
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Input", 4)?;
        body.serialize_field("kind", &self.kind)?;
        if self.kind != InputKind::Eof {
            body.serialize_field("content", &self.content)?;
            for (name, set) in [("raw", self.raw), ("secret", self.secret)] {
                if set {
                    body.serialize_field(name, &true)?;
                }
            }
        }
        body.end()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = if self.secret { "[secret]" } else { &self.content };
        let Self { kind, raw, secret, .. } = self;
        f.debug_struct("Input")
            .field("kind", kind)
            .field("content", &content)
            .field("raw", raw)
            .field("secret", secret)
            .finish()
    }
}

/// The body of a stop or cancel.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why the worker ends, for those who look at it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of a resize: the size of a terminal, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// How many characters a line has.
    #[serde(deserialize_with = "count")]
    pub cols: NonZeroU16,
    /// How many lines there are.
    #[serde(deserialize_with = "count")]
    pub rows: NonZeroU16,
}

/// Reads a count. `80.0` is the same number as `80` (RFC 8259, section 6), and some languages know no other kind.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU16, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(NonZeroU16),
        Float(f64),
    }
    let count = match Number::deserialize(deserializer)? {
        Number::Whole(count) => Some(count),
        // A cast stops at the bounds, and drops what is behind the point: what is then another number was no count.
        Number::Float(number) => {
            NonZeroU16::new(number as u16).filter(|count| f64::from(count.get()) == number)
        }
    };
    count.ok_or_else(|| serde::de::Error::custom("not a whole number of 1 to 65535"))
}

/// The body of an interrupt or a resume, which have nothing to say.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The answer to an input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InputAck {
    /// Which worker took it.
    pub worker_ref: WireRef,
    /// The worker's present state.
    pub status: WorkerStatus,
    /// The sequence of the transcript's item that it became.
    pub transcript_sequence: u64,
    /// The number of the event that told it.
    pub event_id: u64,
}

/// The answer to other commands that change something about a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ack {
    /// Which worker it is about.
    pub worker_ref: WireRef,
    /// The worker's present state.
    pub status: WorkerStatus,
    /// The number of the event that told it; of the first time, where it was done before.
    pub event_id: u64,
}
