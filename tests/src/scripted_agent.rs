//! An agent that speaks the Agent Client Protocol and needs no model: each word of a prompt is something that it does.
//!
//! It is for tests, and for anybody who wants to see a worker that is an agent: `cargo run -p sekisho-tests --bin
//! scripted-agent -- --help` lists the words.

mod act;
mod connection;

use std::io::{Read, Write};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use self::act::{WORDS, act};
use self::connection::{Connection, Gone, Message};

/// An agent without a model: it speaks the Agent Client Protocol on its standard input and output, and does what the
/// words of a prompt say.
#[derive(Clone, Debug, Default, Parser)]
pub struct Options {
    /// Ask for a login that takes a person before a session is opened.
    #[arg(long)]
    pub login: bool,
    /// Ask for a login for which a key in the environment is enough.
    #[arg(long, conflicts_with = "login")]
    pub key: bool,
    /// The version of the protocol to answer with.
    #[arg(long, default_value_t = 1)]
    pub protocol: u16,
    /// Do not answer anything.
    #[arg(long)]
    pub silent: bool,
    /// Exit as soon as the session is open.
    #[arg(long)]
    pub short_lived: bool,
    /// Do not be able to load sessions.
    #[arg(long)]
    pub forgetful: bool,
    /// Resume sessions without repeating what was said.
    #[arg(long, conflicts_with = "forgetful")]
    pub resumes: bool,
    /// Offer modes and models.
    #[arg(long)]
    pub choices: bool,
    /// Write this line to the standard output first, as programs do that log there.
    #[arg(long, value_name = "LINE")]
    pub banner: Option<String>,
}

/// The words and what each does, for `--help`.
pub fn help_of_words() -> String {
    let mut help = String::from("Words of a prompt, done one after another; any other word is said:\n");
    for (word, meaning) in WORDS {
        help.push_str(&format!("  {word:<14} {meaning}\n"));
    }
    help.push_str("\nAn agent that asks before it writes: \"I will write write done\".");
    help
}

/// Runs until the input ends.
pub fn run(options: &Options, input: impl Read + Send + 'static, output: impl Write) -> ExitCode {
    let mut agent = Agent {
        options,
        connection: Connection::new(input, output),
        authenticated: false,
        sessions: 0,
        calls: 0,
    };
    if let Some(banner) = &options.banner {
        agent.connection.raw(banner.as_bytes());
        agent.connection.raw(b"\n");
    }
    match agent.serve() {
        Ok(code) | Err(Gone(code)) => ExitCode::from(code),
    }
}

struct Agent<'a, W> {
    options: &'a Options,
    connection: Connection<W>,
    authenticated: bool,
    sessions: u32,
    calls: u32,
}

impl<W: Write> Agent<'_, W> {
    fn serve(&mut self) -> Result<u8, Gone> {
        loop {
            let Message { id, method, params, .. } = self.connection.next()?;
            // Notifications that come between turns change nothing.
            let (Some(id), false) = (id, self.options.silent) else { continue };
            match method.as_deref() {
                Some("initialize") => self.initialize(&id),
                Some("authenticate") => {
                    self.authenticated = self.options.key;
                    self.connection.result(&id, &json!({}));
                }
                Some("session/new") => {
                    self.sessions += 1;
                    let session = format!("scripted-{}-{}", std::process::id(), self.sessions);
                    self.open(&id, &session, true);
                }
                Some("session/load") => {
                    let session = session_of(&params);
                    for (kind, text) in
                        [("user_message_chunk", "before"), ("agent_message_chunk", "as I said before")]
                    {
                        let content = json!({ "type": "text", "text": text });
                        self.connection
                            .update(&session, &json!({ "sessionUpdate": kind, "content": content }));
                    }
                    self.open(&id, &session, false);
                }
                Some("session/resume") if self.options.resumes => self.open(&id, &session_of(&params), false),
                Some("session/set_mode" | "session/set_model") => self.connection.result(&id, &json!({})),
                Some("session/prompt") => self.prompt(&id, &params)?,
                Some(_) => self.connection.error(&id, -32601, "there is no such method"),
                None => {}
            }
            if self.options.short_lived && self.sessions > 0 {
                return Ok(0);
            }
        }
    }

    fn initialize(&mut self, id: &Value) {
        let methods = match (self.options.login, self.options.key) {
            (true, _) => json!([{ "id": "account", "name": "Log in to an account" }]),
            (_, true) => {
                json!([{ "id": "key", "name": "Use a key", "type": "env_var", "vars": [{ "name": "KEY" }] }])
            }
            _ => json!([]),
        };
        let sessions = if self.options.resumes { json!({ "resume": {} }) } else { json!({}) };
        self.connection.result(
            id,
            &json!({
                "protocolVersion": self.options.protocol,
                "agentCapabilities": {
                    "loadSession": !self.options.forgetful,
                    "sessionCapabilities": sessions,
                },
                "agentInfo": { "name": "scripted-agent", "version": env!("CARGO_PKG_VERSION") },
                "authMethods": methods,
            }),
        );
    }

    fn open(&mut self, id: &Value, session: &str, is_new: bool) {
        if (self.options.login || self.options.key) && !self.authenticated {
            return self.connection.error(id, -32000, "Authentication required");
        }
        let mut result = match self.options.choices {
            true => json!({
                "modes": { "currentModeId": "ask", "availableModes": [
                    { "id": "ask", "name": "Ask first" }, { "id": "code", "name": "Write code" },
                ] },
                "models": { "currentModelId": "small", "availableModels": [
                    { "modelId": "small", "name": "Small" }, { "modelId": "large", "name": "Large" },
                ] },
            }),
            false => json!({}),
        };
        if is_new {
            result["sessionId"] = session.into();
        }
        self.connection.result(id, &result);
        let commands = json!([{ "name": "help", "description": "Says what it can do" }]);
        self.connection.update(
            session,
            &json!({ "sessionUpdate": "available_commands_update", "availableCommands": commands }),
        );
    }

    fn prompt(&mut self, id: &Value, params: &Value) -> Result<(), Gone> {
        let session = session_of(params);
        let text: Vec<&str> = params["prompt"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|block| block["text"].as_str())
            .collect();
        let stop = act(&mut self.connection, &mut self.calls, &session, &text.join("\n"))?;
        match stop {
            Ok(reason) => self.connection.result(id, &json!({ "stopReason": reason })),
            Err(message) => self.connection.error(id, -32603, message),
        }
        Ok(())
    }
}

fn session_of(params: &Value) -> String {
    params["sessionId"].as_str().unwrap_or_default().to_owned()
}
