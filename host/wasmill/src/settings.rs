//! The settings: each is declared here, once.
//!
//! A field is the flag `--x-y`, the variable `WASMILL_X_Y`, the key `x_y` of the file, its default, its help text and
//! its row of `docs/reference/settings.md`. A flag takes precedence over the variable, which takes precedence over the
//! file, which takes precedence over the default. Every value is parsed by the field's parser, wherever it is from.

mod check;
mod choices;
mod database_url;
mod file;
mod given;
mod layer;
mod log_filter;
mod openid;
mod resolve;
mod secrets;
pub(crate) mod value;

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{ArgAction, Args};
use wasmill_api::{HostName, IdentityHeader, Listen, Network, Origin, ServerConfig};
use wasmill_egress::AllowedDestination;
use wasmill_model::{ChildBounds, FileLimits, Limits, SLOTS_DEFAULT, parse_duration, shown_size};
use wasmill_runtime::{CacheConfig, CompilerConfig};
use wasmill_store_sqlite::SqliteConfig;

pub(crate) use self::choices::{AuthMode, LogFormat, TrustMode};
#[cfg(feature = "oidc")]
pub(crate) use self::choices::{SigningAlgorithm, UserClaim};
pub(crate) use self::database_url::DatabaseUrl;
pub(crate) use self::given::{ForAudit, ForBackup, ForKeys, ForMigrate, ForRun, ForTrust, Given};
use self::log_filter::{LOG, parse_log_filter};
use self::openid::OpenIdSettings;
use self::secrets::SecretSettings;
pub(crate) use self::ui::Colour;
use self::ui::{parse_trace_url, parse_ui_name};
pub(crate) use self::value::count;
use self::value::{duration, parse_bool, parse_period, parse_size, shown_duration, size};

/// The default address of the API.
pub(crate) const LISTEN: &str = "127.0.0.1:8080";

/// Maximum wait between two delivery attempts of a webhook, before jitter.
const WEBHOOK_WAIT_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Maximum timeout of a receiver: it occupies one of few connections all that time.
const WEBHOOK_TIMEOUT_MAX: Duration = Duration::from_secs(120);

const MS: Duration = Duration::from_millis(1);

/// The settings in effect.
#[derive(Args, Debug)]
pub(crate) struct Settings {
    /// Settings file, which may be missing unless it is named
    #[arg(long, env, value_name = "FILE", default_value = "wasmill.toml")]
    pub(crate) config: PathBuf,

    /// Address and port of the REST API, a loopback port, or the path of a Unix socket as unix:PATH
    ///
    /// A port alone, such as 8080 or :8080, and localhost:8080 mean loopback; 0.0.0.0:8080 means every interface. A
    /// Unix socket has the mode 0660, for a proxy of the same group.
    #[arg(long, env, value_name = "ADDRESS", default_value = LISTEN)]
    pub(crate) listen: Listen,

    /// PEM file with the certificate of this server, followed by those that signed it; the server then speaks https,
    /// on the debug port, too [default: none, plain HTTP]
    ///
    /// Certificate and key are read again within a second of a change, and on SIGHUP; open connections go on. While
    /// they are no pair, the one before stays in force.
    #[arg(long, env, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// PEM file with the private key of `tls_cert` [default: none]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Tell browsers to use https alone for the host name of this server, for this long after each answer; needs
    /// `tls_cert` [default: none]
    ///
    /// Browsers cannot be told otherwise before that time is over, on any port of the name. Begin with minutes.
    #[arg(long, env, value_name = "TIME", value_parser = duration(Duration::from_secs(1)..))]
    pub(crate) hsts: Option<Duration>,

    /// Folder of the embedded database and of compiled plugins; `serve` creates it if it is missing
    #[arg(long, env, value_name = "DIR", default_value = "./data")]
    pub(crate) data: PathBuf,

    /// URL of a PostgreSQL database that holds the tasks, such as postgres://wasmill@db.example.org/wasmill [default:
    /// the embedded database in the data folder]
    ///
    /// Several servers may be named, as in postgres://wasmill@a,b:5433/wasmill; the one that accepts writes is used. The
    /// data folder then has the cache of compiled plugins only. The certificate of the server is verified, except on
    /// loopback and sockets; ?sslmode= disable, require or verify-full says otherwise. Command lines are visible to others
    /// on the machine, so a password belongs into `database_password_file`, or into the variable.
    #[arg(long, env, value_name = "URL", hide_env_values = true)]
    pub(crate) database: Option<DatabaseUrl>,

