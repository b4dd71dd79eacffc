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

/// `GET /task/{id}/activity`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Activity {
    pub summary: String,
    pub run: Option<Run>,
    pub functions: Option<Vec<String>>,
    /// When it was read; the handler of the page fills it in.
    #[serde(skip)]
    pub read_at: String,
}

/// A run on this host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Run {
    pub state: String,
    pub activity: String,
    pub call: Option<HostCall>,
    pub instance: Option<Instance>,
}

/// A host call that has not returned.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct HostCall {
    pub name: String,
    pub waited_ms: u64,
    pub until: Option<String>,
}

/// A running instance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Instance {
    pub memory_bytes: u64,
    pub memory_max_bytes: u64,
    pub http: Vec<HttpRequest>,
    pub tcp: Vec<TcpSocket>,
}

/// An open HTTP request of a guest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct HttpRequest {
    pub method: String,
    pub origin: String,
    pub has_head: bool,
    pub ms: u64,
}

/// An open TCP socket or look-up of a guest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct TcpSocket {
    pub to: String,
    pub state: String,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub ms: u64,
}
