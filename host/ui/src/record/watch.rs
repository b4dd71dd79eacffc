//! Records that say how the server is doing.

use serde::Deserialize;

/// `GET /stats/history`: columns of the same length, oldest step first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct History {
    pub step: String,
    pub since: String,
    pub at_ms: Vec<i64>,
    pub seconds: Vec<f64>,
    pub completed: Vec<f64>,
    pub failed: Vec<f64>,
    pub cancelled: Vec<f64>,
    pub waiting: Vec<f64>,
    pub running: Vec<f64>,
    pub run_p50_ms: Vec<Option<f64>>,
    pub run_p99_ms: Vec<Option<f64>>,
    pub server: Option<ServerColumns>,
}

/// Columns of the whole server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct ServerColumns {
    pub accepted: Vec<f64>,
    pub slots_used: Vec<f64>,
    pub memory_kib: Vec<f64>,
    pub start_p50_ms: Vec<Option<f64>>,
    pub start_p99_ms: Vec<Option<f64>>,
    pub commit_p99_ms: Vec<Option<f64>>,
}

/// `GET /attention`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Attention {
    pub items: Vec<AttentionItem>,
    pub left_out: u64,
}

/// Something that needs a person.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct AttentionItem {
    pub code: String,
    pub level: String,
    pub subject: Option<String>,
    pub detail: String,
    pub action: String,
    pub link: Option<String>,
    pub since: Option<String>,
}

/// `GET /task/{id}/why`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Why {
    pub summary: String,
    pub reasons: Vec<Reason>,
    pub ahead: Option<u64>,
}

/// One reason why a task waits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Reason {
    pub code: String,
    pub detail: String,
    pub on: String,
    pub until: Option<String>,
    pub tasks: Vec<String>,
}
