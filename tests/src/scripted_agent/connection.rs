//! The lines between the agent and its client.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

/// How many lines of the client may wait to be heard.
const MAX_HEARD: usize = 64;

/// The client is gone, or the agent is to be: with this exit code.
#[derive(Debug)]
pub(super) struct Gone(pub(super) u8);

/// A line from the client.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    #[serde(default, deserialize_with = "Option::<Value>::deserialize")]
    pub(super) id: Option<Value>,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Value,
    #[serde(default)]
    pub(super) result: Value,
}

/// Why a wait was cut short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interrupted;

/// The two ends of the agent's standard streams.
pub(super) struct Connection<W> {
    heard: Receiver<Message>,
    /// What came while something else was waited for.
    later: VecDeque<Message>,
    output: W,
    asked: u64,
    /// Whether the turn under way was cancelled.
    cancelled: bool,
}

impl<W: Write> Connection<W> {
    pub(super) fn new(input: impl Read + Send + 'static, output: W) -> Self {
        let (sender, heard) = sync_channel(MAX_HEARD);
        thread::spawn(move || {
            for line in BufReader::new(input).lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str(&line) else { continue };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { heard, later: VecDeque::new(), output, asked: 0, cancelled: false }
    }

    /// The next message, for as long as it takes.
    pub(super) fn next(&mut self) -> Result<Message, Gone> {
        match self.later.pop_front() {
            Some(message) => Ok(message),
            None => self.heard.recv().map_err(|_| Gone(0)),
        }
    }

    /// Begins a turn: what was cancelled was another.
    pub(super) fn begin_turn(&mut self) {
        self.cancelled = false;
    }

    /// Whether the turn under way was cancelled by now.
    pub(super) fn is_cancelled(&mut self) -> Result<bool, Gone> {
        Ok(self.pause(Duration::ZERO)?.is_err())
    }

    /// Lets time pass, unless the turn is cancelled.
    pub(super) fn pause(&mut self, time: Duration) -> Result<Result<(), Interrupted>, Gone> {
        let until = Instant::now() + time;
        while !self.cancelled {
            match self.heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) => self.notice(message),
                Err(RecvTimeoutError::Timeout) => return Ok(Ok(())),
                Err(RecvTimeoutError::Disconnected) => return Err(Gone(0)),
            }
        }
        Ok(Err(Interrupted))
    }

    /// Asks the client something, and waits for its answer.
    pub(super) fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Gone> {
        self.asked += 1;
        let id = json!(format!("q{}", self.asked));
        self.line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let message = self.heard.recv().map_err(|_| Gone(0))?;
            if message.method.is_none() && message.id.as_ref() == Some(&id) {
                return Ok(message.result);
            }
            self.notice(message);
        }
    }

    fn notice(&mut self, message: Message) {
        match message.method.as_deref() {
            Some("session/cancel") => self.cancelled = true,
            _ => self.later.push_back(message),
        }
    }

    pub(super) fn result(&mut self, id: &Value, result: &Value) {
        self.line(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }

    pub(super) fn error(&mut self, id: &Value, code: i64, message: &str) {
        self.line(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }));
    }

    pub(super) fn update(&mut self, session: &str, update: &Value) {
        self.notification("session/update", &json!({ "sessionId": session, "update": update }));
    }

    pub(super) fn notification(&mut self, method: &str, params: &Value) {
        self.line(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    pub(super) fn line(&mut self, message: &Value) {
        let mut line = message.to_string();
        line.push('\n');
        self.raw(line.as_bytes());
    }

    /// Bytes as they are. A client that is gone is noticed by the end of the input.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.output.write_all(bytes).and_then(|()| self.output.flush());
    }
}
