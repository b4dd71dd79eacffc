//! Plugins with their configuration, and why a file was rejected.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use wasmill_egress::Endpoint;
use wasmill_model::Reach;
use wasmill_runtime::{
    DirRule, HttpRule, Permissions, PluginConfig, PluginDetails, PluginInfo, PluginSource, PluginState,
    RetryPolicy, SecretRule, TcpRule,
};

use wasmill_store::PublishedPlugin;

use super::task::BackoffView;
use crate::openapi::schema::DigestSchema;

/// JSON view of a plugin.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Plugin")]
pub(crate) struct PluginView {
    name: String,
    #[schemars(extend("enum" = ["ready", "compiling", "rejected"]))]
    state: &'static str,
    /// Why it was rejected.
    reason: Option<String>,
    /// Its file; `null` for a built-in plugin.
    file: Option<String>,
    /// SHA-256 of the file; `null` if it was not read.
    #[schemars(with = "Option<DigestSchema>")]
    digest: Option<String>,
    size_bytes: u64,
    compile_ms: u64,
    /// Digest of the version that runs tasks now; it may be an older one.
    #[schemars(with = "Option<DigestSchema>")]
    in_service: Option<String>,
    /// Number of its publication to all hosts, which grows with each of any plugin; `null` with the embedded database,
    /// and for a key with a reach.
    #[schemars(range(min = 1))]
    version: Option<i64>,
    /// Name of the host that published it.
    published_by: Option<String>,
    /// Whether its queue is paused.
    paused: bool,
    /// `null` for a key with groups or tags, which reaches only some of them.
    tasks: Option<TasksView>,
    #[serde(flatten)]
    details: Option<FactsView>,
}

/// Task counts of a plugin.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginTasks")]
pub(crate) struct TasksView {
    pub(crate) waiting: u64,
    /// Set if `waiting` is a lower bound.
    pub(crate) waiting_is_at_least: bool,
    pub(crate) running: u64,
    /// Tasks that ever finished, by state, including deleted and pruned ones.
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
}

/// Properties of a loaded plugin.
#[derive(Serialize, JsonSchema)]
pub(super) struct FactsView {
    #[schemars(extend("enum" = ["task", "suspendable", "command", "module"]))]
    kind: &'static str,
    description: Option<String>,
    /// What its result is: `text`, `json` or a media type.
    result: String,
    /// Which files of its scratch folder a completed task keeps.
    outputs: Vec<String>,
    /// Exit codes with which a task completes, besides 0.
    exit_ok: Vec<i32>,
    /// Whether its input is validated against a schema.
    has_schema: bool,
    /// The first hundred imports.
    imports: Vec<String>,
    /// Number of imports.
    import_count: usize,
    /// The first hundred exports.
    exports: Vec<String>,
    /// Number of exports.
    export_count: usize,
    limits: LimitsView,
    retry: RetryView,
    permissions: PermissionsView,
}

/// Limits of each task.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginLimits")]
struct LimitsView {
    memory_bytes: u64,
    timeout_ms: u128,
    /// `null` if only the timeout limits it.
    cpu_ms: Option<u128>,
    result_bytes: u64,
    log_bytes: u64,
    /// Bytes that one run may write to granted folders.
    disk_bytes: u64,
    checkpoint_bytes: u64,
    /// `null` if only the slots limit it.
    concurrency: Option<u32>,
    /// `null` without a rate limit.
    rate: Option<String>,
    /// Maximum length of its queue; `null` if only the whole queue is limited.
    waiting: Option<u64>,
}

/// Default retry policy of its tasks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginRetry")]
struct RetryView {
    max_attempts: u32,
    backoff: BackoffView,
    /// Causes of failure that are retried.
    on: Vec<&'static str>,
}

/// What its tasks may access.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginPermissions")]
struct PermissionsView {
    http: Vec<String>,
    /// Each as `host:port`, with the networks of private addresses that the name may resolve to.
    tcp: Vec<String>,
    /// Names only: values may be secrets.
    env: Vec<String>,
    dirs: Vec<DirView>,
    /// The scratch folder of each run; `null` if there is none.
    scratch: Option<ScratchView>,
    /// The secrets of the operator that they use. No value is ever shown.
    secrets: Vec<SecretView>,
}

/// A secret of the operator.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginSecret")]
struct SecretView {
    name: String,
    /// The origins that the host sends it to, in headers; empty if guests see it.
    to: Vec<String>,
    /// Whether guests see it.
    revealed: bool,
}

/// A granted folder.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginFolder")]
struct DirView {
    host: String,
    guest: String,
    write: bool,
}

/// A folder that each run has for itself, and that is removed after it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginScratch")]
struct ScratchView {
    guest: String,
    /// Maximum of the sizes of its files together.
    bytes: u64,
    /// Maximum number of files, folders and links.
    files: u64,
}

impl PluginView {
    pub(crate) fn new(
        tasks: TasksView,
        paused: bool,
        published: Option<PublishedPlugin>,
        plugin: PluginInfo,
    ) -> Self {
        let (state, reason) = match plugin.state {
            PluginState::Ready => ("ready", None),
            PluginState::Compiling => ("compiling", None),
            PluginState::Rejected(reason) => ("rejected", Some(reason)),
        };
        let file = match plugin.source {
            PluginSource::BuiltIn => None,
            PluginSource::File(path) | PluginSource::Cluster(path) => Some(path.display().to_string()),
        };
        Self {
            name: plugin.name,
            state,
            reason,
            file,
            digest: plugin.digest,
            size_bytes: plugin.size_bytes,
            compile_ms: plugin.compile_ms,
            in_service: plugin.in_service,
            version: published.as_ref().map(|published| published.version),
            published_by: published.map(|published| published.host),
            paused,
            tasks: Some(tasks),
            details: plugin.details.as_deref().map(FactsView::new),
        }
    }

