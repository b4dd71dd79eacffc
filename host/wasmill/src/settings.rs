//! Every setting as flags, the environment and `wasmill.toml` give it; `config` resolves them.

mod listen;
mod log_filter;
mod scalar;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use wasmill_model::{InvalidDuration, parse_duration};

pub(crate) use self::listen::Listen;
pub(crate) use self::log_filter::LogFilter;

/// Every setting, unset by default.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Address and port of the REST API, or a loopback port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "WASMILL_LISTEN")]
    pub(crate) listen: Option<Listen>,

    /// Folder of the database; created if missing [default: ./data]
    #[arg(long, value_name = "DIR", env = "WASMILL_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// Folder whose *.wasm files are plugins [default: ./plugins]
    #[arg(long, value_name = "DIR", env = "WASMILL_PLUGINS")]
    pub(crate) plugins: Option<PathBuf>,

    /// Poll the plugins folder at this interval instead of relying on file events; for network mounts [default:
    /// events, plus a scan every 2s]
    #[arg(long, value_name = "TIME", env = "WASMILL_WATCH_POLL")]
    pub(crate) watch_poll: Option<HumanDuration>,

    /// Maximum number of tasks that run at the same time [default: 1000, or what the host affords if less]
    #[arg(long, value_name = "N", env = "WASMILL_SLOTS", value_parser = scalar::parse_count::<u32>,
        allow_hyphen_values = true)]
    #[serde(deserialize_with = "scalar::deserialize_count")]
    pub(crate) slots: Option<u32>,

    /// Grace period for running tasks on shutdown; tasks still running then are requeued [default: 10s]
    #[arg(long, value_name = "TIME", env = "WASMILL_DRAIN")]
    pub(crate) drain: Option<HumanDuration>,

    /// Maximum number of waiting tasks; further ones are rejected with 429 [default: 1000000]
    #[arg(long, value_name = "N", env = "WASMILL_WAITING_MAX", value_parser = scalar::parse_count::<u64>,
        allow_hyphen_values = true)]
    #[serde(deserialize_with = "scalar::deserialize_count")]
    pub(crate) waiting_max: Option<u64>,

    /// How long finished tasks are kept, or `forever` [default: 7days]
    #[arg(long, value_name = "TIME", env = "WASMILL_KEEP_FOR")]
    pub(crate) keep_for: Option<KeepFor>,

    /// How many finished tasks are kept, newest first; 0 for all [default: 1000000]
    #[arg(long, value_name = "N", env = "WASMILL_KEEP_MAX", value_parser = scalar::parse_count::<u64>,
        allow_hyphen_values = true)]
    #[serde(deserialize_with = "scalar::deserialize_count")]
    pub(crate) keep_max: Option<u64>,

    /// Timeout of one attempt, unless the task sets one [default: 10m]
    #[arg(long, value_name = "TIME", env = "WASMILL_TIMEOUT")]
    pub(crate) timeout: Option<HumanDuration>,

    /// Maximum timeout that a task or a manifest may request [default: 1day]
    #[arg(long, value_name = "TIME", env = "WASMILL_TIMEOUT_MAX")]
    pub(crate) timeout_max: Option<HumanDuration>,

    /// CPU time limit of one attempt, waiting not counted [default: no limit but the timeout, or `cpu_max`]
    #[arg(long, value_name = "TIME", env = "WASMILL_CPU")]
    pub(crate) cpu: Option<HumanDuration>,

    /// Maximum CPU time that a manifest may request [default: no limit but the timeout]
    #[arg(long, value_name = "TIME", env = "WASMILL_CPU_MAX")]
    pub(crate) cpu_max: Option<HumanDuration>,

    /// Memory limit of one task, all its memories and tables together [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_MEMORY")]
    pub(crate) memory: Option<ByteSize>,

    /// Maximum memory that a manifest may request; a plugin that requests more than `memory` runs outside the pools,
    /// more slowly [default: 256MiB, or `memory` if greater]
    #[arg(long, value_name = "SIZE", env = "WASMILL_MEMORY_MAX")]
    pub(crate) memory_max: Option<ByteSize>,

    /// Memory limit of all tasks together: what running tasks use, and what free slots keep for the next ones; further
    /// tasks wait for free memory [default: three quarters of the memory of the machine or its control group]
    #[arg(long, value_name = "SIZE", env = "WASMILL_MEMORY_TOTAL")]
    pub(crate) memory_total: Option<ByteSize>,

    /// Maximum size of a result [default: 1MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_OUTPUT")]
    pub(crate) output: Option<ByteSize>,

    /// Maximum result size that a manifest may request [default: 16MiB, or `output` if greater]
    #[arg(long, value_name = "SIZE", env = "WASMILL_OUTPUT_MAX")]
    pub(crate) output_max: Option<ByteSize>,

    /// How much log is kept per task, newest lines first [default: 16KiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_LOG_TAIL")]
    pub(crate) log_tail: Option<ByteSize>,

    /// Maximum log size that a manifest may request [default: 1MiB, or `log_tail` if greater]
    #[arg(long, value_name = "SIZE", env = "WASMILL_LOG_TAIL_MAX")]
    pub(crate) log_tail_max: Option<ByteSize>,

    /// How much one run may write to the folders granted by its manifest; each file, folder or link it creates counts
    /// as 4 KiB [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_DISK")]
    pub(crate) disk: Option<ByteSize>,

    /// Maximum disk write limit that a manifest may request [default: 16GiB, or `disk` if greater]
    #[arg(long, value_name = "SIZE", env = "WASMILL_DISK_MAX")]
    pub(crate) disk_max: Option<ByteSize>,

    /// Memory limit for the logs of all running tasks; once it is reached, each keeps its newest 2 KiB [default:
    /// 64MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_LOG_TOTAL")]
    pub(crate) log_total: Option<ByteSize>,

    /// Maximum running tasks of one plugin; a manifest may request fewer [default: the number of slots]
    #[arg(long, value_name = "N", env = "WASMILL_CONCURRENCY", value_parser = scalar::parse_count::<u32>,
        allow_hyphen_values = true)]
    #[serde(deserialize_with = "scalar::deserialize_count")]
    pub(crate) concurrency: Option<u32>,

    /// PEM file with certificates that outgoing HTTPS trusts in addition to the public roots
    #[arg(long, value_name = "FILE", env = "WASMILL_HTTP_ROOTS")]
    pub(crate) http_roots: Option<PathBuf>,

    /// Memory limit for compiling one plugin [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_COMPILE_MEMORY")]
    pub(crate) compile_memory: Option<ByteSize>,

    /// Time limit for compiling one plugin, for wall-clock and CPU time alike [default: 10m]
    #[arg(long, value_name = "TIME", env = "WASMILL_COMPILE_TIMEOUT")]
    pub(crate) compile_timeout: Option<HumanDuration>,

    /// Size limit of the cache of compiled plugins [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_CACHE")]
    pub(crate) cache: Option<ByteSize>,

    /// Allow clients to add, replace and delete plugins over the REST API; BOOL is true, yes, on or 1, or the opposite
    #[arg(long, value_name = "BOOL", env = "WASMILL_ALLOW_UPLOAD", num_args = 0..=1,
        default_missing_value = "true", value_parser = scalar::parse_bool)]
    #[serde(deserialize_with = "scalar::deserialize_bool")]
    pub(crate) allow_upload: Option<bool>,

    /// Maximum size of a request body [default: 1MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_BODY_MAX")]
    pub(crate) body_max: Option<ByteSize>,

    /// Address and port of the debug port, which shows what every task is doing, and CPU profiles. It has no
    /// authentication, so addresses other than loopback are rejected unless --debug-remote is given [default: none]
    #[arg(long, value_name = "ADDRESS", env = "WASMILL_DEBUG_LISTEN")]
    pub(crate) debug_listen: Option<Listen>,

    /// Allow the debug port to listen on addresses other than loopback; BOOL is true, yes, on or 1, or the opposite
    #[arg(long, value_name = "BOOL", env = "WASMILL_DEBUG_REMOTE", num_args = 0..=1,
        default_missing_value = "true", value_parser = scalar::parse_bool)]
    #[serde(deserialize_with = "scalar::deserialize_bool")]
    pub(crate) debug_remote: Option<bool>,

    /// Host names of this server, separated by commas, such as tasks.example.org; requests for other names are
    /// rejected, except IP addresses, names without a dot and localhost [default: none]
    #[arg(long, value_name = "HOST", env = "WASMILL_PUBLIC_HOST", value_delimiter = ',')]
    pub(crate) public_host: Option<Vec<String>>,

    /// Origins whose web pages may use this server, separated by commas, such as https://dashboard.example.org
    /// [default: its own only]
    #[arg(long, value_name = "ORIGIN", env = "WASMILL_ALLOW_ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Option<Vec<String>>,

    /// Addresses or networks of authenticating proxies, separated by commas, such as 127.0.0.1; requests forwarded by
    /// other proxies are rejected [default: none]
    #[arg(long, value_name = "NETWORK", env = "WASMILL_TRUST_PROXY", value_delimiter = ',')]
    pub(crate) trust_proxy: Option<Vec<String>>,

    /// OpenTelemetry collector to send traces to, by OTLP over HTTP, such as http://localhost:4318;
    /// OTEL_EXPORTER_OTLP_ENDPOINT and related variables also apply [default: none]
    #[arg(long, value_name = "URL", env = "WASMILL_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,

    /// Maximum size of a body with many tasks, as for POST /task/batch [default: 16MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_BATCH_BODY_MAX")]
    pub(crate) batch_body_max: Option<ByteSize>,

    /// File with the secrets that sign webhooks, one per line, each whsec_ and base64; the variable
    /// WASMILL_WEBHOOK_SECRET may hold them instead [default: webhooks are unsigned]
    #[arg(long, value_name = "FILE", env = "WASMILL_WEBHOOK_SECRET_FILE")]
    pub(crate) webhook_secret_file: Option<PathBuf>,

    /// Webhook destinations allowed in addition to public addresses: host names, addresses and networks such as
    /// 10.0.0.0/8, separated by commas [default: none]
    #[arg(long, value_name = "HOST|NETWORK", env = "WASMILL_WEBHOOK_ALLOW", value_delimiter = ',')]
    pub(crate) webhook_allow: Option<Vec<String>>,

    /// Maximum delivery attempts per webhook [default: 8]
    #[arg(long, value_name = "N", env = "WASMILL_WEBHOOK_ATTEMPTS", value_parser = scalar::parse_count::<u32>,
        allow_hyphen_values = true)]
    #[serde(deserialize_with = "scalar::deserialize_count")]
    pub(crate) webhook_attempts: Option<u32>,

    /// Wait after the first failed delivery attempt of a webhook; each further wait is five times as long, up to 6h,
    /// plus up to half of it at random [default: 5s]
    #[arg(long, value_name = "TIME", env = "WASMILL_WEBHOOK_BACKOFF")]
    pub(crate) webhook_backoff: Option<HumanDuration>,

    /// Timeout of one delivery attempt of a webhook [default: 15s]
    #[arg(long, value_name = "TIME", env = "WASMILL_WEBHOOK_TIMEOUT")]
    pub(crate) webhook_timeout: Option<HumanDuration>,
    /// Prefix of tags that name the group of a task without one, such as "tenant:"
    #[arg(long, value_name = "PREFIX", env = "WASMILL_GROUP_TAG")]
    pub(crate) group_tag: Option<String>,

    /// What is logged: off, error, warn, info, debug, trace, or a filter by module, such as info,wasmill_store=debug
    /// [default: info]
    #[arg(long, value_name = "FILTER", env = "WASMILL_LOG")]
    pub(crate) log: Option<LogFilter>,

    /// Format of the log on stderr [default: human]
    #[arg(long, value_name = "FORMAT", env = "WASMILL_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

