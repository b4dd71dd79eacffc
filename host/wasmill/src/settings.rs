//! Settings from flags, the environment and `wasmill.toml`, in this order of precedence.

mod listen;
mod log_filter;
mod plain;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use wasmill_api::{Allowed, Door};
use wasmill_model::{Backoff, InvalidDuration, Limits, parse_duration};
use wasmill_runtime::Ceilings;
use wasmill_scheduler::Retention;

pub(crate) use self::listen::Listen;
pub(crate) use self::log_filter::LogFilter;
use crate::cli::ServeArgs;
use crate::exit;
use crate::input::without_bom;

/// The settings file that is read when none is named.
const DEFAULT_FILE: &str = "wasmill.toml";

/// The slots of a server that names none, where the host affords them.
pub(crate) const SLOTS: u32 = 1_000;

/// How long, and how many, tasks that have ended are kept by a server that is told nothing else.
const KEEP_FOR: Duration = Duration::from_secs(7 * 86_400);
const KEEP_MAX: u64 = 1_000_000;

/// How the waits between the tries of a webhook grow, and how long one is at most before jitter: with 5 s at
/// first, eight tries are made within 11 to 17 hours.
const WEBHOOK_WAIT_FACTOR: f64 = 5.0;
const WEBHOOK_WAIT_MAX: Duration = Duration::from_secs(6 * 3_600);

/// The longest that a receiver may take: it holds one of a few places all that time.
const WEBHOOK_TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// Looking more often than this would only burn time.
const WATCH_POLL_MIN: Duration = Duration::from_millis(50);

