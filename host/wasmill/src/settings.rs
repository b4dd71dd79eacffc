//! Settings from flags, the environment and `wasmill.toml`, in this order of precedence.

mod listen;
mod log_filter;
mod scalar;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use wasmill_api::AccessPolicy;
use wasmill_egress::AllowedDestination;
use wasmill_model::{Backoff, InvalidDuration, Limits, parse_duration};
use wasmill_runtime::MaxLimits;
use wasmill_scheduler::Retention;

pub(crate) use self::listen::Listen;
pub(crate) use self::log_filter::LogFilter;
use crate::cli::ServeArgs;
use crate::exit;
use crate::input::without_bom;

/// The settings file that is read unless one is named.
const DEFAULT_FILE: &str = "wasmill.toml";

/// The default number of slots, if the host affords them.
pub(crate) const SLOTS_DEFAULT: u32 = 1_000;

/// How long and how many finished tasks are kept by default.
const KEEP_FOR_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
const KEEP_MAX_DEFAULT: u64 = 1_000_000;

/// How the waits between webhook attempts grow, and the longest one before jitter: from 5 s, eight attempts spread
/// over 11 to 17 hours.
const WEBHOOK_WAIT_FACTOR: f64 = 5.0;
const WEBHOOK_WAIT_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Maximum timeout of a receiver: it occupies one of few connections all that time.
const WEBHOOK_TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// Minimum poll interval: shorter ones only waste CPU time.
const WATCH_POLL_MIN: Duration = Duration::from_millis(50);

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

/// The effective settings.
#[derive(Debug)]
pub(crate) struct Config {
    /// The settings file, which may be missing.
    pub(crate) file: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) plugins: PathBuf,
    /// `None` means that file events report changes.
    pub(crate) watch_poll: Option<Duration>,
    /// `None` means [`SLOTS_DEFAULT`], or what the host affords if less.
    pub(crate) slots: Option<u32>,
    pub(crate) drain: Duration,
    pub(crate) waiting_max: u64,
    pub(crate) retention: Retention,
    pub(crate) timeout: Duration,
    pub(crate) timeout_max: Duration,
    /// `None` means that only the timeout limits it.
    pub(crate) cpu: Option<Duration>,
    pub(crate) memory_bytes: u64,
    /// `None` means three quarters of what the machine has.
    pub(crate) memory_total_bytes: Option<u64>,
    pub(crate) output_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) log_total_bytes: u64,
    /// The maximum that manifests may request.
    pub(crate) max_limits: MaxLimits,
    /// Certificates that outgoing HTTPS trusts in addition to the public roots.
    pub(crate) http_roots: Option<PathBuf>,
    pub(crate) compile_memory_bytes: u64,
    pub(crate) compile_timeout: Duration,
    pub(crate) cache_bytes: u64,
    pub(crate) allow_upload: bool,
    pub(crate) body_bytes: u64,
    /// `None` means that there is no debug port.
    pub(crate) debug_listen: Option<SocketAddr>,
    pub(crate) debug_remote: bool,
    /// Which requests are accepted.
    pub(crate) access_policy: AccessPolicy,
    /// `None` leaves the choice to the environment.
    pub(crate) otlp_endpoint: Option<String>,
    pub(crate) batch_bytes: u64,
    /// `None` means that the environment may hold them.
    pub(crate) webhook_secret_file: Option<PathBuf>,
    /// Webhook destinations allowed in addition to public addresses.
    pub(crate) webhook_allowed: Vec<AllowedDestination>,
    pub(crate) webhook_attempts: u32,
    pub(crate) webhook_backoff: Backoff,
    pub(crate) webhook_timeout: Duration,
    /// Prefix of tags that name a group.
    pub(crate) group_tag: Option<String>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

impl Config {
    /// Reads the settings file, overlays environment and flags, and fills in defaults.
    pub(crate) fn load(args: ServeArgs) -> Result<Self> {
        Self::read_and_merge(args).map_err(exit::settings_error)
    }

