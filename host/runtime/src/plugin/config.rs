//! The configuration of a plugin: limits, permissions, result format; and the maximum limits of the host.
//!
//! Resolved from the manifest (or the defaults of the host) when a plugin is loaded; enforced by `instance`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use wasmill_egress::Endpoint;
use wasmill_model::{Backoff, Limits, MediaType, MissedPolicy, Rate, RetryOn, Timing};

use crate::folders::rule::{DirRule, ScratchRule};
use crate::plugin::host_pattern::matches_host;
use crate::plugin::output_pattern::OutputPattern;
use crate::plugin::schema::InputSchema;
use crate::plugin::tcp_rule::TcpRule;
use crate::secrets::SecretRule;

/// The configuration of one plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginConfig {
    /// The description from its manifest.
    pub description: Option<String>,
    /// The SHA-256 of the only file that this is valid for, in hexadecimal; `None` for any file.
    pub sha256: Option<String>,
    /// The limits of one run. The timeout is the default for tasks that set none: a task may set a longer one, up
    /// to the maximum of the host.
    pub limits: Limits,
    /// The maximum number of concurrent runs; `None` for as many as slots.
    pub concurrency: Option<u32>,
    /// The maximum rate at which its tasks start; `None` for any rate.
    pub rate: Option<Rate>,
    /// The maximum number of waiting tasks; `None` for the limit of the whole queue only.
    pub waiting_max: Option<u64>,
    /// The retry policy of tasks that set none.
    pub retry: RetryPolicy,
    /// The format of its result.
    pub result: ResultFormat,
    /// Which files of its scratch folder a completed task keeps.
    pub outputs: Vec<OutputPattern>,
    /// The exit codes with which a program completes, besides 0.
    pub exit_ok: Vec<i32>,
    /// Its permissions; empty by default.
    pub permissions: Permissions,
    /// The schema of its tasks' input; `None` for any input.
    pub schema: Option<InputSchema>,
    /// Its schedule; `None` if it runs on request only.
    pub schedule: Option<ScheduleConfig>,
}

/// The schedule of a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleConfig {
    /// When it is due.
    pub timing: Timing,
    /// The policy for missed runs.
    pub missed: MissedPolicy,
    /// Whether a run may start while the previous one is active.
    pub overlap: bool,
    /// The JSON input of each run.
    pub input: Option<String>,
}

/// How the tasks of a plugin are retried, unless a task sets its own policy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RetryPolicy {
    /// The maximum number of attempts; `None` for the default of the host.
    pub attempts_max: Option<u32>,
    /// The delays between attempts; `None` for those of the host.
    pub backoff: Option<Backoff>,
    /// The failures that are retried.
    pub on: RetryOn,
}

/// The maximum that a manifest may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLimits {
    /// Bytes of memories and tables of a run.
    pub memory_bytes: u64,
    /// Wall-clock time of one attempt.
    pub timeout: Duration,
    /// CPU time of one attempt; `None` for no limit but the timeout.
    pub cpu: Option<Duration>,
    /// Bytes of the result.
    pub result_bytes: u64,
    /// Bytes of log kept for each attempt.
    pub log_bytes: u64,
    /// Bytes that one run may write to its folders.
    pub disk_bytes: u64,
    /// Concurrent runs of one plugin, with or without a manifest; `None` for as many as slots.
    pub concurrency: Option<u32>,
}

impl Permissions {
    /// Returns the keys of the granted permissions, as in a manifest.
    pub fn kinds(&self) -> Vec<&'static str> {
        let Self { http, tcp, env, dirs, scratch, secrets } = self;
        let kinds = [
            ("http", http.is_empty()),
            ("tcp", tcp.is_empty()),
            ("env", env.is_empty()),
            ("dirs", dirs.is_empty()),
            ("scratch", scratch.is_none()),
            ("secrets", secrets.is_empty()),
        ];
        kinds.into_iter().filter(|(_, is_empty)| !is_empty).map(|(kind, _)| kind).collect()
    }

    /// Returns true if the manifest sets this variable.
    pub(crate) fn sets(&self, variable: &str) -> bool {
        self.env.contains_key(variable) || self.secrets.contains_key(variable)
    }
}

impl MaxLimits {
    /// Returns maximum limits equal to these limits.
    pub fn of(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            timeout: limits.timeout,
            cpu: limits.cpu,
            result_bytes: limits.result_bytes,
            log_bytes: limits.log_bytes,
            disk_bytes: limits.disk_bytes,
            concurrency: None,
        }
    }
}

/// Checks the JSON text of an input (`null` if there is none), and returns what is wrong with it. Called on each
/// submit, so it must be fast.
pub type InputCheck = fn(&str) -> Result<(), String>;

/// The format of a plugin's result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResultFormat {
    /// Text, or bytes if it is no UTF-8.
    #[default]
    Any,
    /// Text; any other result fails the attempt.
    Text,
    /// JSON; any other result fails the attempt.
    Json,
    /// This media type. If it is one of text, any other result fails the attempt.
    Media(MediaType),
}

impl ResultFormat {
    /// Returns the media type that is declared.
    pub(crate) fn media(&self) -> Option<MediaType> {
        let name = match self {
            Self::Any => return None,
            Self::Media(media) => return Some(media.clone()),
            Self::Text => MediaType::TEXT,
            Self::Json => MediaType::JSON,
        };
        name.parse().ok()
    }
}

/// Formats it as in a manifest; what is not declared is text.
impl fmt::Display for ResultFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any | Self::Text => f.write_str("text"),
            Self::Json => f.write_str("json"),
            Self::Media(media) => media.fmt(f),
        }
    }
}

/// What a plugin may access outside of its sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permissions {
    /// Where it may send HTTP requests.
    pub http: Vec<HttpRule>,
    /// Where it may connect to by TCP.
    pub tcp: Vec<TcpRule>,
    /// Its environment variables.
    pub env: BTreeMap<String, String>,
    /// Its folders.
    pub dirs: Vec<DirRule>,
    /// The scratch folder of each run; `None` for none.
    pub scratch: Option<ScratchRule>,
    /// The secrets of the operator that it uses, by name.
    pub secrets: BTreeMap<String, SecretRule>,
}

/// A destination of outgoing HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    /// `http` or `https`.
    pub scheme: String,
    /// The host in lower case: a name, an IP address (IPv6 without brackets), or `*.` and a name for all its
    /// subdomains.
    pub host: String,
    /// The port; the default of the scheme unless the rule names one.
    pub port: u16,
    /// The prefix of the path, such as `/img/`; `/` for every path.
    pub path_prefix: String,
}

impl HttpRule {
    /// Returns true if the rule covers this scheme, host and port.
    pub(crate) fn covers(&self, endpoint: &Endpoint) -> bool {
        self.scheme == endpoint.scheme()
            && self.port == endpoint.port
            && matches_host(&self.host, &endpoint.host)
    }
}

/// Formats the rule as in a manifest, with its port.
impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path_prefix } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path_prefix}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path_prefix}")
        }
    }
}