/// Everything that can be set, each unset until someone sets it.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The address and port of the REST API, or a port of loopback [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "WASMILL_LISTEN")]
    pub(crate) listen: Option<Listen>,

    /// The folder that holds the database; made if missing [default: ./data]
    #[arg(long, value_name = "DIR", env = "WASMILL_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// The folder whose *.wasm files are plugins [default: ./plugins]
    #[arg(long, value_name = "DIR", env = "WASMILL_PLUGINS")]
    pub(crate) plugins: Option<PathBuf>,

    /// Looks at the plugins folder this often instead of being told of changes by the system; for
    /// network mounts [default: told, and a look every 2s]
    #[arg(long, value_name = "TIME", env = "WASMILL_WATCH_POLL")]
    pub(crate) watch_poll: Option<Span>,

    /// How many tasks run at the same time [default: 1000, or what the host affords if that is less]
    #[arg(long, value_name = "N", env = "WASMILL_SLOTS", value_parser = plain::count::<u32>, allow_hyphen_values = true)]
    #[serde(deserialize_with = "plain::read_count")]
    pub(crate) slots: Option<u32>,

    /// How long running tasks may go on after a stop was asked for, before they are put back to
    /// waiting [default: 10s]
    #[arg(long, value_name = "TIME", env = "WASMILL_DRAIN")]
    pub(crate) drain: Option<Span>,

    /// How many tasks may wait; further ones are refused with 429 [default: 1000000]
    #[arg(long, value_name = "N", env = "WASMILL_WAITING_MAX", value_parser = plain::count::<u64>, allow_hyphen_values = true)]
    #[serde(deserialize_with = "plain::read_count")]
    pub(crate) waiting_max: Option<u64>,

    /// How long tasks that have ended are kept, or `forever` [default: 7days]
    #[arg(long, value_name = "TIME", env = "WASMILL_KEEP_FOR")]
    pub(crate) keep_for: Option<KeepFor>,

    /// How many tasks that have ended are kept, the newest; 0 for all [default: 1000000]
    #[arg(long, value_name = "N", env = "WASMILL_KEEP_MAX", value_parser = plain::count::<u64>, allow_hyphen_values = true)]
    #[serde(deserialize_with = "plain::read_count")]
    pub(crate) keep_max: Option<u64>,

    /// The time one attempt of a task may take unless the task says otherwise [default: 10m]
    #[arg(long, value_name = "TIME", env = "WASMILL_TIMEOUT")]
    pub(crate) timeout: Option<Span>,

    /// The longest timeout a task or a manifest may ask for [default: 1day]
    #[arg(long, value_name = "TIME", env = "WASMILL_TIMEOUT_MAX")]
    pub(crate) timeout_max: Option<Span>,

    /// The time one attempt of a task may really compute, waiting not counted [default: bounded by its
    /// timeout alone, or by `cpu_max`]
    #[arg(long, value_name = "TIME", env = "WASMILL_CPU")]
    pub(crate) cpu: Option<Span>,

    /// The most computing time a manifest may ask for [default: no ceiling but the timeout]
    #[arg(long, value_name = "TIME", env = "WASMILL_CPU_MAX")]
    pub(crate) cpu_max: Option<Span>,

    /// The memory one task may use, all its memories and tables together [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_MEMORY")]
    pub(crate) memory: Option<ByteSize>,

    /// The most memory a manifest may ask for; a plugin that asks for more than `memory` runs outside of
    /// the pools, more slowly [default: 256MiB, or `memory` if that is more]
    #[arg(long, value_name = "SIZE", env = "WASMILL_MEMORY_MAX")]
    pub(crate) memory_max: Option<ByteSize>,

    /// The memory all tasks may use together: what running ones use, and what free slots keep for the next;
    /// further tasks wait until there is room [default: three quarters of what the machine or its control
    /// group has]
    #[arg(long, value_name = "SIZE", env = "WASMILL_MEMORY_TOTAL")]
    pub(crate) memory_total: Option<ByteSize>,

    /// The size of the largest result [default: 1MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_OUTPUT")]
    pub(crate) output: Option<ByteSize>,

    /// The largest result a manifest may ask for [default: 16MiB, or `output` if that is more]
    #[arg(long, value_name = "SIZE", env = "WASMILL_OUTPUT_MAX")]
    pub(crate) output_max: Option<ByteSize>,

    /// How much of the newest log of each task is kept [default: 16KiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_LOG_TAIL")]
    pub(crate) log_tail: Option<ByteSize>,

    /// The most log a manifest may ask to keep [default: 1MiB, or `log_tail` if that is more]
    #[arg(long, value_name = "SIZE", env = "WASMILL_LOG_TAIL_MAX")]
    pub(crate) log_tail_max: Option<ByteSize>,

    /// How much one run may write to the folders that its manifest permits; each file, folder or link that it
    /// makes counts as 4 KiB [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_DISK")]
    pub(crate) disk: Option<ByteSize>,

    /// The most that a manifest may ask for to be written [default: 16GiB, or `disk` if that is more]
    #[arg(long, value_name = "SIZE", env = "WASMILL_DISK_MAX")]
    pub(crate) disk_max: Option<ByteSize>,

    /// How much log all running tasks hold in memory together; once they do, each keeps its newest 2 KiB
    /// [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_LOG_TOTAL")]
    pub(crate) log_total: Option<ByteSize>,

    /// How many tasks of one plugin run at the same time; a manifest can ask for fewer [default: as many
    /// as there are slots]
    #[arg(long, value_name = "N", env = "WASMILL_CONCURRENCY", value_parser = plain::count::<u32>, allow_hyphen_values = true)]
    #[serde(deserialize_with = "plain::read_count")]
    pub(crate) concurrency: Option<u32>,

    /// A file of PEM with certificates that outgoing HTTPS trusts besides those of the web
    #[arg(long, value_name = "FILE", env = "WASMILL_HTTP_ROOTS")]
    pub(crate) http_roots: Option<PathBuf>,

    /// The memory that compiling one plugin may take [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_COMPILE_MEMORY")]
    pub(crate) compile_memory: Option<ByteSize>,

    /// The time that compiling one plugin may take, on the wall and of computing alike [default: 10m]
    #[arg(long, value_name = "TIME", env = "WASMILL_COMPILE_TIMEOUT")]
    pub(crate) compile_timeout: Option<Span>,

    /// How much compiled code is kept from one start to the next [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_CACHE")]
    pub(crate) cache: Option<ByteSize>,

    /// Lets clients add, replace and delete plugins over the REST API: true, yes, on or 1, or their opposites
    #[arg(long, value_name = "BOOL", env = "WASMILL_ALLOW_UPLOAD", num_args = 0..=1,
        default_missing_value = "true", value_parser = plain::switch)]
    #[serde(deserialize_with = "plain::read_switch")]
    pub(crate) allow_upload: Option<bool>,

    /// The size of the largest request body [default: 1MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_BODY_MAX")]
    pub(crate) body_max: Option<ByteSize>,

    /// The address and port of the debug port: what every task does right now, and CPU profiles. Nobody
    /// asks for a password there, so it is refused outside of loopback unless --debug-remote is given
    /// [default: none]
    #[arg(long, value_name = "ADDRESS", env = "WASMILL_DEBUG_LISTEN")]
    pub(crate) debug_listen: Option<Listen>,

    /// Lets the debug port listen on addresses other than loopback: true, yes, on or 1, or their opposites
    #[arg(long, value_name = "BOOL", env = "WASMILL_DEBUG_REMOTE", num_args = 0..=1,
        default_missing_value = "true", value_parser = plain::switch)]
    #[serde(deserialize_with = "plain::read_switch")]
    pub(crate) debug_remote: Option<bool>,

    /// Names that this server is reached under, with commas between them, such as tasks.example.org; requests for
    /// other names are refused, but for addresses, names without a dot and localhost [default: none]
    #[arg(long, value_name = "HOST", env = "WASMILL_PUBLIC_HOST", value_delimiter = ',')]
    pub(crate) public_host: Option<Vec<String>>,

    /// Origins whose web pages may use this server, with commas between them, such as
    /// https://dashboard.example.org [default: none but its own]
    #[arg(long, value_name = "ORIGIN", env = "WASMILL_ALLOW_ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Option<Vec<String>>,

    /// Addresses or networks of proxies that ask who is there, with commas between them, such as 127.0.0.1;
    /// what other proxies forward is refused [default: none]
    #[arg(long, value_name = "NETWORK", env = "WASMILL_TRUST_PROXY", value_delimiter = ',')]
    pub(crate) trust_proxy: Option<Vec<String>>,

    /// Where traces are sent: an OpenTelemetry collector, by OTLP over HTTP, such as http://localhost:4318;
    /// OTEL_EXPORTER_OTLP_ENDPOINT and its like are heeded, too [default: none]
    #[arg(long, value_name = "URL", env = "WASMILL_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,

    /// The size of the largest body of many tasks, as for POST /task/batch [default: 16MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_BATCH_BODY_MAX")]
    pub(crate) batch_body_max: Option<ByteSize>,

    /// A file with the secrets that webhooks are signed with, one a line, each whsec_ and base64; or the
    /// variable WASMILL_WEBHOOK_SECRET holds them [default: webhooks are not signed]
    #[arg(long, value_name = "FILE", env = "WASMILL_WEBHOOK_SECRET_FILE")]
    pub(crate) webhook_secret_file: Option<PathBuf>,

    /// Where webhooks may go besides public addresses: hosts by name, addresses and networks such as
    /// 10.0.0.0/8, with commas between them [default: nowhere]
    #[arg(long, value_name = "HOST|NETWORK", env = "WASMILL_WEBHOOK_ALLOW", value_delimiter = ',')]
    pub(crate) webhook_allow: Option<Vec<String>>,

    /// How often a webhook is tried before it is given up [default: 8]
    #[arg(long, value_name = "N", env = "WASMILL_WEBHOOK_TRIES", value_parser = plain::count::<u32>, allow_hyphen_values = true)]
    #[serde(deserialize_with = "plain::read_count")]
    pub(crate) webhook_tries: Option<u32>,

    /// The wait after the first try of a webhook that failed; each further one is five times as long, up to
    /// 6h, and each is lengthened at random by up to half of itself [default: 5s]
    #[arg(long, value_name = "TIME", env = "WASMILL_WEBHOOK_BACKOFF")]
    pub(crate) webhook_backoff: Option<Span>,

    /// How long one try of a webhook may take [default: 15s]
    #[arg(long, value_name = "TIME", env = "WASMILL_WEBHOOK_TIMEOUT")]
    pub(crate) webhook_timeout: Option<Span>,
    /// Puts tasks without a group into the one that a tag of theirs names which begins so, such as "tenant:"
    #[arg(long, value_name = "PREFIX", env = "WASMILL_GROUP_TAG")]
    pub(crate) group_tag: Option<String>,

    /// What is logged: off, error, warn, info, debug, trace, or a filter by module, such as
    /// info,wasmill_store=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "WASMILL_LOG")]
    pub(crate) log: Option<LogFilter>,

    /// How it is logged, to stderr [default: human]
    #[arg(long, value_name = "FORMAT", env = "WASMILL_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line, for machines.
    Json,
}

