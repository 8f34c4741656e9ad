//! The records of the store, as their owner writes them. What is not known is passed over.

use sekisho_core::id::RuntimeId;
use sekisho_core::runtime_api::{RuntimeLimits, RuntimeStatus, WireRef, WorkerDetail, WorkerStatus};
use serde::{Deserialize, de::IgnoredAny};

use crate::archive::StoredRuntime;
use crate::problem::Problem;
use crate::request::RequestRecord;

/// The version of the store that this reads.
const SCHEMA_VERSION: i64 = 1;

/// What every record begins with. It is read by itself first: a record of another version may have any shape.
#[derive(Deserialize)]
struct Versioned {
    schema_version: i64,
}

fn check_version(bytes: &[u8]) -> Result<(), Problem> {
    let Versioned { schema_version } = serde_json::from_slice(bytes).map_err(|_| Problem::Damaged)?;
    match schema_version {
        SCHEMA_VERSION => Ok(()),
        found => Err(Problem::OtherVersion { found, known: SCHEMA_VERSION }),
    }
}

/// `runtime.json`
#[derive(Deserialize)]
pub(super) struct RuntimeFile {
    pub(super) runtime_id: String,
    display_name: Option<String>,
    backend: String,
    status: RuntimeStatus,
    limits: RuntimeLimits,
    #[serde(default)]
    diagnostics: Vec<IgnoredAny>,
}

impl RuntimeFile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        check_version(bytes)?;
        serde_json::from_slice(bytes).map_err(|_| Problem::Damaged)
    }
}

impl From<RuntimeFile> for StoredRuntime {
    fn from(file: RuntimeFile) -> Self {
        Self {
            display_name: file.display_name,
            backend: file.backend,
            status: file.status,
            limits: file.limits,
            diagnostics: file.diagnostics.len() as u64,
        }
    }
}

/// `worker.json`. `config_bundle` and `mount_refs` are of the owner's machine alone and are not read.
#[derive(Deserialize)]
pub(super) struct WorkerFile {
    worker_ref: WireRef,
    worker_id: String,
    status: WorkerStatus,
    request: RequestRecord,
    last_event_id: u64,
}

impl WorkerFile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        check_version(bytes)?;
        serde_json::from_slice(bytes).map_err(|_| Problem::Damaged)
    }

    /// Whether it is the record of this worker of this runtime.
    pub(super) fn is_of(&self, runtime_id: &RuntimeId, worker_id: &str) -> bool {
        self.worker_ref.runtime_id == runtime_id.as_str()
            && self.worker_ref.worker_id == worker_id
            && self.worker_id == worker_id
    }

    pub(super) fn into_detail(self, worker_ref: WireRef, transcript_len: u64) -> WorkerDetail {
        WorkerDetail {
            transcript_len,
            last_event_id: self.last_event_id,
            ..self.request.into_detail(worker_ref, self.status)
        }
    }
}

/// A line of `transcript.jsonl`. Whose it is, is its folder's to say.
#[derive(Deserialize)]
pub(super) struct TranscriptLine {
    pub(super) sequence: u64,
    pub(super) role: String,
    pub(super) content: String,
    pub(super) event_id: u64,
}

impl TranscriptLine {
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}