    fn read_and_merge(args: ServeArgs) -> Result<Self> {
        let file = match &args.config {
            Some(path) => read(path)?,
            // A link to nothing is read too, and fails: otherwise a file that is not mounted would mean defaults.
            None => match Path::new(DEFAULT_FILE).symlink_metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => Settings::default(),
                _ => read(Path::new(DEFAULT_FILE))?,
            },
        };
        let path = args.config.unwrap_or_else(|| DEFAULT_FILE.into());
        Ok(Self { file: path, ..Self::merge(args.settings, file)? })
    }

    fn merge(flags: Settings, file: Settings) -> Result<Self> {
        let span = |flag: Option<HumanDuration>, file: Option<HumanDuration>, default: u64| {
            flag.or(file).map_or(Duration::from_secs(default), |span| span.0)
        };
        let size = |flag: Option<ByteSize>, file: Option<ByteSize>, default: ByteSize| {
            flag.or(file).unwrap_or(default).as_u64()
        };
        let keep_for = flags.keep_for.or(file.keep_for).map_or(Some(KEEP_FOR_DEFAULT), |period| period.0);
        let keep_max = flags.keep_max.or(file.keep_max).unwrap_or(KEEP_MAX_DEFAULT);
        let timeout_max = span(flags.timeout_max, file.timeout_max, 86_400);
        let cpu_max = flags.cpu_max.or(file.cpu_max).map(|span| span.0);
        let memory_bytes = size(flags.memory, file.memory, ByteSize::mib(64));
        let output_bytes = size(flags.output, file.output, ByteSize::mib(1));
        let log_bytes = size(flags.log_tail, file.log_tail, ByteSize::kib(16));
        let disk_bytes = size(flags.disk, file.disk, ByteSize::gib(1));
        // Raising a default raises its maximum too.
        let max =
            |flag, file, default: ByteSize, least| size(flag, file, ByteSize(default.as_u64().max(least)));
        let max_limits = MaxLimits {
            memory_bytes: max(flags.memory_max, file.memory_max, ByteSize::mib(256), memory_bytes),
            timeout: timeout_max,
            cpu: cpu_max,
            output_bytes: max(flags.output_max, file.output_max, ByteSize::mib(16), output_bytes),
            log_bytes: max(flags.log_tail_max, file.log_tail_max, ByteSize::mib(1), log_bytes),
            disk_bytes: max(flags.disk_max, file.disk_max, ByteSize::gib(16), disk_bytes),
            concurrency: flags.concurrency.or(file.concurrency),
        };
        let config = Self {
            file: DEFAULT_FILE.into(),
            listen: flags
                .listen
                .or(file.listen)
                .map_or_else(|| ([127, 0, 0, 1], 8080).into(), |listen| listen.0),
            data: flags.data.or(file.data).unwrap_or_else(|| "data".into()),
            plugins: flags.plugins.or(file.plugins).unwrap_or_else(|| "plugins".into()),
            watch_poll: flags.watch_poll.or(file.watch_poll).map(|span| span.0),
            slots: flags.slots.or(file.slots),
            drain: span(flags.drain, file.drain, 10),
            waiting_max: flags.waiting_max.or(file.waiting_max).unwrap_or(1_000_000),
            retention: Retention { keep_for, keep_max: Some(keep_max).filter(|max| *max > 0) },
            timeout: span(flags.timeout, file.timeout, 600),
            timeout_max,
            cpu: flags.cpu.or(file.cpu).map(|span| span.0).or(cpu_max),
            memory_bytes,
            memory_total_bytes: flags.memory_total.or(file.memory_total).map(|size| size.as_u64()),
            output_bytes,
            log_bytes,
            disk_bytes,
            log_total_bytes: size(flags.log_total, file.log_total, ByteSize::mib(64)),
            max_limits,
            http_roots: flags.http_roots.or(file.http_roots),
            compile_memory_bytes: size(flags.compile_memory, file.compile_memory, ByteSize::gib(4)),
            compile_timeout: span(flags.compile_timeout, file.compile_timeout, 600),
            cache_bytes: size(flags.cache, file.cache, ByteSize::gib(1)),
            allow_upload: flags.allow_upload.or(file.allow_upload).unwrap_or(false),
            body_bytes: size(flags.body_max, file.body_max, ByteSize::mib(1)),
            debug_listen: flags.debug_listen.or(file.debug_listen).map(|listen| listen.0),
            debug_remote: flags.debug_remote.or(file.debug_remote).unwrap_or(false),
            access_policy: AccessPolicy {
                public_hosts: parse_all("public_host", flags.public_host.or(file.public_host))?,
                allowed_origins: parse_all("allow_origin", flags.allow_origin.or(file.allow_origin))?,
                trusted_proxies: parse_all("trust_proxy", flags.trust_proxy.or(file.trust_proxy))?,
            },
            otlp_endpoint: flags.otlp_endpoint.or(file.otlp_endpoint),
            batch_bytes: size(flags.batch_body_max, file.batch_body_max, ByteSize::mib(16)),
            webhook_secret_file: flags.webhook_secret_file.or(file.webhook_secret_file),
            webhook_allowed: parse_all("webhook_allow", flags.webhook_allow.or(file.webhook_allow))?,
            webhook_attempts: flags.webhook_attempts.or(file.webhook_attempts).unwrap_or(8),
            webhook_backoff: webhook_backoff(span(flags.webhook_backoff, file.webhook_backoff, 5))?,
            webhook_timeout: span(flags.webhook_timeout, file.webhook_timeout, 15),
            group_tag: flags.group_tag.or(file.group_tag).filter(|prefix| !prefix.is_empty()),
            log: flags
                .log
                .or(file.log)
                .filter(|filter| !filter.0.is_empty())
                .map_or_else(|| "info".to_owned(), |filter| filter.0),
            log_format: flags.log_format.or(file.log_format).unwrap_or(LogFormat::Human),
        };
        config.check()?;
        Ok(config)
    }

    /// Returns the limits of a run whose plugin has no manifest.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes,
            timeout: self.timeout,
            cpu: self.cpu,
            output_bytes: self.output_bytes,
            log_bytes: self.log_bytes,
            disk_bytes: self.disk_bytes,
            ..Limits::default()
        }
    }

    fn check(&self) -> Result<()> {
        check("slots", self.slots != Some(0), "must be at least 1, or no task would run")?;
        check(
            "watch_poll",
            self.watch_poll.is_none_or(|interval| interval >= WATCH_POLL_MIN),
            format_args!("must be at least {WATCH_POLL_MIN:?}"),
        )?;
        check("waiting_max", self.waiting_max > 0, "must be at least 1, or no task would be accepted")?;
        check("timeout", self.timeout >= Duration::from_millis(1), "must be at least 1ms")?;
        check_duration_max("timeout", self.timeout, "timeout_max", self.timeout_max)?;
        if let Some(debug) = self.debug_listen {
            check(
                "debug_listen",
                debug.ip().is_loopback() || self.debug_remote,
                format_args!(
                    "{debug} is not a loopback address and the debug port has no authentication; use 127.0.0.1:{}, \
                     or allow it with --debug-remote",
                    debug.port()
                ),
            )?;
        }
        check(
            "webhook_attempts",
            (1..=100).contains(&self.webhook_attempts),
            "must be from 1 to 100, or no webhook would be delivered",
        )?;
        check(
            "webhook_timeout",
            (Duration::from_millis(1)..=WEBHOOK_TIMEOUT_MAX).contains(&self.webhook_timeout),
            format_args!("must be from 1ms to {WEBHOOK_TIMEOUT_MAX:?}"),
        )?;
        check_size("compile_memory", self.compile_memory_bytes, ByteSize::mib(256), ByteSize::tib(1))?;
        check("compile_timeout", self.compile_timeout >= Duration::from_secs(1), "must be at least 1s")?;
        if let (Some(cpu), Some(cpu_max)) = (self.cpu, self.max_limits.cpu) {
            check_duration_max("cpu", cpu, "cpu_max", cpu_max)?;
        }
        check("cpu", self.cpu.is_none_or(|cpu| cpu >= Duration::from_millis(1)), "must be at least 1ms")?;
        check_size("memory", self.memory_bytes, ByteSize::kib(64), ByteSize::gib(4))?;
        if let Some(total) = self.memory_total_bytes {
            check_size("memory_total", total, ByteSize::mib(16), ByteSize::tib(8))?;
            check_size_max("memory", self.memory_bytes, "memory_total", total)?;
        }
        check_size("output", self.output_bytes, ByteSize::b(1), ByteSize::mib(64))?;
        check_size("log_tail", self.log_bytes, ByteSize::b(0), ByteSize::mib(16))?;
        check_size("log_total", self.log_total_bytes, ByteSize::mib(1), ByteSize::gib(64))?;
        let max_limits = &self.max_limits;
        check("concurrency", max_limits.concurrency != Some(0), "must be at least 1, or no task would run")?;
        check_size_max("memory", self.memory_bytes, "memory_max", max_limits.memory_bytes)?;
        check_size_max("output", self.output_bytes, "output_max", max_limits.output_bytes)?;
        check_size_max("log_tail", self.log_bytes, "log_tail_max", max_limits.log_bytes)?;
        check_size_max("disk", self.disk_bytes, "disk_max", max_limits.disk_bytes)?;
        check_size("memory_max", max_limits.memory_bytes, ByteSize::kib(64), ByteSize::gib(4))?;
        check_size("output_max", max_limits.output_bytes, ByteSize::b(1), ByteSize::mib(64))?;
        check_size("log_tail_max", max_limits.log_bytes, ByteSize::b(0), ByteSize::mib(16))?;
        check_size("batch_body_max", self.batch_bytes, ByteSize::b(2), ByteSize::mib(256))?;
        check_size("body_max", self.body_bytes, ByteSize::b(2), ByteSize::mib(256))
    }
}