/// A duration that is written with a unit, such as `10s` or `1h 30m`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_duration(text).map(Self)
    }
}

impl TryFrom<String> for Span {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// How long something is kept: a duration, or `forever`, which `0s` means too.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct KeepFor(pub(crate) Option<Duration>);

impl FromStr for KeepFor {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "forever" {
            return Ok(Self(None));
        }
        parse_duration(text).map(|kept| Self((!kept.is_zero()).then_some(kept)))
    }
}

impl TryFrom<String> for KeepFor {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The settings in force.
#[derive(Debug)]
pub(crate) struct Config {
    /// The settings file, or where it would be; it may be missing.
    pub(crate) file: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) plugins: PathBuf,
    /// `None` means that the system tells of changes.
    pub(crate) watch_poll: Option<Duration>,
    /// `None` means [`SLOTS`], or fewer where the host affords fewer.
    pub(crate) slots: Option<u32>,
    pub(crate) drain: Duration,
    pub(crate) waiting_max: u64,
    pub(crate) retention: Retention,
    pub(crate) timeout: Duration,
    pub(crate) timeout_max: Duration,
    /// `None` means that only the timeout bounds it.
    pub(crate) cpu: Option<Duration>,
    pub(crate) memory_bytes: u64,
    /// `None` means three quarters of what there is.
    pub(crate) memory_total_bytes: Option<u64>,
    pub(crate) output_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) log_total_bytes: u64,
    /// The most that manifests may ask for.
    pub(crate) ceilings: Ceilings,
    /// Certificates that outgoing HTTPS trusts besides those of the web.
    pub(crate) http_roots: Option<PathBuf>,
    pub(crate) compile_memory_bytes: u64,
    pub(crate) compile_timeout: Duration,
    pub(crate) cache_bytes: u64,
    pub(crate) allow_upload: bool,
    pub(crate) body_bytes: u64,
    /// `None` means that there is no debug port.
    pub(crate) debug_listen: Option<SocketAddr>,
    pub(crate) debug_remote: bool,
    /// Who may come in.
    pub(crate) door: Door,
    /// `None` leaves it to the environment whether traces are sent.
    pub(crate) otlp_endpoint: Option<String>,
    pub(crate) batch_bytes: u64,
    /// `None` means that the environment holds them, if there are any.
    pub(crate) webhook_secret_file: Option<PathBuf>,
    /// Where webhooks may go besides public addresses.
    pub(crate) webhook_allowed: Vec<Allowed>,
    pub(crate) webhook_tries: u32,
    pub(crate) webhook_backoff: Backoff,
    pub(crate) webhook_timeout: Duration,
    /// What tags begin with that name a group.
    pub(crate) group_tag: Option<String>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