    /// Leaves out what a key with this reach must not learn of others: their tasks, and how often they publish.
    pub(crate) fn within(mut self, reach: &Reach) -> Self {
        if reach.is_bounded() {
            (self.version, self.published_by) = (None, None);
        }
        if reach.divides_plugins() {
            self.tasks = None;
        }
        self
    }
}

impl FactsView {
    pub(super) fn new(details: &PluginDetails) -> Self {
        let PluginDetails { kind, imports, exports, config, .. } = details;
        Self {
            kind: kind.as_str(),
            description: config.description.clone(),
            outputs: config.outputs.iter().map(ToString::to_string).collect(),
            exit_ok: config.exit_ok.clone(),
            result: config.result.to_string(),
            has_schema: config.schema.is_some(),
            imports: imports.first.clone(),
            import_count: imports.count,
            exports: exports.first.clone(),
            export_count: exports.count,
            limits: LimitsView::new(config),
            retry: RetryView::new(config.retry),
            permissions: PermissionsView::new(&config.permissions),
        }
    }
}

impl LimitsView {
    fn new(config: &PluginConfig) -> Self {
        let limits = &config.limits;
        Self {
            memory_bytes: limits.memory_bytes,
            timeout_ms: limits.timeout.as_millis(),
            cpu_ms: limits.cpu.map(|cpu| cpu.as_millis()),
            result_bytes: limits.result_bytes,
            log_bytes: limits.log_bytes,
            disk_bytes: limits.disk_bytes,
            checkpoint_bytes: limits.checkpoint_bytes,
            concurrency: config.concurrency,
            rate: config.rate.map(|rate| rate.to_string()),
            waiting: config.waiting_max,
        }
    }
}

impl RetryView {
    fn new(retry: RetryPolicy) -> Self {
        let backoff = BackoffView::new(retry.backoff.unwrap_or_default());
        Self { max_attempts: retry.attempts_max.unwrap_or(1), backoff, on: retry.on.words() }
    }
}

impl PermissionsView {
    fn new(permissions: &Permissions) -> Self {
        let dir = |DirRule { host, guest, write }: &DirRule| DirView {
            host: host.display().to_string(),
            guest: guest.clone(),
            write: *write,
        };
        Self {
            http: permissions.http.iter().map(HttpRule::to_string).collect(),
            tcp: permissions.tcp.iter().map(TcpRule::to_string).collect(),
            env: permissions.env.keys().cloned().collect(),
            dirs: permissions.dirs.iter().map(dir).collect(),
            scratch: permissions.scratch.as_ref().map(|rule| ScratchView {
                guest: rule.guest.clone(),
                bytes: rule.bytes_max,
                files: rule.files_max,
            }),
            secrets: permissions.secrets.iter().map(|(name, rule)| SecretView::new(name, rule)).collect(),
        }
    }
}

impl SecretView {
    fn new(name: &str, rule: &SecretRule) -> Self {
        let to = match rule {
            SecretRule::Placed { to, .. } => to.iter().map(Endpoint::origin).collect(),
            SecretRule::Revealed => Vec::new(),
        };
        Self { name: name.to_owned(), to, revealed: *rule == SecretRule::Revealed }
    }
}

/// Example for the OpenAPI document.
pub(crate) fn example() -> Value {
    json!({
        "name": "words", "state": "ready", "reason": null, "paused": false, "file": "/plugins/words.wasm",
        "version": 7, "published_by": "worker-1",
        "digest": "d203842075bd6e1d4ea7d5a9bd8b1ba1ea3e7fbd6a1cb8b0c1c4a8e6c9f1b2a3",
        "size_bytes": 111_616, "compile_ms": 214,
        "in_service": "d203842075bd6e1d4ea7d5a9bd8b1ba1ea3e7fbd6a1cb8b0c1c4a8e6c9f1b2a3",
        "tasks": {
            "waiting": 0, "waiting_is_at_least": false, "running": 1, "completed": 41, "failed": 2,
            "cancelled": 0,
        },
        "kind": "command", "description": "counts words", "result": "json", "has_schema": false,
        "imports": ["wasi:cli/stdout@0.2.6"], "import_count": 1,
        "exports": ["wasi:cli/run@0.2.6"], "export_count": 1,
        "limits": {
            "memory_bytes": 67_108_864, "timeout_ms": 600_000, "cpu_ms": null, "result_bytes": 1_048_576,
            "log_bytes": 16_384, "disk_bytes": 1_073_741_824, "checkpoint_bytes": 1_048_576,
            "concurrency": null, "rate": null, "waiting": null,
        },
        "retry": {
            "max_attempts": 1, "backoff": {"first_ms": 1_000, "factor": 2.0, "max_ms": 300_000, "jitter": 0.5},
            "on": ["io", "trap", "timeout"],
        },
        "permissions": {"http": [], "tcp": [], "env": [], "dirs": [], "scratch": null, "secrets": []},
    })
}
