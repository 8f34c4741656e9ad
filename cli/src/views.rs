//! What is read of the replies, to be shown. Whatever else they hold is passed over.

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

#[derive(Deserialize)]
pub(crate) struct Diagnostic {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) runtime_id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct RuntimeReply {
    pub(crate) runtime: Runtime,
}

#[derive(Deserialize)]
pub(crate) struct Runtime {
    pub(crate) runtime_id: String,
    pub(crate) display_name: String,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reachability: String,
    pub(crate) last_seen_at: Option<String>,
    pub(crate) capabilities: Capabilities,
    pub(crate) workers: Option<Counts>,
    pub(crate) limits: Option<Limits>,
    #[serde(default)]
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// What can be done, by name.
pub(crate) type Capabilities = std::collections::BTreeMap<String, bool>;

#[derive(Deserialize)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) active: u64,
    pub(crate) stopped: u64,
    pub(crate) cancelled: u64,
}

#[derive(Deserialize)]
pub(crate) struct Limits {
    pub(crate) max_transcript_items: u64,
}

#[derive(Deserialize)]
pub(crate) struct WorkerReply {
    pub(crate) worker: Worker,
}

#[derive(Deserialize)]
pub(crate) struct Worker {
    pub(crate) runtime_id: String,
    pub(crate) worker_id: String,
    pub(crate) status: String,
    pub(crate) intent: Intent,
    pub(crate) profile: Profile,
    #[serde(default)]
    pub(crate) requested_capabilities: Vec<Requested>,
    #[serde(default)]
    pub(crate) workspace_refs: Vec<Reference>,
    pub(crate) transcript_len: u64,
    pub(crate) capabilities: Capabilities,
}

#[derive(Deserialize)]
pub(crate) struct Intent {
    pub(crate) kind: String,
    pub(crate) objective: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) purpose: Option<String>,
}

impl Intent {
    /// In a few words.
    pub(crate) fn said(&self) -> String {
        let more = [&self.objective, &self.role, &self.purpose].into_iter().flatten();
        let more: Vec<&str> = more.map(String::as_str).collect();
        match more.is_empty() {
            true => self.kind.clone(),
            false => format!("{}: {}", self.kind, more.join(", ")),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Profile {
    pub(crate) kind: String,
    pub(crate) value: Option<String>,
}

impl Profile {
    /// Its name.
    pub(crate) fn said(&self) -> String {
        self.value.clone().unwrap_or_else(|| self.kind.replace('_', " "))
    }
}

#[derive(Deserialize)]
pub(crate) struct Requested {
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) reference: String,
}

#[derive(Deserialize)]
pub(crate) struct AckReply {
    pub(crate) ack: Ack,
}

#[derive(Deserialize)]
pub(crate) struct Ack {
    pub(crate) status: String,
    pub(crate) transcript_sequence: Option<u64>,
}
