//! What an agent is started with.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::limits::START_TIMEOUT;

/// What the profile of an agent says, and which session it is to work in.
#[derive(Clone, PartialEq)]
pub struct AgentConfig {
    /// The working directory of the session: absolute, as ACP demands. It is passed on as it is.
    pub cwd: String,
    /// What becomes of a permission that the agent asks for.
    pub permissions: Permissions,
    /// How long it may take from the start to an open session; [`START_TIMEOUT`] unless set.
    pub start_timeout: Duration,
    /// The MCP servers that the agent is to connect to, in ACP's own form, passed on as they are.
    pub mcp_servers: Vec<Value>,
    /// The id of the mode that the session is to be in.
    pub mode: Option<String>,
    /// The id of the model that the session is to use.
    pub model: Option<String>,
    /// The id of the agent's own method of authentication that is to be used before a session is opened. The
    /// operator names one that needs no person, such as one that takes a key from the environment.
    pub auth_method: Option<String>,
    /// The session that is to be taken up again; `None` opens a new one.
    pub resume: Option<String>,
    /// How many times this worker's agent was started before: ids of requests differ from one start to the next.
    pub starts_before: u32,
}

impl AgentConfig {
    /// A new session in that directory with nothing else configured.
    pub fn new(cwd: impl Into<String>) -> Self {
        Self {
            cwd: cwd.into(),
            permissions: Permissions::default(),
            start_timeout: START_TIMEOUT,
            mcp_servers: Vec::new(),
            mode: None,
            model: None,
            auth_method: None,
            resume: None,
            starts_before: 0,
        }
    }
}

impl fmt::Debug for AgentConfig {
    /// Leaves out the MCP servers, whose environment may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConfig")
            .field("cwd", &self.cwd)
            .field("permissions", &self.permissions)
            .field("start_timeout", &self.start_timeout)
            .field("mcp_servers", &self.mcp_servers.len())
            .field("mode", &self.mode)
            .field("model", &self.model)
            .field("resume", &self.resume.is_some())
            .finish_non_exhaustive()
    }
}

/// What becomes of a permission that an agent asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permissions {
    /// It becomes a request, and a person answers it.
    #[default]
    Ask,
    /// It is granted, with the agent's own option to allow it once. Where the agent offers no such option, it becomes
    /// a request.
    Allow,
    /// It is refused, with the agent's own option to reject it once. Where the agent offers no such option, it
    /// becomes a request.
    Reject,
}
