//! The settings in effect: flags over the environment over `wasmill.toml` over defaults, and checked.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use wasmill_api::AccessPolicy;
use wasmill_egress::AllowedDestination;
use wasmill_model::{Backoff, Limits};
use wasmill_runtime::MaxLimits;
use wasmill_scheduler::Retention;

use crate::cli::ServeArgs;
use crate::exit;
use crate::input::without_bom;
use crate::settings::{HumanDuration, LogFormat, Settings};

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
        let settings = flags.or(file);
        let limits = limits(&settings);
        let max_limits = max_limits(&settings, &limits);
        let keep_for = settings.keep_for.map_or(Some(KEEP_FOR_DEFAULT), |period| period.0);
        let keep_max = settings.keep_max.unwrap_or(KEEP_MAX_DEFAULT);
        let config = Self {
            file: DEFAULT_FILE.into(),
            listen: settings.listen.map_or_else(|| ([127, 0, 0, 1], 8080).into(), |listen| listen.0),
            data: settings.data.unwrap_or_else(|| "data".into()),
            plugins: settings.plugins.unwrap_or_else(|| "plugins".into()),
            watch_poll: settings.watch_poll.map(|span| span.0),
            slots: settings.slots,
            drain: span(settings.drain, 10),
            waiting_max: settings.waiting_max.unwrap_or(1_000_000),
            retention: Retention { keep_for, keep_max: Some(keep_max).filter(|max| *max > 0) },
            timeout: limits.timeout,
            timeout_max: max_limits.timeout,
            cpu: limits.cpu,
            memory_bytes: limits.memory_bytes,
            memory_total_bytes: settings.memory_total.map(|size| size.as_u64()),
            output_bytes: limits.output_bytes,
            log_bytes: limits.log_bytes,
            disk_bytes: limits.disk_bytes,
            log_total_bytes: size(settings.log_total, ByteSize::mib(64)),
            max_limits,
            http_roots: settings.http_roots,
            compile_memory_bytes: size(settings.compile_memory, ByteSize::gib(4)),
            compile_timeout: span(settings.compile_timeout, 600),
            cache_bytes: size(settings.cache, ByteSize::gib(1)),
            allow_upload: settings.allow_upload.unwrap_or(false),
            body_bytes: size(settings.body_max, ByteSize::mib(1)),
            debug_listen: settings.debug_listen.map(|listen| listen.0),
            debug_remote: settings.debug_remote.unwrap_or(false),
            access_policy: AccessPolicy {
                public_hosts: parse_all("public_host", settings.public_host)?,
                allowed_origins: parse_all("allow_origin", settings.allow_origin)?,
                trusted_proxies: parse_all("trust_proxy", settings.trust_proxy)?,
            },
            otlp_endpoint: settings.otlp_endpoint,
            batch_bytes: size(settings.batch_body_max, ByteSize::mib(16)),
            webhook_secret_file: settings.webhook_secret_file,
            webhook_allowed: parse_all("webhook_allow", settings.webhook_allow)?,
            webhook_attempts: settings.webhook_attempts.unwrap_or(8),
            webhook_backoff: webhook_backoff(span(settings.webhook_backoff, 5))?,
            webhook_timeout: span(settings.webhook_timeout, 15),
            group_tag: settings.group_tag.filter(|prefix| !prefix.is_empty()),
            log: settings
                .log
                .filter(|filter| !filter.0.is_empty())
                .map_or_else(|| "info".to_owned(), |filter| filter.0),
            log_format: settings.log_format.unwrap_or(LogFormat::Human),
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

/// Returns the limits of a run that the settings ask for.
fn limits(settings: &Settings) -> Limits {
    Limits {
        memory_bytes: size(settings.memory, ByteSize::mib(64)),
        timeout: span(settings.timeout, 600),
        cpu: settings.cpu.or(settings.cpu_max).map(|span| span.0),
        output_bytes: size(settings.output, ByteSize::mib(1)),
        log_bytes: size(settings.log_tail, ByteSize::kib(16)),
        disk_bytes: size(settings.disk, ByteSize::gib(1)),
        ..Limits::default()
    }
}

/// Returns the maximum of each limit. Raising a limit raises the default of its maximum too.
fn max_limits(settings: &Settings, limits: &Limits) -> MaxLimits {
    let max = |setting, default: ByteSize, limit| size(setting, ByteSize(default.as_u64().max(limit)));
    MaxLimits {
        memory_bytes: max(settings.memory_max, ByteSize::mib(256), limits.memory_bytes),
        timeout: span(settings.timeout_max, 86_400),
        cpu: settings.cpu_max.map(|span| span.0),
        output_bytes: max(settings.output_max, ByteSize::mib(16), limits.output_bytes),
        log_bytes: max(settings.log_tail_max, ByteSize::mib(1), limits.log_bytes),
        disk_bytes: max(settings.disk_max, ByteSize::gib(16), limits.disk_bytes),
        concurrency: settings.concurrency,
    }
}

fn span(setting: Option<HumanDuration>, default_seconds: u64) -> Duration {
    setting.map_or(Duration::from_secs(default_seconds), |span| span.0)
}

fn size(setting: Option<ByteSize>, default: ByteSize) -> u64 {
    setting.unwrap_or(default).as_u64()
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
mod tests;
