//! What a profile says of an agent (`docs/agents.md`).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// How long an agent may take to start unless its profile says otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How an agent is started, beside its program. Each field is the key of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentProfile {
    /// What becomes of a permission that it asks for.
    pub permissions: AgentPermissions,
    /// How long it may take from its start to an open session: `start_timeout_ms`.
    pub start_timeout: Duration,
    /// The MCP servers that it is to connect to, passed on as they are.
    pub mcp_servers: Vec<Value>,
    /// The id of the mode that its session is to be in.
    pub mode: Option<String>,
    /// The id of the model that its session is to use.
    pub model: Option<String>,
    /// The id of its own method of authentication that is used before a session is opened.
    pub auth_method: Option<String>,
}

/// What becomes of a permission that an agent asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentPermissions {
    /// A person is asked.
    #[default]
    Ask,
    /// It is granted once.
    Allow,
    /// It is refused once.
    Reject,
}

/// The keys of a profile that are for agents alone.
#[derive(Default, Debug)]
pub(crate) struct AgentKeys {
    pub(crate) permissions: Option<AgentPermissions>,
    pub(crate) start_timeout_ms: Option<u64>,
    pub(crate) mcp_servers: Option<Vec<Value>>,
    pub(crate) mode: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) auth_method: Option<String>,
}

impl AgentKeys {
    /// The first of them that is there.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let Self { permissions, start_timeout_ms, mcp_servers, mode, model, auth_method } = self;
        let keys = [
            ("permissions", permissions.is_some()),
            ("start_timeout_ms", start_timeout_ms.is_some()),
            ("mcp_servers", mcp_servers.is_some()),
            ("mode", mode.is_some()),
            ("model", model.is_some()),
            ("auth_method", auth_method.is_some()),
        ];
        keys.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key)
    }

    /// What they say, or the key that is wrong and why.
    pub(crate) fn into_profile(self) -> Result<AgentProfile, (&'static str, &'static str)> {
        let Self { permissions, start_timeout_ms, mcp_servers, mode, model, auth_method } = self;
        if start_timeout_ms == Some(0) {
            return Err(("start_timeout_ms", "is not positive"));
        }
        let mcp_servers = mcp_servers.unwrap_or_default();
        if !mcp_servers.iter().all(Value::is_object) {
            return Err(("mcp_servers", "has an entry that is not a table"));
        }
        Ok(AgentProfile {
            permissions: permissions.unwrap_or_default(),
            start_timeout: start_timeout_ms.map_or(START_TIMEOUT, Duration::from_millis),
            mcp_servers,
            mode,
            model,
            auth_method,
        })
    }
}