impl Config {
    /// Reads the settings file, lays flags and environment over it, and fills in defaults.
    pub(crate) fn load(args: ServeArgs) -> Result<Self> {
        Self::load_any(args).map_err(exit::of_settings)
    }

    fn load_any(args: ServeArgs) -> Result<Self> {
        let file = match &args.config {
            Some(path) => read(path)?,
            // Whatever stands there is read, also a link to nothing: else a file that is not mounted would mean defaults.
            None => match Path::new(DEFAULT_FILE).symlink_metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => Settings::default(),
                _ => read(Path::new(DEFAULT_FILE))?,
            },
        };
        let path = args.config.unwrap_or_else(|| DEFAULT_FILE.into());
        Ok(Self { file: path, ..Self::settle(args.settings, file)? })
    }

    fn settle(flags: Settings, file: Settings) -> Result<Self> {
        let span = |flag: Option<Span>, file: Option<Span>, default: u64| {
            flag.or(file).map_or(Duration::from_secs(default), |span| span.0)
        };
        let size = |flag: Option<ByteSize>, file: Option<ByteSize>, default: ByteSize| {
            flag.or(file).unwrap_or(default).as_u64()
        };
        let keep_for = flags.keep_for.or(file.keep_for).map_or(Some(KEEP_FOR), |kept| kept.0);
        let keep_max = flags.keep_max.or(file.keep_max).unwrap_or(KEEP_MAX);
        let timeout_max = span(flags.timeout_max, file.timeout_max, 86_400);
        let cpu_max = flags.cpu_max.or(file.cpu_max).map(|span| span.0);
        let memory_bytes = size(flags.memory, file.memory, ByteSize::mib(64));
        let output_bytes = size(flags.output, file.output, ByteSize::mib(1));
        let log_bytes = size(flags.log_tail, file.log_tail, ByteSize::kib(16));
        let disk_bytes = size(flags.disk, file.disk, ByteSize::gib(1));
        // Whoever raises a default need not raise its ceiling as well.
        let ceiling =
            |flag, file, default: ByteSize, least| size(flag, file, ByteSize(default.as_u64().max(least)));
        let ceilings = Ceilings {
            memory_bytes: ceiling(flags.memory_max, file.memory_max, ByteSize::mib(256), memory_bytes),
            timeout: timeout_max,
            cpu: cpu_max,
            output_bytes: ceiling(flags.output_max, file.output_max, ByteSize::mib(16), output_bytes),
            log_bytes: ceiling(flags.log_tail_max, file.log_tail_max, ByteSize::mib(1), log_bytes),
            disk_bytes: ceiling(flags.disk_max, file.disk_max, ByteSize::gib(16), disk_bytes),
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
            retention: Retention { keep_for, keep_max: Some(keep_max).filter(|most| *most > 0) },
            timeout: span(flags.timeout, file.timeout, 600),
            timeout_max,
            cpu: flags.cpu.or(file.cpu).map(|span| span.0).or(cpu_max),
            memory_bytes,
            memory_total_bytes: flags.memory_total.or(file.memory_total).map(|size| size.as_u64()),
            output_bytes,
            log_bytes,
            disk_bytes,
            log_total_bytes: size(flags.log_total, file.log_total, ByteSize::mib(64)),
            ceilings,
            http_roots: flags.http_roots.or(file.http_roots),
            compile_memory_bytes: size(flags.compile_memory, file.compile_memory, ByteSize::gib(4)),
            compile_timeout: span(flags.compile_timeout, file.compile_timeout, 600),
            cache_bytes: size(flags.cache, file.cache, ByteSize::gib(1)),
            allow_upload: flags.allow_upload.or(file.allow_upload).unwrap_or(false),
            body_bytes: size(flags.body_max, file.body_max, ByteSize::mib(1)),
            debug_listen: flags.debug_listen.or(file.debug_listen).map(|listen| listen.0),
            debug_remote: flags.debug_remote.or(file.debug_remote).unwrap_or(false),
            door: Door {
                public_hosts: parse_all("public_host", flags.public_host.or(file.public_host))?,
                allowed_origins: parse_all("allow_origin", flags.allow_origin.or(file.allow_origin))?,
                trusted_proxies: parse_all("trust_proxy", flags.trust_proxy.or(file.trust_proxy))?,
            },
            otlp_endpoint: flags.otlp_endpoint.or(file.otlp_endpoint),
            batch_bytes: size(flags.batch_body_max, file.batch_body_max, ByteSize::mib(16)),
            webhook_secret_file: flags.webhook_secret_file.or(file.webhook_secret_file),
            webhook_allowed: parse_all("webhook_allow", flags.webhook_allow.or(file.webhook_allow))?,
            webhook_tries: flags.webhook_tries.or(file.webhook_tries).unwrap_or(8),
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

    /// Returns what a run may use whose plugin has no manifest.
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
        ensure!(self.slots != Some(0), "slots must be at least 1, or no task would ever run");
        ensure!(
            self.watch_poll.is_none_or(|interval| interval >= WATCH_POLL_MIN),
            "watch_poll must be at least {WATCH_POLL_MIN:?}"
        );
        ensure!(self.waiting_max > 0, "waiting_max must be at least 1, or no task would be accepted");
        ensure!(self.timeout >= Duration::from_millis(1), "timeout must be at least 1ms");
        ensure!(
            self.timeout <= self.timeout_max,
            "timeout ({}) must not be longer than timeout_max ({})",
            humantime::format_duration(self.timeout),
            humantime::format_duration(self.timeout_max),
        );
        if let Some(debug) = self.debug_listen {
            ensure!(
                debug.ip().is_loopback() || self.debug_remote,
                "debug_listen ({debug}) is no address of loopback, and nobody asks for a password there; use \
                 127.0.0.1:{}, or allow it with debug_remote",
                debug.port()
            );
        }
        ensure!(
            (1..=100).contains(&self.webhook_tries),
            "webhook_tries must be from 1 to 100, or a receiver would never be told"
        );
        ensure!(
            (Duration::from_millis(1)..=WEBHOOK_TIMEOUT_MAX).contains(&self.webhook_timeout),
            "webhook_timeout must be from 1ms to {WEBHOOK_TIMEOUT_MAX:?}"
        );
        within("compile_memory", self.compile_memory_bytes, ByteSize::mib(256), ByteSize::tib(1))?;
        ensure!(self.compile_timeout >= Duration::from_secs(1), "compile_timeout must be at least 1s");
        if let (Some(cpu), Some(most)) = (self.cpu, self.ceilings.cpu) {
            let (cpu_shown, most_shown) = (humantime::format_duration(cpu), humantime::format_duration(most));
            ensure!(cpu <= most, "cpu ({cpu_shown}) must not be longer than cpu_max ({most_shown})");
        }
        ensure!(self.cpu.is_none_or(|cpu| cpu >= Duration::from_millis(1)), "cpu must be at least 1ms");
        within("memory", self.memory_bytes, ByteSize::kib(64), ByteSize::gib(4))?;
        if let Some(total) = self.memory_total_bytes {
            within("memory_total", total, ByteSize::mib(16), ByteSize::tib(8))?;
            at_most("memory", self.memory_bytes, "memory_total", total)?;
        }
        within("output", self.output_bytes, ByteSize::b(1), ByteSize::mib(64))?;
        within("log_tail", self.log_bytes, ByteSize::b(0), ByteSize::mib(16))?;
        within("log_total", self.log_total_bytes, ByteSize::mib(1), ByteSize::gib(64))?;
        let ceilings = &self.ceilings;
        ensure!(ceilings.concurrency != Some(0), "concurrency must be at least 1, or no task would ever run");
        at_most("memory", self.memory_bytes, "memory_max", ceilings.memory_bytes)?;
        at_most("output", self.output_bytes, "output_max", ceilings.output_bytes)?;
        at_most("log_tail", self.log_bytes, "log_tail_max", ceilings.log_bytes)?;
        at_most("disk", self.disk_bytes, "disk_max", ceilings.disk_bytes)?;
        within("memory_max", ceilings.memory_bytes, ByteSize::kib(64), ByteSize::gib(4))?;
        within("output_max", ceilings.output_bytes, ByteSize::b(1), ByteSize::mib(64))?;
        within("log_tail_max", ceilings.log_bytes, ByteSize::b(0), ByteSize::mib(16))?;
        within("batch_body_max", self.batch_bytes, ByteSize::b(2), ByteSize::mib(256))?;
        within("body_max", self.body_bytes, ByteSize::b(2), ByteSize::mib(256))
    }
}

