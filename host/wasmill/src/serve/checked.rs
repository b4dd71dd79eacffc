//! The first phase of a start: all that can fail, before anything that the next start would see is changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use wasmill_api::{ApiConfig, BodyBudget, BodyConfig, listen, webhook_payload};
use wasmill_egress::{ConnectionQuota, Connector};
use wasmill_model::{BoxFuture, Clock, Limits, SystemClock, Timestamp, Tracer};
use wasmill_runtime::{
    CacheConfig, CompilerConfig, LoaderConfig, Runtime, RuntimeConfig, WatchMode, machine_memory_bytes,
    slot_capacity,
};
use wasmill_scheduler::SchedulerConfig;
use wasmill_store_sqlite::{Database, SqliteConfig};
use wasmill_webhooks::{SigningSecrets, WebhookConfig};

use super::protected::protected_paths;
use crate::built_in::{BUILT_IN, INPUT_CHECKS};
use crate::environment::WEBHOOK_SECRET;
use crate::exit;
use crate::input::without_bom;
use crate::settings::Settings;
use crate::traces::{self, Exporter};

/// Starts the running binary itself, even if another version has replaced its file.
const OWN_BINARY: &str = "/proc/self/exe";

/// Assumed memory of a machine that does not report it.
const MACHINE_BYTES: u64 = 4 << 30;