    /// File with the password of the PostgreSQL database [default: the one in the URL, or none]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) database_password_file: Option<PathBuf>,

    /// PEM file with the certificates that may sign the one of the PostgreSQL server [default: the public roots]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) database_ca: Option<PathBuf>,

    /// Create and migrate the tables in PostgreSQL on start, as `wasmill database migrate` does; BOOL is true, yes, on
    /// or 1, or the opposite
    #[arg(long, env, value_name = "BOOL", num_args = 0..=1, default_value = "false",
        default_missing_value = "true", action = ArgAction::Set, value_parser = parse_bool)]
    pub(crate) database_migrate: bool,

    /// Folder whose *.wasm files are plugins
    #[arg(long, env, value_name = "DIR", default_value = "./plugins")]
    pub(crate) plugins: PathBuf,

    /// Which files of the plugins folder may be plugins; the manifest and the schema of a plugin have to be trusted, too
    #[arg(long, env, value_name = "TRUST", default_value = "any")]
    pub(crate) plugin_trust: TrustMode,

    /// File with the public keys of minisign that may sign plugins, one after the other, for --plugin-trust signed; it is
    /// read at the start [default: none]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) plugin_keys: Option<PathBuf>,

    /// Take signed plugins that are older than the last ones, by `version=` in the trusted comment of the signature; BOOL
    /// is true, yes, on or 1, or the opposite
    #[arg(long, env, value_name = "BOOL", num_args = 0..=1, default_value = "false",
        default_missing_value = "true", action = ArgAction::Set, value_parser = parse_bool)]
    pub(crate) allow_older: bool,

    /// Poll the plugins folder at this interval instead of relying on file events; for network mounts [default:
    /// events, plus a scan every 2s]
    #[arg(long, env, value_name = "TIME", value_parser = duration(Duration::from_millis(50)..))]
    pub(crate) watch_poll: Option<Duration>,

    #[arg(long, env, value_name = "N", value_parser = count::<u32>(1.., "or no task would run"),
        allow_hyphen_values = true, help = format!("Maximum number of tasks that run at the same time [default: \
        {SLOTS_DEFAULT}, or what the host affords if less]"))]
    pub(crate) slots: Option<u32>,

    /// Grace period for running tasks on shutdown; tasks still running then are requeued
    ///
    /// It starts with SIGTERM or SIGINT, or when the terminal is closed (unless `nohup` keeps that away). Requeued tasks
    /// lose no attempt. A second signal ends the grace period.
    #[arg(long, env, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) drain: Duration,

    /// Maximum number of waiting tasks; further ones are rejected with 429
    #[arg(long, env, value_name = "N", default_value_t = SqliteConfig::new("").waiting_max,
        value_parser = count::<u64>(1.., "or no task would be accepted"), allow_hyphen_values = true)]
    pub(crate) waiting_max: u64,

    /// How long finished tasks are kept; `forever` or 0s disables the limit
    #[arg(long, env, value_name = "TIME", default_value = "7days", value_parser = parse_period)]
    pub(crate) keep_for: Duration,

    /// How many finished tasks are kept, newest first; 0 for all
    #[arg(long, env, value_name = "N", default_value = "1000000", value_parser = count::<u64>(.., ""),
        allow_hyphen_values = true)]
    pub(crate) keep_max: u64,

    /// Timeout of one attempt, unless the task sets one
    #[arg(long, env, value_name = "TIME", value_parser = duration(MS..),
        default_value = shown_duration(Limits::default().timeout))]
    pub(crate) timeout: Duration,

    /// Maximum timeout that a task or a manifest may request
    #[arg(long, env, value_name = "TIME", default_value = "1day", value_parser = parse_duration)]
    pub(crate) timeout_max: Duration,

    /// CPU time limit of one attempt, waiting not counted [default: no limit but the timeout, or `cpu_max`]
    #[arg(long, env, value_name = "TIME", value_parser = duration(MS..))]
    pub(crate) cpu: Option<Duration>,

    /// Maximum CPU time that a manifest may request [default: no limit but the timeout]
    #[arg(long, env, value_name = "TIME", value_parser = duration(MS..))]
    pub(crate) cpu_max: Option<Duration>,

    /// Memory limit of one task, all its memories and tables together
    ///
    /// What the host keeps for the task counts too: input, stdout, HTTP requests, streams.
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::kib(64), ByteSize::gib(4)),
        default_value = shown_size(Limits::default().memory_bytes))]
    pub(crate) memory: ByteSize,

    /// Maximum memory that a manifest may request, at least `memory` unless set; a plugin that requests more than
    /// `memory` runs outside the pools, more slowly
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::kib(64), ByteSize::gib(4)),
        default_value = "256MiB")]
    pub(crate) memory_max: ByteSize,

    /// Memory limit of all tasks together: what running tasks use, and what free slots keep for the next ones; further
    /// tasks wait for free memory [default: three quarters of the memory of the machine or its control group]
    ///
    /// `/stats`, `wasmill watch` and the metrics show it without what free slots keep; `wasmill doctor` shows both.
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::mib(16), ByteSize::tib(8)))]
    pub(crate) memory_total: Option<ByteSize>,

    /// Maximum size of a result
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::b(1), ByteSize::mib(64)),
        default_value = shown_size(Limits::default().result_bytes))]
    pub(crate) result: ByteSize,

    /// Maximum result size that a manifest may request, at least `result` unless set
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::b(1), ByteSize::mib(64)),
        default_value = "16MiB")]
    pub(crate) result_max: ByteSize,

    /// How much log is kept per task, newest lines first
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::b(0), ByteSize::mib(16)),
        default_value = shown_size(Limits::default().log_bytes))]
    pub(crate) log_tail: ByteSize,

    /// Maximum log size that a manifest may request, at least `log_tail` unless set
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::b(0), ByteSize::mib(16)),
        default_value = "1MiB")]
    pub(crate) log_tail_max: ByteSize,

    /// How much one run may write to the folders granted by its manifest; each file, folder or link it creates counts
    /// as 4 KiB
    #[arg(long, env, value_name = "SIZE", value_parser = parse_size, default_value = shown_size(Limits::default().disk_bytes))]
    pub(crate) disk: ByteSize,

    /// Maximum disk write limit that a manifest may request, at least `disk` unless set
    #[arg(long, env, value_name = "SIZE", value_parser = parse_size, default_value = "16GiB")]
    pub(crate) disk_max: ByteSize,

    /// Maximum size of one file that comes with a task, or that its run leaves
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::b(1), ByteSize::gib(16)),
        default_value = shown_size(FileLimits::default().bytes_max))]
    pub(crate) file_max: ByteSize,

    /// Maximum size of all files that come with a task, and of all that its run leaves, at least `file_max` unless set
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::b(1), ByteSize::gib(64)),
        default_value = shown_size(FileLimits::default().total_bytes_max))]
    pub(crate) files_max: ByteSize,

    /// Maximum number of files that come with a task, and of those that its run leaves
    #[arg(long, env, value_name = "N", default_value_t = FileLimits::default().count_max,
        value_parser = count::<u32>(..=10_000, ""), allow_hyphen_values = true)]
    pub(crate) files_per_task: u32,

    /// Maximum number of children that one task may submit; 0 for none
    #[arg(long, env, value_name = "N", default_value_t = ChildBounds::default().children_max,
        value_parser = count::<u32>(..=10_000, ""), allow_hyphen_values = true)]
    pub(crate) children_max: u32,

    /// Maximum depth of children: 1 if children may submit none
    #[arg(long, env, value_name = "N", default_value_t = ChildBounds::default().depth_max,
        value_parser = count::<u32>(..=32, ""), allow_hyphen_values = true)]
    pub(crate) children_depth: u32,

    /// Memory limit for the logs of all running tasks; once it is reached, each keeps its newest 2 KiB
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::mib(1), ByteSize::gib(64)),
        default_value = shown_size(SqliteConfig::new("").log_bytes_max as u64))]
    pub(crate) log_total: ByteSize,

    /// Maximum running tasks of one plugin; a manifest may request fewer [default: the number of slots]
    #[arg(long, env, value_name = "N", value_parser = count::<u32>(1.., "or no task would run"),
        allow_hyphen_values = true)]
    pub(crate) concurrency: Option<u32>,

    /// PEM file with certificates that outgoing HTTPS trusts in addition to the public roots [default: none]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) http_roots: Option<PathBuf>,

    /// Memory limit for compiling one plugin
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::mib(256), ByteSize::tib(1)),
        default_value = shown_size(CompilerConfig::new("").memory_bytes))]
    pub(crate) compile_memory: ByteSize,

    /// Time limit for compiling one plugin, for wall-clock and CPU time alike
    #[arg(long, env, value_name = "TIME", value_parser = duration(Duration::from_secs(1)..),
        default_value = shown_duration(CompilerConfig::new("").wall))]
    pub(crate) compile_timeout: Duration,

    /// Size limit of the cache of compiled plugins
    #[arg(long, env, value_name = "SIZE", value_parser = parse_size, default_value = shown_size(CacheConfig::new("").bytes_max))]
    pub(crate) cache: ByteSize,

    /// Allow clients to add, replace and delete plugins over the REST API; BOOL is true, yes, on or 1, or the opposite
    #[arg(long, env, value_name = "BOOL", num_args = 0..=1, default_value = "false",
        default_missing_value = "true", action = ArgAction::Set, value_parser = parse_bool)]
    pub(crate) allow_upload: bool,

    /// Maximum size of a request body
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::b(2), ByteSize::mib(256)),
        default_value = "1MiB")]
    pub(crate) body_max: ByteSize,

    /// Address and port of the debug port, which shows what every task is doing, and CPU profiles. Addresses other
    /// than loopback are rejected unless --debug-remote is given [default: none]
    #[arg(long, env, value_name = "ADDRESS")]
    pub(crate) debug_listen: Option<Listen>,

    /// Allow the debug port to listen on addresses other than loopback; BOOL is true, yes, on or 1, or the opposite
    #[arg(long, env, value_name = "BOOL", num_args = 0..=1, default_value = "false",
        default_missing_value = "true", action = ArgAction::Set, value_parser = parse_bool)]
    pub(crate) debug_remote: bool,

    /// Who may use the API
    #[arg(long, env, value_name = "MODE", default_value = "auto")]
    pub(crate) auth: AuthMode,

    /// File with keys, in addition to those of `wasmill key create`; it may name secrets by file or variable. The
    /// variable WASMILL_ADMIN_KEY may hold one key with all rights [default: none]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) keys_file: Option<PathBuf>,

    /// File of the audit, which says who changed what; - for the log [default: audit.log in the data folder]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) audit_file: Option<PathBuf>,

    /// Refuse changes, submits aside, that the audit cannot write down before they begin; BOOL is true, yes, on or 1, or
    /// the opposite
    ///
    /// A change then has two lines: one without an outcome before it, and one with the outcome.
    #[arg(long, env, value_name = "BOOL", num_args = 0..=1, default_value = "false",
        default_missing_value = "true", action = ArgAction::Set, value_parser = parse_bool)]
    pub(crate) audit_required: bool,

    /// Write down, too, who reads inputs, results, logs, checkpoints and other contents of tasks; BOOL is true, yes, on or
    /// 1, or the opposite
    #[arg(long, env, value_name = "BOOL", num_args = 0..=1, default_value = "false",
        default_missing_value = "true", action = ArgAction::Set, value_parser = parse_bool)]
    pub(crate) audit_reads: bool,

    /// Host names of this server, separated by commas, such as tasks.example.org; requests for other names are
    /// rejected, except IP addresses, names without a dot and localhost [default: none]
    #[arg(long, env, value_name = "HOST", value_delimiter = ',')]
    pub(crate) public_host: Vec<HostName>,

    /// Origins whose web pages may use this server, separated by commas, such as https://dashboard.example.org
    /// [default: its own only]
    #[arg(long, env, value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<Origin>,

    /// Addresses or networks of authenticating proxies, separated by commas, such as 127.0.0.1; requests forwarded by
    /// other proxies are rejected [default: none]
    #[arg(long, env, value_name = "NETWORK", value_delimiter = ',')]
    pub(crate) trust_proxy: Vec<Network>,

    /// Header in which the proxies of `trust_proxy` name the user that they have signed in, such as X-Forwarded-User; the
    /// keys file says under `person` what the user may do [default: none, and such headers count for nothing]
    #[arg(long, env, value_name = "HEADER")]
    pub(crate) proxy_user_header: Option<IdentityHeader>,

    /// Header in which they name the groups of the user, separated by commas, such as X-Forwarded-Groups [default: none]
    #[arg(long, env, value_name = "HEADER")]
    pub(crate) proxy_groups_header: Option<IdentityHeader>,

    #[command(flatten)]
    pub(crate) openid: OpenIdSettings,

    /// Maximum open connections of one client address, or of one /64 of IPv6; further ones are closed at once. Loopback
    /// and addresses of `trust_proxy` are not limited
    #[arg(long, env, value_name = "N", default_value_t = ServerConfig::default().connections_per_address,
        value_parser = count::<usize>(1.., "or nobody could connect"), allow_hyphen_values = true)]
    pub(crate) connections_per_address: usize,

    /// OpenTelemetry collector to send traces to, by OTLP over HTTP, such as http://localhost:4318;
    /// OTEL_EXPORTER_OTLP_ENDPOINT and related variables also apply [default: none]
    #[arg(long, env, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,

    /// Maximum size of a body with many tasks, as for POST /task/batch
    #[arg(long, env, value_name = "SIZE", value_parser = size(ByteSize::b(2), ByteSize::mib(256)),
        default_value = "16MiB")]
    pub(crate) batch_body_max: ByteSize,

    /// File with the secrets that sign webhooks, one per line, each whsec_ and base64; the variable
    /// WASMILL_WEBHOOK_SECRET may hold them instead [default: webhooks are unsigned]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) webhook_secret_file: Option<PathBuf>,

    /// Webhook destinations allowed in addition to public addresses: host names, addresses and networks such as
    /// 10.0.0.0/8, separated by commas [default: none]
    #[arg(long, env, value_name = "HOST|NETWORK", value_delimiter = ',')]
    pub(crate) webhook_allow: Vec<AllowedDestination>,

    /// Maximum delivery attempts per webhook
    #[arg(long, env, value_name = "N", default_value = "8", allow_hyphen_values = true,
        value_parser = count::<u32>(1..=100, "or no webhook would be delivered"))]
    pub(crate) webhook_attempts: u32,

    /// Wait after the first failed delivery attempt of a webhook; each further wait is five times as long, up to 6h,
    /// plus up to half of it at random
    #[arg(long, env, value_name = "TIME", default_value = "5s", value_parser = duration(MS..=WEBHOOK_WAIT_MAX))]
    pub(crate) webhook_backoff: Duration,

    /// Timeout of one delivery attempt of a webhook
    #[arg(long, env, value_name = "TIME", default_value = "15s",
        value_parser = duration(MS..=WEBHOOK_TIMEOUT_MAX))]
    pub(crate) webhook_timeout: Duration,

    /// Prefix of tags that name the group of a task without one, such as "tenant:" [default: none]
    #[arg(long, env, value_name = "PREFIX")]
    pub(crate) group_tag: Option<String>,

    /// Name of this installation on every page of the dashboard, such as production [default: none]
    #[arg(long, env, value_name = "NAME", value_parser = parse_ui_name)]
    pub(crate) ui_name: Option<String>,

    /// Colour of that name
    #[arg(long, env, value_name = "COLOUR", default_value = "blue")]
    pub(crate) ui_colour: Colour,

    /// Address at which the dashboard links the trace of a task, such as https://jaeger.example.org/trace/{trace_id}
    /// [default: none]
    #[arg(long, env, value_name = "URL", value_parser = parse_trace_url)]
    pub(crate) trace_url: Option<String>,

    /// The secrets of plugins, from the table `[secrets]` of the file.
    #[arg(skip)]
    pub(crate) secrets: SecretSettings,

    /// What is logged: off, error, warn, info, debug, trace, or a filter by module, such as info,wasmill_store=debug
    #[arg(long, env, value_name = "FILTER", default_value = LOG, value_parser = parse_log_filter)]
    pub(crate) log: String,

    /// Format of the log on stderr
    #[arg(long, env, value_name = "FORMAT", default_value = "human")]
    pub(crate) log_format: LogFormat,
}

pub(crate) mod similar;
#[cfg(test)]
mod tests;
mod ui;
