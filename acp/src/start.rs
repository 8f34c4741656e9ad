//! From the start of an agent to an open session.
//!
//! ```text
//!  initialize ──► (authenticate) ──► session/new, session/load or session/resume ──► (mode, model) ──► ready
//!                       ▲                          │
//!                       └──────────────────────────┘ a login is needed, and a method needs no person: once
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::config::AgentConfig;
use crate::error::{StartError, StartStep};
use crate::event::Started;
use crate::limits::{MAX_ID, MAX_TITLE};
use crate::raw;
use crate::rpc::{AUTHENTICATION_REQUIRED, RpcError};
use crate::schema::{AuthMethod, ConfigOption, ConfigValue, Initialized, Models, Modes, Named, Opened, read};
use crate::text::{Text, cut};

/// The version of ACP that is spoken.
const PROTOCOL_VERSION: u16 = 1;

/// How many names a message lists.
const MAX_LISTED: usize = 16;

/// What is to be done next.
pub(crate) enum Progress {
    /// Ask this.
    Ask { step: StartStep, params: Value },
    /// The session is open.
    Ready(Box<Ready>),
    /// There will be none.
    Failed(StartError),
}

/// What is known once the session is open.
#[derive(Default)]
pub(crate) struct Ready {
    pub(crate) session_id: String,
    pub(crate) resumable: bool,
    pub(crate) agent: Option<String>,
    /// What the agent says of its modes and options, for the viewers.
    pub(crate) modes: Option<Box<RawValue>>,
    pub(crate) options: Option<Box<RawValue>>,
}

impl Ready {
    pub(crate) fn started(&self) -> Started {
        Started { session_id: self.session_id.clone(), resumable: self.resumable, agent: self.agent.clone() }
    }
}

/// A start under way.
pub(crate) struct Start {
    step: StartStep,
    /// When it must be over.
    pub(crate) until: Instant,
    auth_methods: Vec<AuthMethod>,
    authenticated: bool,
    can_load: bool,
    can_resume: bool,
    settings: VecDeque<Setting>,
    ready: Ready,
}

/// Something to be set before the session is used.
struct Setting {
    step: StartStep,
    params: Value,
}