/// Returns how errors name a setting: by its flag, also if the value comes from the environment or the file.
fn invalid(name: &str) -> String {
    format!("invalid value for --{}", name.replace('_', "-"))
}

/// Fails with this reason unless the setting is valid.
fn check(name: &str, is_valid: bool, reason: impl std::fmt::Display) -> Result<()> {
    ensure!(is_valid, "{}: {reason}", invalid(name));
    Ok(())
}

/// Parses each value of a setting with several values.
fn parse_all<T>(name: &'static str, given: Option<Vec<String>>) -> Result<Vec<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let given = given.unwrap_or_default();
    given.iter().map(|text| text.parse().with_context(|| invalid(name))).collect()
}

/// Returns the backoff of webhooks that starts with this wait.
fn webhook_backoff(first: Duration) -> Result<Backoff> {
    check(
        "webhook_backoff",
        (Duration::from_millis(1)..=WEBHOOK_WAIT_MAX).contains(&first),
        format_args!("must be from 1ms to {}", humantime::format_duration(WEBHOOK_WAIT_MAX)),
    )?;
    Ok(Backoff { first, factor: WEBHOOK_WAIT_FACTOR, max: WEBHOOK_WAIT_MAX, ..Backoff::default() })
}

fn check_duration_max(name: &str, given: Duration, max_name: &str, max: Duration) -> Result<()> {
    let (shown, max_shown) = (humantime::format_duration(given), humantime::format_duration(max));
    check(name, given <= max, format_args!("{shown} is longer than {max_name} ({max_shown})"))
}