/// Time limit for receiving a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a server is started from.
pub(super) struct Checked {
    pub(super) listener: TcpListener,
    pub(super) debug_listener: Option<TcpListener>,
    pub(super) webhook_config: WebhookConfig,
    pub(super) scheduler_config: SchedulerConfig,
    pub(super) api_config: ApiConfig,
    pub(super) slots: u32,
    pub(super) clock: Arc<dyn Clock>,
    /// When the start began.
    pub(super) now: Timestamp,
    pub(super) tracer: Tracer,
    pub(super) exporter: Option<(Exporter, BoxFuture<'static, ()>)>,
    pub(super) database: Database,
    /// The runtime, with all plugins loaded.
    pub(super) runtime: Runtime,
    pub(super) body_budget: BodyBudget,
    /// Notified when a plugin has changed.
    pub(super) plugins_changed: Arc<Notify>,
}

impl Checked {
    /// Checks settings and files, and opens ports, database and plugins.
    pub(super) async fn new(settings: &Settings) -> Result<Self> {
        let listener = listen(settings.listen)
            .with_context(|| format!("failed to listen on {}; is it in use?", settings.listen))?;
        let debug_listener = settings.debug_listen.map(listen_for_debugging).transpose()?;
        let webhook_config = webhook_config(settings).map_err(exit::settings_error)?;
        let slots = slots(settings, settings.limits())?;
        let scheduler_config = scheduler_config(settings, slots)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // Before the tracer is created, so tasks of the last host end before the first span of this one starts.
        let now = clock.now();
        let (tracer, exporter) =
            traces::prepare(settings.otlp_endpoint.as_deref(), &clock).map_err(exit::settings_error)?;
        let exporter = exporter.map(|(exporter, work)| (exporter, Box::pin(work) as BoxFuture<'static, ()>));
        // Before the plugins, which may take a minute to compile: another host may use this folder.
        let database = open_database(settings, &tracer).await?;
        let plugins_changed = Arc::new(Notify::new());
        let runtime = start_runtime(settings, slots, &plugins_changed).await?;
        let body_budget = BodyBudget::new(runtime.host_bytes());
        let api_config = api_config(settings, &body_budget)?;
        Ok(Self {
            listener,
            debug_listener,
            webhook_config,
            scheduler_config,
            api_config,
            slots,
            clock,
            now,
            tracer,
            exporter,
            database,
            runtime,
            body_budget,
            plugins_changed,
        })
    }
}

async fn open_database(settings: &Settings, tracer: &Tracer) -> Result<Database> {
    let store_config = SqliteConfig {
        waiting_max: settings.waiting_max,
        log_bytes_max: usize::try_from(settings.log_total.as_u64())?,
        tracer: tracer.clone(),
        ..SqliteConfig::new(&settings.data)
    };
    Ok(tokio::task::spawn_blocking(move || Database::open(store_config)).await??)
}

fn listen_for_debugging(address: SocketAddr) -> Result<TcpListener> {
    listen(address)
        .with_context(|| format!("failed to listen on {address} for the debug port; is it in use?"))
}

fn scheduler_config(settings: &Settings, slots: u32) -> Result<SchedulerConfig> {
    Ok(SchedulerConfig {
        slots: slots as usize,
        log_bytes: usize::try_from(settings.limits().log_bytes)?,
        ..SchedulerConfig::default()
    })
}

/// Starts the runtime and loads the plugins, on a thread that may block.
async fn start_runtime(settings: &Settings, slots: u32, plugins_changed: &Arc<Notify>) -> Result<Runtime> {
    let size =
        RuntimeConfig { slots, limits: settings.limits(), memory_total_bytes: Some(memory_total(settings)) };
    let plugins = plugins(settings, plugins_changed);
    Ok(tokio::task::spawn_blocking(move || Runtime::start(size, &BUILT_IN, plugins)).await??)
}

fn api_config(settings: &Settings, body_budget: &BodyBudget) -> Result<ApiConfig> {
    Ok(ApiConfig {
        body: BodyConfig {
            bytes_max: usize::try_from(settings.body_max.as_u64())?,
            batch_bytes_max: usize::try_from(settings.batch_body_max.as_u64())?,
            timeout: BODY_TIMEOUT,
            budget: body_budget.clone(),
        },
        timeout: settings.timeout,
        timeout_max: settings.timeout_max,
        drain: settings.drain,
        group_tag: settings.group_tag.clone().filter(|prefix| !prefix.is_empty()),
    })
}

/// Returns the webhook settings.
fn webhook_config(settings: &Settings) -> Result<WebhookConfig> {
    let connector = Connector::new(settings.http_roots.as_deref(), ConnectionQuota::Host)
        .map_err(|reason| anyhow!("failed to read the certificates of http_roots: {reason}"))?;
    Ok(WebhookConfig {
        secrets: webhook_secrets(settings)?,
        allowed: settings.webhook_allow.clone(),
        attempts_max: settings.webhook_attempts,
        backoff: settings.webhook_backoff(),
        timeout: settings.webhook_timeout,
        connector,
        payload: webhook_payload,
    })
}

/// Reads the secrets that sign webhooks, from a file or from the environment. They have no flag, because command lines
/// are visible in process lists.
pub(crate) fn webhook_secrets(settings: &Settings) -> Result<SigningSecrets> {
    if let Some(path) = &settings.webhook_secret_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| exit::read_error(format!("webhook_secret_file {}", path.display()), &error))?;
        let secrets: SigningSecrets =
            without_bom(&text).parse().with_context(|| format!("webhook_secret_file {}", path.display()))?;
        ensure!(!secrets.is_empty(), "webhook_secret_file {} is empty", path.display());
        return Ok(secrets);
    }
    let Some(text) = std::env::var_os(WEBHOOK_SECRET) else { return Ok(SigningSecrets::default()) };
    if text.is_empty() {
        tracing::warn!("{WEBHOOK_SECRET} is empty, which counts as unset: webhooks are not signed");
        return Ok(SigningSecrets::default());
    }
    let secrets: SigningSecrets = text
        .to_str()
        .context("it is not UTF-8")
        .and_then(|text| Ok(text.parse()?))
        .context(WEBHOOK_SECRET)?;
    ensure!(!secrets.is_empty(), "{WEBHOOK_SECRET} contains no secret");
    Ok(secrets)
}

fn plugins(settings: &Settings, changed: &Arc<Notify>) -> LoaderConfig {
    let changed = Arc::clone(changed);
    LoaderConfig {
        folder: Some(settings.plugins.clone()),
        max_limits: Some(settings.max_limits()),
        watch: settings.watch_poll.map_or(WatchMode::Notify, WatchMode::Poll),
        http_roots: settings.http_roots.clone(),
        protected: protected_paths(settings),
        compiler: Some(compiler(settings)),
        cache: Some(CacheConfig { bytes_max: settings.cache.as_u64(), ..CacheConfig::new(&settings.data) }),
        input_checks: &INPUT_CHECKS,
        on_change: Arc::new(move || changed.notify_one()),
        ..LoaderConfig::default()
    }
}

/// Returns the compiler settings: this binary runs as a child process with limits.
pub(crate) fn compiler(settings: &Settings) -> CompilerConfig {
    CompilerConfig {
        memory_bytes: settings.compile_memory.as_u64(),
        cpu: settings.compile_timeout,
        wall: settings.compile_timeout,
        ..CompilerConfig::new(OWN_BINARY)
    }
}

/// Returns the memory budget of all tasks: the setting, or a share of the machine's memory. The rest is for the host
/// itself: plugins, results in transit, database pages.
pub(crate) fn memory_total(settings: &Settings) -> u64 {
    if let Some(total) = settings.memory_total {
        return total.as_u64();
    }
    let machine = machine_memory_bytes().unwrap_or(MACHINE_BYTES);
    (machine / 4 * 3).max(settings.memory.as_u64())
}

/// Returns the number of slots: the setting or the default, but no more than the host affords.
pub(crate) fn slots(settings: &Settings, limits: Limits) -> Result<u32> {
    let affordable = slot_capacity(limits);
    ensure!(affordable.slots > 0, "this host cannot fit a single task: {}", affordable.reason);
    let wanted = settings.slots_wanted();
    if wanted > affordable.slots {
        tracing::warn!("{} slots instead of {wanted}: {}", affordable.slots, affordable.reason);
    }
    Ok(wanted.min(affordable.slots))
}
