//! What the words of a prompt make the agent do.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::connection::{Connection, Gone, Interrupted};

/// The words, and what each does.
pub(super) const WORDS: [(&str, &str); 30] = [
    ("slow", "wait a second"),
    ("wait:MS", "wait so many milliseconds"),
    ("forever", "wait until the turn is cancelled"),
    ("think", "think aloud"),
    ("read", "call a tool that succeeds"),
    ("fail", "call a tool that fails"),
    ("write", "call a tool after a permission"),
    ("ask", "ask for a permission without a tool call before it"),
    ("withdraw", "ask for a permission, and withdraw the question"),
    ("choose", "ask which of three colors to take"),
    ("form", "ask for a form that is more than a choice"),
    ("files", "ask the client to read a file"),
    ("plan", "tell a plan"),
    ("mode", "tell a change of mode"),
    ("options", "tell the options"),
    ("title", "tell a title of the session"),
    ("usage", "tell how full the context is"),
    ("image", "say an image"),
    ("news", "tell an update that is not known, and a notification that is not"),
    ("log", "log to both outputs in words"),
    ("html", "answer with a page, as a proxy does"),
    ("broken", "write half of a message, and its end on another line"),
    ("emoji", "say a character in two halves"),
    ("flood:N", "say N fragments as fast as they are taken"),
    ("long:MIB", "write an update of so many MiB"),
    ("endless", "write a message of 100 MiB that is no update"),
    ("limit", "end the turn: too many tokens"),
    ("refuse", "end the turn: refused"),
    ("error", "end the turn with an error"),
    ("die", "exit at once with code 3; dies in the midst of a message with die!"),
];

/// How a turn ends: with a reason to stop, or an error.
pub(super) type Stop = Result<&'static str, &'static str>;

/// Why the next word is not done.
enum Break {
    Gone(Gone),
    Stop(Stop),
}

impl From<Gone> for Break {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

impl From<Interrupted> for Break {
    fn from(_: Interrupted) -> Self {
        Self::Stop(Ok("cancelled"))
    }
}

/// Does what the prompt says, word by word.
///
/// `calls` counts the tool calls of all turns, so that no two have one name.
pub(super) fn act<W: Write>(
    connection: &mut Connection<W>,
    calls: &mut u32,
    session: &str,
    prompt: &str,
) -> Result<Stop, Gone> {
    connection.begin_turn();
    let mut actor = Actor { connection, session, calls };
    for word in prompt.split_whitespace() {
        match actor.word(word) {
            Ok(()) => {}
            Err(Break::Gone(gone)) => return Err(gone),
            Err(Break::Stop(stop)) => return Ok(stop),
        }
        if actor.connection.is_cancelled()? {
            return Ok(Ok("cancelled"));
        }
    }
    Ok(Ok("end_turn"))
}

struct Actor<'a, W> {
    connection: &'a mut Connection<W>,
    session: &'a str,
    calls: &'a mut u32,
}