impl Start {
    /// A start, and the first thing to ask.
    pub(crate) fn begin(now: Instant, config: &AgentConfig) -> (Self, Progress) {
        let start = Self {
            step: StartStep::Initialize,
            until: now + config.start_timeout,
            auth_methods: Vec::new(),
            authenticated: false,
            can_load: false,
            can_resume: false,
            settings: VecDeque::new(),
            ready: Ready::default(),
        };
        let params = json!({
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": {
                "fs": { "readTextFile": false, "writeTextFile": false },
                "terminal": false,
                "elicitation": { "form": {} },
            },
            "clientInfo": { "name": "sekisho", "title": "sekisho", "version": env!("CARGO_PKG_VERSION") },
        });
        (start, Progress::Ask { step: StartStep::Initialize, params })
    }

    /// What the agent was asked last.
    pub(crate) fn step(&self) -> StartStep {
        self.step
    }

    /// Whether a session is being taken up again, of which the agent may repeat what was said.
    pub(crate) fn is_resuming(&self) -> bool {
        matches!(self.step, StartStep::LoadSession | StartStep::ResumeSession)
    }

    /// Takes the answer to what was asked last.
    pub(crate) fn answer(&mut self, config: &AgentConfig, answer: Result<&RawValue, RpcError>) -> Progress {
        let progress = match (self.step, answer) {
            (StartStep::NewSession | StartStep::LoadSession | StartStep::ResumeSession, Err(error))
                if error.code == AUTHENTICATION_REQUIRED =>
            {
                self.login()
            }
            (step, Err(error)) => Err(StartError::Refused { step, message: error.message }),
            (StartStep::Initialize, Ok(answer)) => self.initialized(config, answer),
            (StartStep::Authenticate, Ok(_)) => self.open(config),
            (StartStep::NewSession | StartStep::LoadSession | StartStep::ResumeSession, Ok(answer)) => {
                self.opened(config, answer)
            }
            (StartStep::SetMode | StartStep::SetModel | StartStep::SetOption, Ok(answer)) => {
                if let Some(options) =
                    read::<Opened<'_>>(Some(answer)).and_then(|opened| opened.config_options)
                {
                    self.ready.options = Some(raw::bounded(options));
                }
                Ok(self.next_setting())
            }
        };
        let progress = progress.unwrap_or_else(Progress::Failed);
        if let Progress::Ask { step, .. } = &progress {
            self.step = *step;
        }
        progress
    }

    fn initialized(&mut self, config: &AgentConfig, answer: &RawValue) -> Result<Progress, StartError> {
        let Some(initialized) = read::<Initialized<'_>>(Some(answer)) else {
            return Err(StartError::Malformed { step: self.step });
        };
        let version = initialized.protocol_version.get();
        if version != PROTOCOL_VERSION.to_string() {
            return Err(StartError::UnsupportedVersion { version: cut(version, 64) });
        }
        let capabilities = initialized.agent_capabilities.0.unwrap_or_default();
        self.can_load = capabilities.load_session.0.unwrap_or_default();
        self.can_resume = capabilities.session_capabilities.0.unwrap_or_default().resume.0.is_some();
        self.ready.resumable = self.can_load || self.can_resume;
        self.ready.agent = initialized.agent_info.0.map(|info| {
            let version = info.version.0.map(|Text(version)| format!(" {version}")).unwrap_or_default();
            cut(&format!("{}{version}", info.name.0), MAX_TITLE)
        });
        let methods = initialized.auth_methods.0.unwrap_or_default();
        self.auth_methods = methods.into_iter().filter_map(|method| method.0).collect();
        let Some(wanted) = &config.auth_method else { return self.open(config) };
        match self.auth_methods.iter().find(|method| method.id.0 == *wanted) {
            Some(_) => Ok(self.authenticate(wanted.clone())),
            None => Err(StartError::UnknownAuthMethod {
                method: wanted.clone(),
                known: list(self.auth_methods.iter().map(|method| method.id.0.as_str())),
            }),
        }
    }

    /// A session needs a login first.
    fn login(&mut self) -> Result<Progress, StartError> {
        // A key in the agent's environment needs no person; of any other method it is not known.
        let silent = self.auth_methods.iter().find(|method| method.r#type.as_str() == Some("env_var"));
        match silent {
            Some(method) if !self.authenticated => Ok(self.authenticate(method.id.0.clone())),
            _ => {
                let names = self.auth_methods.iter().map(|method| match method.name.as_str() {
                    Some(name) => name,
                    None => method.id.0.as_str(),
                });
                Err(StartError::LoginRequired { methods: list(names) })
            }
        }
    }

    fn authenticate(&mut self, method: String) -> Progress {
        self.authenticated = true;
        Progress::Ask { step: StartStep::Authenticate, params: json!({ "methodId": method }) }
    }

    fn open(&self, config: &AgentConfig) -> Result<Progress, StartError> {
        let mut params = json!({ "cwd": config.cwd, "mcpServers": config.mcp_servers });
        let step = match &config.resume {
            None => StartStep::NewSession,
            Some(session_id) => {
                params["sessionId"] = session_id.as_str().into();
                // Without a replay where there is the choice: nothing is made of it.
                match (self.can_resume, self.can_load) {
                    (true, _) => StartStep::ResumeSession,
                    (false, true) => StartStep::LoadSession,
                    (false, false) => return Err(StartError::CannotResume),
                }
            }
        };
        Ok(Progress::Ask { step, params })
    }

    fn opened(&mut self, config: &AgentConfig, answer: &RawValue) -> Result<Progress, StartError> {
        let malformed = || StartError::Malformed { step: self.step };
        let opened = read::<Option<Opened<'_>>>(Some(answer)).ok_or_else(malformed)?.unwrap_or_default();
        self.ready.session_id = match (&config.resume, &opened.session_id.0) {
            (Some(session_id), _) => session_id.clone(),
            (None, Some(Text(session_id))) if (1..=MAX_ID).contains(&session_id.len()) => session_id.clone(),
            (None, _) => return Err(malformed()),
        };
        self.ready.modes = opened.modes.map(raw::bounded);
        self.ready.options = opened.config_options.map(raw::bounded);
        let session_id = &self.ready.session_id;
        let mode = config.mode.as_deref().map(|mode| mode_setting(session_id, &opened, mode)).transpose()?;
        let model =
            config.model.as_deref().map(|model| model_setting(session_id, &opened, model)).transpose()?;
        self.settings = mode.into_iter().chain(model).flatten().collect();
        Ok(self.next_setting())
    }

    fn next_setting(&mut self) -> Progress {
        match self.settings.pop_front() {
            Some(Setting { step, params }) => Progress::Ask { step, params },
            None => Progress::Ready(Box::new(std::mem::take(&mut self.ready))),
        }
    }
}