impl Settings {
    /// Returns these settings, and those of `base` where these have none.
    pub(crate) fn or(self, base: Self) -> Self {
        Self {
            listen: self.listen.or(base.listen),
            data: self.data.or(base.data),
            plugins: self.plugins.or(base.plugins),
            watch_poll: self.watch_poll.or(base.watch_poll),
            slots: self.slots.or(base.slots),
            drain: self.drain.or(base.drain),
            waiting_max: self.waiting_max.or(base.waiting_max),
            keep_for: self.keep_for.or(base.keep_for),
            keep_max: self.keep_max.or(base.keep_max),
            timeout: self.timeout.or(base.timeout),
            timeout_max: self.timeout_max.or(base.timeout_max),
            cpu: self.cpu.or(base.cpu),
            cpu_max: self.cpu_max.or(base.cpu_max),
            memory: self.memory.or(base.memory),
            memory_max: self.memory_max.or(base.memory_max),
            memory_total: self.memory_total.or(base.memory_total),
            output: self.output.or(base.output),
            output_max: self.output_max.or(base.output_max),
            log_tail: self.log_tail.or(base.log_tail),
            log_tail_max: self.log_tail_max.or(base.log_tail_max),
            disk: self.disk.or(base.disk),
            disk_max: self.disk_max.or(base.disk_max),
            log_total: self.log_total.or(base.log_total),
            concurrency: self.concurrency.or(base.concurrency),
            http_roots: self.http_roots.or(base.http_roots),
            compile_memory: self.compile_memory.or(base.compile_memory),
            compile_timeout: self.compile_timeout.or(base.compile_timeout),
            cache: self.cache.or(base.cache),
            allow_upload: self.allow_upload.or(base.allow_upload),
            body_max: self.body_max.or(base.body_max),
            debug_listen: self.debug_listen.or(base.debug_listen),
            debug_remote: self.debug_remote.or(base.debug_remote),
            public_host: self.public_host.or(base.public_host),
            allow_origin: self.allow_origin.or(base.allow_origin),
            trust_proxy: self.trust_proxy.or(base.trust_proxy),
            otlp_endpoint: self.otlp_endpoint.or(base.otlp_endpoint),
            batch_body_max: self.batch_body_max.or(base.batch_body_max),
            webhook_secret_file: self.webhook_secret_file.or(base.webhook_secret_file),
            webhook_allow: self.webhook_allow.or(base.webhook_allow),
            webhook_attempts: self.webhook_attempts.or(base.webhook_attempts),
            webhook_backoff: self.webhook_backoff.or(base.webhook_backoff),
            webhook_timeout: self.webhook_timeout.or(base.webhook_timeout),
            group_tag: self.group_tag.or(base.group_tag),
            log: self.log.or(base.log),
            log_format: self.log_format.or(base.log_format),
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people
    Human,
    /// One JSON object per line, for machines
    Json,
}

/// A duration with a unit, such as `10s` or `1h 30m`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct HumanDuration(pub(crate) Duration);

impl FromStr for HumanDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_duration(text).map(Self)
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A retention period: a duration, or `forever`, which `0s` also means.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct KeepFor(pub(crate) Option<Duration>);

impl FromStr for KeepFor {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "forever" {
            return Ok(Self(None));
        }
        parse_duration(text).map(|period| Self((!period.is_zero()).then_some(period)))
    }
}

impl TryFrom<String> for KeepFor {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