impl<W: Write> Actor<'_, W> {
    fn word(&mut self, word: &str) -> Result<(), Break> {
        let (name, number) = match word.split_once(':') {
            Some((name, number)) => (name, number.parse::<u64>().ok()),
            None => (word, None),
        };
        match (name, number) {
            ("slow", None) => self.pause(1000)?,
            ("wait", Some(milliseconds)) => self.pause(milliseconds)?,
            ("forever", None) => self.pause(1 << 40)?,
            ("read" | "fail", None) => self.tool(name == "fail")?,
            ("write", None) => self.write()?,
            ("ask", None) => _ = self.permission("ask-1", "Do what cannot be undone")?,
            ("withdraw", None) => self.withdraw(),
            ("choose" | "form", None) => self.choose(name == "form")?,
            ("files", None) => {
                let params = json!({ "sessionId": self.session, "path": "/etc/hostname" });
                self.connection.ask("fs/read_text_file", &params)?;
                self.say("no files ");
            }
            ("plan" | "mode" | "options" | "title" | "usage" | "image" | "think", None) => self.tell(name),
            ("news", None) => {
                self.update(&json!({ "sessionUpdate": "weather", "sky": "clear" }));
                self.connection.notification("_scripted/news", &json!({ "paper": "none" }));
            }
            ("log" | "html" | "broken" | "emoji" | "die" | "die!" | "endless", None) => {
                self.misbehave(name)?
            }
            ("flood", Some(count)) => self.flood(count)?,
            ("long", Some(mib)) => {
                let text = "x".repeat(usize::try_from(mib << 20).unwrap_or(1 << 20));
                self.say(&text);
            }
            ("limit", None) => return Err(Break::Stop(Ok("max_tokens"))),
            ("refuse", None) => return Err(Break::Stop(Ok("refusal"))),
            ("error", None) => return Err(Break::Stop(Err("the script says so"))),
            _ => self.say(&format!("{word} ")),
        }
        Ok(())
    }

    fn pause(&mut self, milliseconds: u64) -> Result<(), Break> {
        Ok(self.connection.pause(Duration::from_millis(milliseconds))??)
    }

    fn update(&mut self, update: &Value) {
        self.connection.update(self.session, update);
    }

    fn say(&mut self, text: &str) {
        let content = json!({ "type": "text", "text": text });
        self.update(&json!({ "sessionUpdate": "agent_message_chunk", "content": content }));
    }

    fn tell(&mut self, what: &str) {
        let update = match what {
            "plan" => json!({ "sessionUpdate": "plan", "entries": [
                { "content": "Look around", "priority": "medium", "status": "completed" },
                { "content": "Write it down", "priority": "high", "status": "in_progress" },
            ] }),
            "mode" => json!({ "sessionUpdate": "current_mode_update", "currentModeId": "code" }),
            "options" => json!({ "sessionUpdate": "config_option_update", "configOptions": [] }),
            "title" => json!({ "sessionUpdate": "session_info_update", "title": "A scripted session" }),
            "usage" => json!({ "sessionUpdate": "usage_update", "used": 1000, "size": 200_000 }),
            "image" => {
                let content = json!({ "type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo=" });
                json!({ "sessionUpdate": "agent_message_chunk", "content": content })
            }
            _ => {
                let content = json!({ "type": "text", "text": "Let me think. " });
                json!({ "sessionUpdate": "agent_thought_chunk", "content": content })
            }
        };
        self.update(&update);
    }

    fn call(&mut self, title: &str, kind: &str) -> String {
        *self.calls += 1;
        let id = format!("call-{}", self.calls);
        self.update(&json!({
            "sessionUpdate": "tool_call", "toolCallId": id, "title": title, "kind": kind, "status": "pending",
        }));
        id
    }

    fn finish(&mut self, id: &str, status: &str, text: &str) {
        let content = json!([{ "type": "content", "content": { "type": "text", "text": text } }]);
        self.update(&json!({
            "sessionUpdate": "tool_call_update", "toolCallId": id, "status": status, "content": content,
        }));
    }

    fn tool(&mut self, fails: bool) -> Result<(), Break> {
        let id = self.call("Read README.md", "read");
        self.update(
            &json!({ "sessionUpdate": "tool_call_update", "toolCallId": id, "status": "in_progress" }),
        );
        self.pause(10)?;
        match fails {
            true => self.finish(&id, "failed", "no such file"),
            false => self.finish(&id, "completed", "# README\nThere is not much in it."),
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Break> {
        let id = self.call("Write notes.txt", "edit");
        let answer = self.permission(&id, "Write notes.txt")?;
        match answer["outcome"]["optionId"].as_str() {
            Some("allow" | "always") => self.finish(&id, "completed", "wrote 12 bytes"),
            Some(_) => self.finish(&id, "failed", "not allowed"),
            None => return Err(Break::Stop(Ok("cancelled"))),
        }
        Ok(())
    }

    fn permission(&mut self, id: &str, title: &str) -> Result<Value, Break> {
        let params = json!({
            "sessionId": self.session,
            "toolCall": { "toolCallId": id, "title": title, "rawInput": { "path": "notes.txt", "text": "hello, world" } },
            "options": [
                { "optionId": "allow", "name": "Allow", "kind": "allow_once" },
                { "optionId": "always", "name": "Always allow", "kind": "allow_always" },
                { "optionId": "reject", "name": "Reject", "kind": "reject_once" },
            ],
        });
        Ok(self.connection.ask("session/request_permission", &params)?)
    }

    fn withdraw(&mut self) {
        let params = json!({ "toolCall": { "toolCallId": "w", "title": "Never mind" }, "options": [
            { "optionId": "allow", "name": "Allow", "kind": "allow_once" },
        ] });
        self.connection.line(&json!({
            "jsonrpc": "2.0", "id": "w", "method": "session/request_permission", "params": params,
        }));
        self.connection.notification("$/cancel_request", &json!({ "requestId": "w" }));
    }

    fn choose(&mut self, is_form: bool) -> Result<(), Break> {
        let color = json!({ "type": "string", "title": "Color", "enum": ["red", "green", "blue"] });
        let properties = match is_form {
            true => json!({ "color": color, "name": { "type": "string" } }),
            false => json!({ "color": color }),
        };
        let params = json!({
            "sessionId": self.session,
            "mode": "form",
            "message": "Which color?",
            "requestedSchema": { "type": "object", "properties": properties },
        });
        let answer = self.connection.ask("elicitation/create", &params)?;
        match answer["content"]["color"].as_str() {
            Some(color) => self.say(&format!("{color}, then ")),
            None => self.say("no color "),
        }
        Ok(())
    }

    fn misbehave(&mut self, how: &str) -> Result<(), Break> {
        match how {
            "log" => {
                self.connection.raw(b"a line that is no message\n");
                eprintln!("a line on standard error");
            }
            "html" => self.connection.raw(b"<html>\n<h1>502 Bad Gateway</h1>\n</html>\n"),
            "broken" => {
                self.connection.raw(b"{\"jsonrpc\":\"2.0\",\"method\":\"session/upd\n");
                self.connection.raw(b"ate\"}\n");
            }
            "emoji" => {
                // As a program does that cuts UTF-16 anywhere.
                for half in ["\\ud83d", "\\ude00"] {
                    let line = format!(
                        r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":{},"update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":"{half}"}}}}}}}}"#,
                        json!(self.session)
                    );
                    self.connection.raw(line.as_bytes());
                    self.connection.raw(b"\n");
                }
            }
            "endless" => {
                self.connection.raw(b"{\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"x\",\"params\":\"");
                let piece = "x".repeat(1 << 20);
                for _ in 0..100 {
                    self.connection.raw(piece.as_bytes());
                }
                self.connection.raw(b"\"}\n");
            }
            other => {
                if other == "die!" {
                    self.connection.raw(b"{\"jsonrpc\":\"2.0\",\"met");
                }
                return Err(Break::Gone(Gone(3)));
            }
        }
        Ok(())
    }

    fn flood(&mut self, count: u64) -> Result<(), Break> {
        for n in 0..count {
            self.say(&format!("{n} "));
            if n % 1024 == 0 && self.connection.is_cancelled()? {
                return Err(Interrupted.into());
            }
        }
        Ok(())
    }
}