fn check_size_max(name: &str, bytes: u64, max_name: &str, max: u64) -> Result<()> {
    let (shown, max_shown) = (ByteSize(bytes).display().iec(), ByteSize(max).display().iec());
    check(name, bytes <= max, format_args!("{shown} is more than {max_name} ({max_shown})"))
}

fn check_size(name: &str, bytes: u64, min: ByteSize, max: ByteSize) -> Result<()> {
    let is_valid = (min.as_u64()..=max.as_u64()).contains(&bytes);
    let (shown, min, max) = (ByteSize(bytes).display().iec(), min.display().iec(), max.display().iec());
    check(name, is_valid, format_args!("{shown} is out of range; use {min} to {max}"))
}

fn read(path: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| exit::read_error(format!("settings file {}", path.display()), &error))?;
    toml::from_str(without_bom(&text)).with_context(|| format!("invalid settings file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Settings {
        toml::from_str(text).expect("a valid file")
    }

    #[test]
    fn a_flag_overrides_the_file_and_the_file_overrides_the_default() {
        let flags = Settings { slots: Some(7), ..Settings::default() };
        let config = Config::merge(flags, file("slots = 5\ndrain = \"1m\"")).expect("valid");
        assert_eq!(config.slots, Some(7));
        assert_eq!(config.drain, Duration::from_secs(60));
        assert_eq!(config.timeout, Duration::from_secs(600));
    }

    #[test]
    fn every_setting_can_be_set_in_the_file() {
        let all = file(
            r#"
            listen = "0.0.0.0:9000"
            data = "/var/lib/wasmill"
            plugins = "/srv/plugins"
            watch_poll = "5s"
            slots = 10
            drain = "30s"
            waiting_max = 5
            keep_for = "forever"
            keep_max = 7
            timeout = "1h"
            timeout_max = "2h"
            cpu = "20s"
            cpu_max = "30s"
            memory = "128MiB"
            output = "2MiB"
            log_tail = "1KiB"
            log_total = "8MiB"
            memory_max = "512MiB"
            memory_total = "3GiB"
            output_max = "4MiB"
            log_tail_max = "2KiB"
            disk = "2GiB"
            disk_max = "3GiB"
            concurrency = 3
            allow_upload = true
            body_max = "3MiB"
            debug_listen = "0.0.0.0:6060"
            debug_remote = true
            public_host = ["tasks.example.org"]
            allow_origin = ["https://dashboard.example.org"]
            trust_proxy = ["127.0.0.1", "10.0.0.0/8"]
            otlp_endpoint = "http://localhost:4318"
            batch_body_max = "5MiB"
            webhook_secret_file = "/run/secrets/webhook"
            webhook_allow = ["receiver", "10.0.0.0/8"]
            webhook_attempts = 3
            webhook_backoff = "1s"
            webhook_timeout = "5s"
            group_tag = "tenant:"
            log = "debug"
            log_format = "json"
            "#,
        );
        let config = Config::merge(Settings::default(), all).expect("valid");
        assert_eq!(config.memory_bytes, 128 << 20);
        assert_eq!(
            (config.limits().cpu, config.max_limits.cpu.map(|max| max.as_secs())),
            (Some(Duration::from_secs(20)), Some(30))
        );
        assert_eq!(config.memory_total_bytes, Some(3 << 30));
        assert_eq!((config.log_format, config.log_total_bytes), (LogFormat::Json, 8 << 20));
        assert_eq!((config.max_limits.memory_bytes, config.max_limits.concurrency), (512 << 20, Some(3)));
        assert_eq!((config.limits().disk_bytes, config.max_limits.disk_bytes), (2 << 30, 3 << 30));
        assert!(config.allow_upload);
        assert_eq!(config.otlp_endpoint.as_deref(), Some("http://localhost:4318"));
        assert_eq!(
            (config.access_policy.public_hosts.len(), config.access_policy.trusted_proxies.len()),
            (1, 2)
        );
        assert_eq!(config.access_policy.allowed_origins.len(), 1);
        assert_eq!(config.batch_bytes, 5 << 20);
        assert_eq!((config.webhook_allowed.len(), config.webhook_attempts), (2, 3));
        assert_eq!(config.webhook_backoff.wait(2, 0.0), Duration::from_secs(5));
        assert_eq!((config.batch_bytes, config.group_tag.as_deref()), (5 << 20, Some("tenant:")));
        assert_eq!(config.timeout_max, Duration::from_secs(7200));
    }

    #[test]
    fn retention_is_on_unless_disabled() {
        let retention = |text| Config::merge(Settings::default(), file(text)).expect("valid").retention;
        let week = Some(Duration::from_secs(604_800));
        assert_eq!(retention(""), Retention { keep_for: week, keep_max: Some(1_000_000) });
        let off = Retention { keep_for: None, keep_max: None };
        assert_eq!(retention("keep_for = \"forever\"\nkeep_max = 0"), off);
        assert_eq!(retention("keep_for = \"0s\"\nkeep_max = 0"), off);
        let some = Retention { keep_for: Some(Duration::from_secs(7200)), keep_max: Some(5) };
        assert_eq!(retention("keep_for = \"2h\"\nkeep_max = 5"), some);
    }

    #[test]
    fn a_raised_default_raises_its_maximum() {
        let config = Config::merge(Settings::default(), file("memory = \"1GiB\"")).expect("valid");
        assert_eq!(config.max_limits.memory_bytes, 1 << 30);
        let config = Config::merge(Settings::default(), file("disk = \"1TiB\"")).expect("valid");
        assert_eq!(config.max_limits.disk_bytes, 1 << 40);
        let config = Config::merge(Settings::default(), Settings::default()).expect("valid");
        assert_eq!((config.max_limits.memory_bytes, config.allow_upload), (256 << 20, false));
    }

    #[test]
    fn a_typo_in_the_file_is_an_error() {
        let error = toml::from_str::<Settings>("slotz = 5").expect_err("a typo");
        assert!(error.to_string().contains("slotz"), "{error}");
    }

    #[test]
    fn invalid_settings_are_rejected_with_the_reason() {
        for (text, named) in [
            ("slots = 0", "invalid value for --slots: "),
            ("waiting_max = 0", "--waiting-max"),
            ("watch_poll = \"0s\"", "50ms"),
            ("timeout = \"3h\"\ntimeout_max = \"2h\"", "3h"),
            ("cpu = \"3s\"\ncpu_max = \"2s\"", "cpu_max (2s)"),
            ("cpu = \"0s\"", "1ms"),
            ("memory = \"8GiB\"", "4.0 GiB"),
            ("memory = \"2MiB\"\nmemory_max = \"1MiB\"", "memory_max (1.0 MiB)"),
            ("disk = \"2MiB\"\ndisk_max = \"1MiB\"", "disk_max (1.0 MiB)"),
            ("memory = \"64MiB\"\nmemory_total = \"32MiB\"", "memory_total (32.0 MiB)"),
            ("memory_total = \"1MiB\"", "16.0 MiB"),
            ("log_total = \"1KiB\"", "1.0 MiB"),
            ("concurrency = 0", "concurrency"),
            ("debug_listen = \"0.0.0.0:6060\"", "127.0.0.1:6060"),
            ("webhook_allow = [\"http://receiver\"]", "--webhook-allow"),
            ("public_host = [\"https://example.org\"]", "--public-host: 'https://example.org' is not"),
            ("allow_origin = [\"example.org\"]", "--allow-origin: 'example.org' is not"),
            ("trust_proxy = [\"proxy\"]", "--trust-proxy: 'proxy' is not"),
            ("webhook_attempts = 0", "--webhook-attempts"),
            ("webhook_backoff = \"7h\"", "6h"),
            ("webhook_timeout = \"1h\"", "120s"),
        ] {
            let error = Config::merge(Settings::default(), file(text)).expect_err(text);
            assert!(format!("{error:#}").contains(named), "{error:#}");
        }
    }
}
