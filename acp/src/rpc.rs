//! JSON-RPC 2.0, as ACP uses it: one message a line, no batches.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits::{MAX_MESSAGE, MAX_RPC_ID};
use crate::text::{Text, cut};

/// The request was cancelled.
pub(crate) const REQUEST_CANCELLED: i64 = -32800;
/// There is no such method.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters are not those of the method.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// What was asked for cannot be done.
pub(crate) const INTERNAL_ERROR: i64 = -32603;
/// ACP's own: a login is needed first.
pub(crate) const AUTHENTICATION_REQUIRED: i64 = -32000;

/// The id of a request from the agent, as it wrote it: a number, a string or null.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RpcId(Box<str>);

impl RpcId {
    /// Reads an id. Arrays, objects and what is over [`MAX_RPC_ID`] are none.
    pub(crate) fn of(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        (text.len() <= MAX_RPC_ID && !text.starts_with(['{', '[', 't', 'f'])).then(|| Self(text.into()))
    }
}

impl Serialize for RpcId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).unwrap_or(RawValue::NULL);
        raw.serialize(serializer)
    }
}

/// An error in place of a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    /// In words, at most [`MAX_MESSAGE`] bytes.
    pub(crate) message: String,
}

/// What a line says.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Request {
        id: RpcId,
        method: String,
        params: Option<&'a RawValue>,
    },
    Notification {
        method: String,
        params: Option<&'a RawValue>,
    },
    Response {
        /// The number of our request. `None` is an answer to nothing that was asked.
        id: Option<u64>,
        result: Result<&'a RawValue, RpcError>,
    },
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    jsonrpc: Text,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    method: Option<Text>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A field that is there, be it null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a line; `None` where it is no JSON-RPC.
pub(crate) fn read(line: &str) -> Option<Message<'_>> {
    let Envelope { jsonrpc, id, method, params, result, error } = serde_json::from_str(line).ok()?;
    if jsonrpc.0 != "2.0" {
        return None;
    }
    match (method, id) {
        (Some(Text(method)), Some(id)) => Some(Message::Request { id: RpcId::of(id)?, method, params }),
        (Some(Text(method)), None) => Some(Message::Notification { method, params }),
        (None, Some(id)) => {
            let result = match (result, error) {
                (_, Some(error)) => Err(read_error(error)),
                (Some(result), None) => Ok(result),
                (None, None) => return None,
            };
            Some(Message::Response { id: id.get().parse().ok(), result })
        }
        (None, None) => None,
    }
}

/// An error in words: its message, and the details that some agents put beside it.
fn read_error(error: &RawValue) -> RpcError {
    #[derive(serde::Deserialize)]
    struct Shape<'a> {
        code: Option<i64>,
        message: Option<Text>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct Details {
        details: Option<Text>,
        message: Option<Text>,
    }
    let Ok(Shape { code, message, data }) = serde_json::from_str(error.get()) else {
        return RpcError { code: INTERNAL_ERROR, message: "an error without a message".into() };
    };
    let details = data.and_then(|data| match serde_json::from_str::<Details>(data.get()) {
        Ok(shape) => shape.details.or(shape.message),
        Err(_) => serde_json::from_str::<Text>(data.get()).ok(),
    });
    let message = match (message, details) {
        (Some(Text(message)), Some(Text(details))) if message != details => format!("{message}: {details}"),
        (Some(Text(text)), _) | (None, Some(Text(text))) => text,
        (None, None) => "an error without a message".into(),
    };
    RpcError { code: code.unwrap_or(INTERNAL_ERROR), message: cut(&message, MAX_MESSAGE) }
}

/// The method of a message of which only the beginning is there, unless it is a request.
pub(crate) fn notification_of_head(head: &[u8]) -> Option<String> {
    struct Head<'a> {
        method: &'a mut Option<String>,
        is_request: &'a mut bool,
    }
    impl<'de> Visitor<'de> for Head<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            // What was found before the text broke off is what counts.
            while let Some(Text(key)) = map.next_key()? {
                match key.as_str() {
                    "method" => *self.method = Some(map.next_value::<Text>()?.0),
                    "id" => *self.is_request = true,
                    _ => {}
                }
                if key != "method" {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(())
        }
    }
    let (mut method, mut is_request) = (None, false);
    let mut deserializer = serde_json::Deserializer::from_slice(head);
    // It always fails at the end of the beginning.
    let _ = deserializer.deserialize_map(Head { method: &mut method, is_request: &mut is_request });
    method.filter(|_| !is_request)
}

/// A request, as a line.
pub(crate) fn request(id: u64, method: &str, params: &impl Serialize) -> Bytes {
    #[derive(Serialize)]
    struct Line<'a, P> {
        jsonrpc: &'a str,
        id: u64,
        method: &'a str,
        params: &'a P,
    }
    line(&Line { jsonrpc: "2.0", id, method, params })
}

/// A notification, as a line.
pub(crate) fn notification(method: &str, params: &impl Serialize) -> Bytes {
    #[derive(Serialize)]
    struct Line<'a, P> {
        jsonrpc: &'a str,
        method: &'a str,
        params: &'a P,
    }
    line(&Line { jsonrpc: "2.0", method, params })
}

/// The answer to a request, as a line.
pub(crate) fn result(id: &RpcId, result: &impl Serialize) -> Bytes {
    #[derive(Serialize)]
    struct Line<'a, R> {
        jsonrpc: &'a str,
        id: &'a RpcId,
        result: &'a R,
    }
    line(&Line { jsonrpc: "2.0", id, result })
}

/// The refusal of a request, as a line.
pub(crate) fn error(id: &RpcId, code: i64, message: &str) -> Bytes {
    #[derive(Serialize)]
    struct Shape<'a> {
        code: i64,
        message: &'a str,
    }
    #[derive(Serialize)]
    struct Line<'a> {
        jsonrpc: &'a str,
        id: &'a RpcId,
        error: Shape<'a>,
    }
    line(&Line { jsonrpc: "2.0", id, error: Shape { code, message } })
}

fn line(message: &impl Serialize) -> Bytes {
    // Only a map with keys that are not strings could fail, and there is none.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests;