/// What sets the mode; nothing where it is set already.
fn mode_setting(session_id: &str, opened: &Opened<'_>, mode: &str) -> Result<Option<Setting>, StartError> {
    let unknown = |known| StartError::UnknownMode { mode: mode.to_owned(), known };
    if let Some(setting) = option_setting(session_id, opened, "mode", mode) {
        return setting.map_err(unknown);
    }
    let modes: Modes = read(opened.modes).unwrap_or_default();
    let setting =
        Setting { step: StartStep::SetMode, params: json!({ "sessionId": session_id, "modeId": mode }) };
    named_setting(modes.available_modes.0, modes.current_mode_id.as_str(), mode, setting).map_err(unknown)
}

/// What sets the model; nothing where it is set already.
fn model_setting(session_id: &str, opened: &Opened<'_>, model: &str) -> Result<Option<Setting>, StartError> {
    let unknown = |known| StartError::UnknownModel { model: model.to_owned(), known };
    if let Some(setting) = option_setting(session_id, opened, "model", model) {
        return setting.map_err(unknown);
    }
    let models: Models = read(opened.models).unwrap_or_default();
    let setting =
        Setting { step: StartStep::SetModel, params: json!({ "sessionId": session_id, "modelId": model }) };
    named_setting(models.available_models.0, models.current_model_id.as_str(), model, setting)
        .map_err(unknown)
}

/// What sets one of the things there are, or which there are.
fn named_setting(
    known: Option<Vec<Named>>,
    current: Option<&str>,
    wanted: &str,
    setting: Setting,
) -> Result<Option<Setting>, Vec<String>> {
    let known = known.unwrap_or_default();
    match known.iter().any(|named| named.id.0 == wanted) {
        true => Ok((current != Some(wanted)).then_some(setting)),
        false => Err(list(known.iter().map(|named| named.id.0.as_str()))),
    }
}

/// What sets the option of that category, if the session has one; or which values it can have.
fn option_setting(
    session_id: &str,
    opened: &Opened<'_>,
    category: &str,
    value: &str,
) -> Option<Result<Option<Setting>, Vec<String>>> {
    let options: Vec<ConfigOption> = read(opened.config_options)?;
    let of_category = options.iter().find(|option| option.category.as_str() == Some(category));
    let option = of_category.or_else(|| options.iter().find(|option| option.id.0 == category))?;
    let values = option.options.0.as_deref().unwrap_or_default();
    let known: Vec<&str> = values.iter().flat_map(single_values).collect();
    if !known.contains(&value) {
        return Some(Err(list(known.into_iter())));
    }
    let params = json!({ "sessionId": session_id, "configId": option.id.0, "value": value });
    let is_set = option.current_value.as_str() == Some(value);
    Some(Ok((!is_set).then_some(Setting { step: StartStep::SetOption, params })))
}

/// The values of a group, or of a value by itself.
fn single_values(value: &ConfigValue) -> Vec<&str> {
    let grouped = value.options.0.iter().flatten().filter_map(|value| value.value.as_str());
    value.value.as_str().into_iter().chain(grouped).collect()
}

/// Names for a message, bounded.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.take(MAX_LISTED).map(|name| cut(name, 64)).collect()
}
