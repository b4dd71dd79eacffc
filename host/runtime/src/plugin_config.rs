//! The terms a plugin runs on: its limits, what it may reach, how its answer is read; and the ceilings
//! that the host sets to them.
//!
//! Made from its manifest (or the host's defaults) when it is loaded; carried out by `instance`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use wasmill_model::{Backoff, Limits, MissedPolicy, Rate, RetryOn, Timing};

use crate::schema::InputSchema;

/// The terms of one plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginConfig {
    /// What it is for, in the words of whoever wrote its manifest.
    pub description: Option<String>,
    /// The SHA-256 of the one file that they are for, in hexadecimal; `None` if any file will do.
    pub sha256: Option<String>,
    /// What one run may use. The timeout is that of a task that names none: a task may name a longer
    /// one, up to the ceiling of the host.
    pub limits: Limits,
    /// How many of its tasks may run at the same time; `None` if only the slots bound them.
    pub concurrency: Option<u32>,
    /// How many of its tasks may start in a span of time; `None` for any number.
    pub rate: Option<Rate>,
    /// How many of its tasks may wait; `None` if only all waiting tasks together are bounded.
    pub waiting_max: Option<u64>,
    /// What applies to a task that says nothing of attempts.
    pub retry: RetryPolicy,
    /// How the answer of the plugin is read.
    pub output: OutputFormat,
    /// What it may reach; by default nothing.
    pub permissions: Permissions,
    /// What the input of its tasks must look like; `None` if anything will do.
    pub schema: Option<InputSchema>,
    /// When it runs by itself; `None` if only when it is asked to.
    pub schedule: Option<ScheduleConfig>,
}

/// When a plugin runs by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleConfig {
    /// When it is due.
    pub timing: Timing,
    /// What becomes of runs that were missed.
    pub missed: MissedPolicy,
    /// Whether a run starts while an earlier one goes on.
    pub overlap: bool,
    /// The JSON text that each run is handed.
    pub input: Option<String>,
}

/// How the tasks of a plugin are tried again, unless they say it themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RetryPolicy {
    /// How often a failure is attempted in all; `None` for what the host does.
    pub attempts_max: Option<u32>,
    /// The waits between attempts; `None` for those of the host.
    pub backoff: Option<Backoff>,
    /// Which failures are attempted again.
    pub on: RetryOn,
}

/// The most that a manifest may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLimits {
    /// Bytes of all memories and tables of a run; the pools are made for this much.
    pub memory_bytes: u64,
    /// Wall-clock time of one attempt.
    pub timeout: Duration,
    /// Time that one attempt may really compute; `None` if only its timeout bounds it.
    pub cpu: Option<Duration>,
    /// Bytes of the result.
    pub output_bytes: u64,
    /// Bytes of log kept for each attempt.
    pub log_bytes: u64,
    /// Bytes that one run may write to its folders.
    pub disk_bytes: u64,
    /// How many tasks of one plugin may run at the same time, with or without a manifest; `None` if
    /// only the slots bound them.
    pub concurrency: Option<u32>,
}

impl Permissions {
    /// Names the kinds of what is granted, as they stand in a manifest.
    pub fn kinds(&self) -> Vec<&'static str> {
        let Self { http, env, dirs } = self;
        let kinds = [("http", http.is_empty()), ("env", env.is_empty()), ("dirs", dirs.is_empty())];
        kinds.into_iter().filter(|(_, is_empty)| !is_empty).map(|(kind, _)| kind).collect()
    }
}

impl MaxLimits {
    /// Returns ceilings that allow no more than these limits.
    pub fn of(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            timeout: limits.timeout,
            cpu: limits.cpu,
            output_bytes: limits.output_bytes,
            log_bytes: limits.log_bytes,
            disk_bytes: limits.disk_bytes,
            concurrency: None,
        }
    }
}

/// How the answer of a plugin is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// As text.
    #[default]
    Text,
    /// As JSON; an answer that is none fails the attempt.
    Json,
}

/// What a plugin may reach outside of its sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permissions {
    /// Where outgoing HTTP may go.
    pub http: Vec<HttpRule>,
    /// The environment it sees.
    pub env: BTreeMap<String, String>,
    /// The folders it sees.
    pub dirs: Vec<DirRule>,
}

/// One place that outgoing HTTP may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    /// `http` or `https`.
    pub scheme: String,
    /// The host in lower case: a name, an IP address (of IPv6 without brackets), or `*.`
    /// before a name for all below it.
    pub host: String,
    /// The port; that of the scheme unless the rule names one.
    pub port: u16,
    /// What the path must begin with, such as `/img/`; `/` for every path.
    pub path_prefix: String,
}

/// Writes the rule as it stands in a manifest, with its port.
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

/// One folder of the host that a guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirRule {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where the guest sees it, such as `/in`.
    pub guest: String,
    /// Whether the guest may change what is in it.
    pub write: bool,
}