/// Reads each value of a setting that has several.
fn parse_all<T>(name: &'static str, given: Option<Vec<String>>) -> Result<Vec<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let given = given.unwrap_or_default();
    given.iter().map(|text| text.parse().context(name)).collect()
}

/// Makes the waits between the tries of a webhook from the first of them.
fn webhook_backoff(first: Duration) -> Result<Backoff> {
    ensure!(
        (Duration::from_millis(1)..=WEBHOOK_WAIT_MAX).contains(&first),
        "webhook_backoff must be from 1ms to {}",
        humantime::format_duration(WEBHOOK_WAIT_MAX)
    );
    Ok(Backoff { first, factor: WEBHOOK_WAIT_FACTOR, most: WEBHOOK_WAIT_MAX, ..Backoff::default() })
}

fn at_most(name: &str, bytes: u64, ceiling: &str, most: u64) -> Result<()> {
    let (given, most_shown) = (ByteSize(bytes).display().iec(), ByteSize(most).display().iec());
    ensure!(bytes <= most, "{name} ({given}) must not be more than {ceiling} ({most_shown})");
    Ok(())
}

fn within(name: &str, bytes: u64, least: ByteSize, most: ByteSize) -> Result<()> {
    let given = ByteSize(bytes).display().iec();
    ensure!(
        (least.as_u64()..=most.as_u64()).contains(&bytes),
        "{name} ({given}) must be from {} to {}",
        least.display().iec(),
        most.display().iec(),
    );
    Ok(())
}

fn read(path: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| exit::unread(format!("settings file {}", path.display()), &error))?;
    toml::from_str(without_bom(&text))
        .with_context(|| format!("failed to understand settings file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Settings {
        toml::from_str(text).expect("a valid file")
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let flags = Settings { slots: Some(7), ..Settings::default() };
        let config = Config::settle(flags, file("slots = 5\ndrain = \"1m\"")).expect("valid");
        assert_eq!(config.slots, Some(7));
        assert_eq!(config.drain, Duration::from_secs(60));
        assert_eq!(config.timeout, Duration::from_secs(600));
    }

    #[test]
    fn every_setting_can_stand_in_the_file() {
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
            webhook_tries = 3
            webhook_backoff = "1s"
            webhook_timeout = "5s"
            group_tag = "tenant:"
            log = "debug"
            log_format = "json"
            "#,
        );
        let config = Config::settle(Settings::default(), all).expect("valid");
        assert_eq!(config.memory_bytes, 128 << 20);
        assert_eq!(
            (config.limits().cpu, config.ceilings.cpu.map(|most| most.as_secs())),
            (Some(Duration::from_secs(20)), Some(30))
        );
        assert_eq!(config.memory_total_bytes, Some(3 << 30));
        assert_eq!((config.log_format, config.log_total_bytes), (LogFormat::Json, 8 << 20));
        assert_eq!((config.ceilings.memory_bytes, config.ceilings.concurrency), (512 << 20, Some(3)));
        assert_eq!((config.limits().disk_bytes, config.ceilings.disk_bytes), (2 << 30, 3 << 30));
        assert!(config.allow_upload);
        assert_eq!(config.otlp_endpoint.as_deref(), Some("http://localhost:4318"));
        assert_eq!((config.door.public_hosts.len(), config.door.trusted_proxies.len()), (1, 2));
        assert_eq!(config.door.allowed_origins.len(), 1);
        assert_eq!(config.batch_bytes, 5 << 20);
        assert_eq!((config.webhook_allowed.len(), config.webhook_tries), (2, 3));
        assert_eq!(config.webhook_backoff.wait(2, 0.0), Duration::from_secs(5));
        assert_eq!((config.batch_bytes, config.group_tag.as_deref()), (5 << 20, Some("tenant:")));
        assert_eq!(config.timeout_max, Duration::from_secs(7200));
    }

    #[test]
    fn retention_is_on_unless_it_is_switched_off() {
        let retention = |text| Config::settle(Settings::default(), file(text)).expect("valid").retention;
        let week = Some(Duration::from_secs(604_800));
        assert_eq!(retention(""), Retention { keep_for: week, keep_max: Some(1_000_000) });
        let off = Retention { keep_for: None, keep_max: None };
        assert_eq!(retention("keep_for = \"forever\"\nkeep_max = 0"), off);
        assert_eq!(retention("keep_for = \"0s\"\nkeep_max = 0"), off);
        let some = Retention { keep_for: Some(Duration::from_secs(7200)), keep_max: Some(5) };
        assert_eq!(retention("keep_for = \"2h\"\nkeep_max = 5"), some);
    }

    #[test]
    fn a_raised_default_raises_its_ceiling() {
        let config = Config::settle(Settings::default(), file("memory = \"1GiB\"")).expect("valid");
        assert_eq!(config.ceilings.memory_bytes, 1 << 30);
        let config = Config::settle(Settings::default(), file("disk = \"1TiB\"")).expect("valid");
        assert_eq!(config.ceilings.disk_bytes, 1 << 40);
        let config = Config::settle(Settings::default(), Settings::default()).expect("valid");
        assert_eq!((config.ceilings.memory_bytes, config.allow_upload), (256 << 20, false));
    }

    #[test]
    fn a_typo_in_the_file_is_an_error() {
        let error = toml::from_str::<Settings>("slotz = 5").expect_err("a typo");
        assert!(error.to_string().contains("slotz"), "{error}");
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_reason() {
        for (text, named) in [
            ("slots = 0", "slots"),
            ("waiting_max = 0", "waiting_max"),
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
            ("webhook_allow = [\"http://receiver\"]", "webhook_allow"),
            ("public_host = [\"https://example.org\"]", "public_host: 'https://example.org' is not"),
            ("allow_origin = [\"example.org\"]", "allow_origin: 'example.org' is not"),
            ("trust_proxy = [\"proxy\"]", "trust_proxy: 'proxy' is neither"),
            ("webhook_tries = 0", "webhook_tries"),
            ("webhook_backoff = \"7h\"", "6h"),
            ("webhook_timeout = \"1h\"", "120s"),
        ] {
            let error = Config::settle(Settings::default(), file(text)).expect_err(text);
            assert!(format!("{error:#}").contains(named), "{error:#}");
        }
    }
}
