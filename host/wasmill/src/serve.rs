//! `wasmill serve`: starts all components, and stops them in order on a signal.

mod banner;
mod protected;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::Notify;
use tokio::time::timeout;
use wasmill_api::{
    AccessPolicy, Api, ApiConfig, ApiParts, BodyBudget, BodyConfig, CheckPool, DebugState, LogEvents,
    Metrics, Server, ServerConfig, StreamLimit, UploadLimits, debug_router, listen, router,
    sync_manifest_schedules, task_factory, webhook_payload,
};
use wasmill_egress::{ConnectionQuota, Connector};
use wasmill_model::{Clock, Limits, SystemClock, Timestamp, Tracer};
use wasmill_runtime::{
    CacheConfig, CompilerConfig, LoaderConfig, Runtime, RuntimeConfig, WatchMode, machine_memory_bytes,
    slot_capacity,
};
use wasmill_scheduler::{Retention, Scheduler, SchedulerConfig, Schedules};
use wasmill_store::{Recovery, Store};
use wasmill_store_sqlite::SqliteConfig;
use wasmill_webhooks::{SigningSecrets, WebhookConfig, Webhooks};

use self::banner::print_banner;
use self::protected::protected_paths;
use crate::built_in::{BUILT_IN, INPUT_CHECKS};
use crate::cli::ServeArgs;
use crate::config::{Config, SLOTS_DEFAULT};
use crate::environment::WEBHOOK_SECRET;
use crate::exit;
use crate::input::without_bom;
use crate::process::{self, StopSignals};
use crate::supervisor::Supervisor;
use crate::telemetry;
use crate::traces::{self, Exporter};

/// Starts the running binary itself, even if another version has replaced its file.
const OWN_BINARY: &str = "/proc/self/exe";

/// Assumed memory of a machine that does not report it.
const MACHINE_BYTES: u64 = 4 << 30;

/// Maximum connections to the debug port, and how long its requests may delay the shutdown.
const DEBUG_CONNECTIONS_MAX: usize = 16;
const DEBUG_STOP_TIMEOUT: Duration = Duration::from_millis(100);

/// Shutdown timeout after a background task has failed.
const LOST_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for receiving a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until a stop signal arrives.
pub(crate) fn serve(args: ServeArgs) -> Result<()> {
    let config = Config::load(args)?;
    let log_events = telemetry::start(&config.log, config.log_format).map_err(exit::settings_error)?;
    process::raise_open_files();
    let api = runtime::Builder::new_multi_thread()
        .thread_name("api")
        .enable_all()
        .build()
        .context("failed to start the API threads")?;
    let guests = runtime::Builder::new_multi_thread()
        .thread_name("guest")
        .on_thread_start(process::yield_to_api)
        .enable_all()
        .build()
        .context("failed to start the guest threads")?;
    let served = api.block_on(run(config, guests.handle().clone(), log_events));
    guests.shutdown_timeout(Duration::from_secs(1));
    api.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn run(config: Config, guests: runtime::Handle, log_events: Arc<LogEvents>) -> Result<()> {
    let mut stop = StopSignals::listen()?;
    // Everything fallible comes first and the scheduler last: a failed start has claimed no task.
    let listener = listen(config.listen)
        .with_context(|| format!("failed to listen on {}; is it in use?", config.listen))?;
    let debug_listener = config.debug_listen.map(listen_for_debugging).transpose()?;
    let webhook_config = webhook_config(&config).map_err(exit::settings_error)?;
    let slots = slots(&config, config.limits())?;
    let scheduler_config = scheduler_config(&config, slots)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Before the tracer is created, so tasks of the last host end before the first span of this one starts.
    let now = clock.now();
    let (tracer, exporter) =
        traces::prepare(config.otlp_endpoint.as_deref(), &clock).map_err(exit::settings_error)?;
    let (store, recovery) = open(&config, &tracer, now).await?;
    let plugins_changed = Arc::new(Notify::new());
    let wasm = start_runtime(&config, slots, &plugins_changed).await?;
    let scheduler =
        Scheduler::new(scheduler_config, store.clone(), Arc::new(wasm.clone()), Arc::clone(&clock), guests);
    scheduler.load_paused().await?;
    let body_budget = BodyBudget::new(wasm.host_bytes());
    let webhooks = Webhooks::new(webhook_config, store.clone(), Arc::clone(&clock));
    let api = Api::new(ApiParts {
        config: Arc::new(api_config(&config, &body_budget)?),
        store: store.clone(),
        scheduler: scheduler.clone(),
        schedules: Schedules::new(store.clone(), Arc::clone(&clock)),
        runtime: wasm.clone(),
        upload_limits: UploadLimits::new(config.allow_upload),
        check_pool: CheckPool::default(),
        stream_limit: StreamLimit::default(),
        webhooks: webhooks.clone(),
        metrics: Metrics::new(log_events, now),
        clock: Arc::clone(&clock),
        tracer,
    });
    let (server, serve) = api_server(listener, &api, &config.access_policy, body_budget.clone())?;
    let debug = DebugState { scheduler: scheduler.clone(), runtime: wasm.clone(), clock };
    let debug_server = debug_listener
        .map(|listener| debug_server(listener, debug, &config.access_policy, body_budget))
        .transpose()?;

    let mut supervisor = Supervisor::default();
    let exporter = supervisor.run_optional("traces", exporter);
    let debug_server = supervisor.run_optional("debug port", debug_server);
    run_background_tasks(&mut supervisor, api, config.retention, plugins_changed);
    supervisor.run("server", serve);
    print_banner(&config, &server, &wasm, slots, recovery.waiting);
    supervisor.run("scheduler", scheduler.clone().run());

    let parts = ServerParts { scheduler, server, debug_server, webhooks, store, exporter };
    parts.run_until_stopped(supervisor, &mut stop, config.drain).await
}

fn listen_for_debugging(address: SocketAddr) -> Result<TcpListener> {
    listen(address)
        .with_context(|| format!("failed to listen on {address} for the debug port; is it in use?"))
}

fn scheduler_config(config: &Config, slots: u32) -> Result<SchedulerConfig> {
    Ok(SchedulerConfig {
        slots: slots as usize,
        log_bytes: usize::try_from(config.limits().log_bytes)?,
        ..SchedulerConfig::default()
    })
}

/// Starts the runtime and loads the plugins, on a thread that may block.
async fn start_runtime(config: &Config, slots: u32, plugins_changed: &Arc<Notify>) -> Result<Runtime> {
    let size =
        RuntimeConfig { slots, limits: config.limits(), memory_total_bytes: Some(memory_total(config)) };
    let plugins = plugins(config, plugins_changed);
    Ok(tokio::task::spawn_blocking(move || Runtime::start(size, &BUILT_IN, plugins)).await??)
}

fn api_config(config: &Config, body_budget: &BodyBudget) -> Result<ApiConfig> {
    Ok(ApiConfig {
        body: BodyConfig {
            bytes_max: usize::try_from(config.body_bytes)?,
            batch_bytes_max: usize::try_from(config.batch_bytes)?,
            timeout: BODY_TIMEOUT,
            budget: body_budget.clone(),
        },
        timeout: config.timeout,
        timeout_max: config.timeout_max,
        drain: config.drain,
        group_tag: config.group_tag.clone(),
    })
}

/// Runs what works beside the requests and the tasks until the server stops.
fn run_background_tasks(
    supervisor: &mut Supervisor,
    api: Api,
    retention: Retention,
    plugins_changed: Arc<Notify>,
) {
    supervisor.run("store writer", wait_store_closed(api.store.clone()));
    supervisor.run("runtime threads", wait_thread_ended(api.runtime.thread_ended()));
    supervisor.run("retention", retention.run(api.store.clone(), Arc::clone(&api.clock)));
    supervisor.run("webhooks", api.webhooks.clone().run());
    supervisor.run("schedules", api.schedules.clone().run(api.scheduler.clone(), task_factory(&api)));
    supervisor.run("plugins", follow_plugins(api, plugins_changed));
}

/// The components to stop, in order.
struct ServerParts {
    scheduler: Scheduler,
    server: Server,
    debug_server: Option<Server>,
    webhooks: Webhooks,
    store: Store,
    exporter: Option<Exporter>,
}

impl ServerParts {
    /// Serves until a stop signal arrives or a background task fails, then stops everything.
    ///
    /// # Errors
    ///
    /// Returns the failure of the background task.
    async fn run_until_stopped(
        self,
        mut supervisor: Supervisor,
        stop: &mut StopSignals,
        drain: Duration,
    ) -> Result<()> {
        let failure = tokio::select! {
            () = stop.next() => None,
            failure = supervisor.wait_for_failure(|| self.scheduler.is_draining()) => Some(failure),
        };
        let Some(failure) = failure else {
            tracing::info!("stopping: running tasks have {drain:?} to finish; signal again to stop at once");
            self.stop(drain, stop).await;
            return Ok(());
        };
        tracing::error!("stopping: {failure:#}");
        // Best effort: a task requeued now does not count as a host crash.
        if timeout(LOST_STOP_TIMEOUT, self.stop(Duration::ZERO, stop)).await.is_err() {
            tracing::error!("shutdown timed out");
        }
        Err(failure)
    }

    /// Drains for the grace period or until the next signal, then stops everything.
    async fn stop(self, grace: Duration, stop: &mut StopSignals) {
        let drained = self
            .scheduler
            .drain(async {
                tokio::select! {
                    () = tokio::time::sleep(grace) => {}
                    () = stop.next() => {}
                }
            })
            .await;
        self.server.stop().await;
        if let Some(debug_server) = self.debug_server {
            debug_server.stop().await;
        }
        self.webhooks.stop().await;
        self.store.close().await;
        // Last, since everything before records spans. A signal ends the wait for the collector.
        if let Some(exporter) = self.exporter {
            tokio::select! {
                () = exporter.close() => {}
                () = stop.next() => {}
            }
        }
        tracing::info!(ended = drained.ended, requeued = drained.requeued, "stopped");
    }
}

/// Opens the database and logs what the last host left unfinished.
async fn open(config: &Config, tracer: &Tracer, now: Timestamp) -> Result<(Store, Recovery)> {
    let store_config = SqliteConfig {
        waiting_max: config.waiting_max,
        log_bytes_max: usize::try_from(config.log_total_bytes)?,
        tracer: tracer.clone(),
        ..SqliteConfig::new(&config.data)
    };
    let (store, recovery) =
        tokio::task::spawn_blocking(move || wasmill_store_sqlite::open(store_config, now)).await??;
    if recovery.requeued + recovery.failed + recovery.stopped > 0 {
        tracing::warn!(
            requeued = recovery.requeued,
            failed = recovery.failed,
            stopped = recovery.stopped,
            "the last host crashed while tasks were running"
        );
    }
    if recovery.shortened > 0 {
        tracing::warn!(
            shortened = recovery.shortened,
            "the clock had been ahead; shortened the waits before retries"
        );
    }
    Ok((store, recovery))
}

/// Returns when the store has closed.
async fn wait_store_closed(store: Store) {
    store.closed().await;
}

/// Logs and returns when a runtime thread has ended.
async fn wait_thread_ended(thread: impl Future<Output = &'static str>) {
    let name = thread.await;
    tracing::error!(name, "a runtime thread ended");
}

/// Returns the webhook settings.
fn webhook_config(config: &Config) -> Result<WebhookConfig> {
    let connector = Connector::new(config.http_roots.as_deref(), ConnectionQuota::Host)
        .map_err(|reason| anyhow!("failed to read the certificates of http_roots: {reason}"))?;
    Ok(WebhookConfig {
        secrets: webhook_secrets(config)?,
        allowed: config.webhook_allowed.clone(),
        attempts_max: config.webhook_attempts,
        backoff: config.webhook_backoff,
        timeout: config.webhook_timeout,
        connector,
        payload: webhook_payload,
    })
}

/// Reads the secrets that sign webhooks, from a file or from the environment. They have no flag, because command lines
/// are visible in process lists.
pub(crate) fn webhook_secrets(config: &Config) -> Result<SigningSecrets> {
    if let Some(path) = &config.webhook_secret_file {
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

/// Creates the server of the API.
fn api_server(
    listener: TcpListener,
    api: &Api,
    access_policy: &AccessPolicy,
    body_budget: BodyBudget,
) -> Result<(Server, impl Future<Output = ()> + Send + 'static)> {
    Ok(Server::new(
        listener,
        router(api.clone()),
        access_policy.clone(),
        body_budget,
        ServerConfig::default(),
    )?)
}

/// Creates the debug server, with the same access policy.
fn debug_server(
    listener: TcpListener,
    debug: DebugState,
    access_policy: &AccessPolicy,
    body_budget: BodyBudget,
) -> Result<(Server, impl Future<Output = ()> + Send + 'static)> {
    let config = ServerConfig {
        connections_max: DEBUG_CONNECTIONS_MAX,
        stop_timeout: DEBUG_STOP_TIMEOUT,
        ..ServerConfig::default()
    };
    let (server, serve) =
        Server::new(listener, debug_router(debug), access_policy.clone(), body_budget, config)?;
    tracing::info!(address = %server.address(), "debug port is open and has no authentication");
    Ok((server, serve))
}

fn plugins(config: &Config, changed: &Arc<Notify>) -> LoaderConfig {
    let changed = Arc::clone(changed);
    LoaderConfig {
        folder: Some(config.plugins.clone()),
        max_limits: Some(config.max_limits),
        watch: config.watch_poll.map_or(WatchMode::Notify, WatchMode::Poll),
        http_roots: config.http_roots.clone(),
        protected: protected_paths(config),
        compiler: Some(compiler(config)),
        cache: Some(CacheConfig { bytes_max: config.cache_bytes, ..CacheConfig::new(&config.data) }),
        input_checks: &INPUT_CHECKS,
        on_change: Arc::new(move || changed.notify_one()),
        ..LoaderConfig::default()
    }
}

/// Returns the compiler settings: this binary runs as a child process with limits.
pub(crate) fn compiler(config: &Config) -> CompilerConfig {
    CompilerConfig {
        memory_bytes: config.compile_memory_bytes,
        cpu: config.compile_timeout,
        wall: config.compile_timeout,
        ..CompilerConfig::new(OWN_BINARY)
    }
}

/// Wakes tasks that wait for a plugin when plugins change, and syncs the schedules of manifests, now and on each
/// change.
async fn follow_plugins(api: Api, plugins_changed: Arc<Notify>) {
    loop {
        sync_manifest_schedules(&api).await;
        plugins_changed.notified().await;
        api.scheduler.wake();
    }
}

/// Returns the memory budget of all tasks: the setting, or a share of the machine's memory. The rest is for the host
/// itself: plugins, results in transit, database pages.
pub(crate) fn memory_total(config: &Config) -> u64 {
    config.memory_total_bytes.unwrap_or_else(|| {
        let machine = machine_memory_bytes().unwrap_or(MACHINE_BYTES);
        (machine / 4 * 3).max(config.memory_bytes)
    })
}

/// Returns the number of slots: the setting or the default, but no more than the host affords.
pub(crate) fn slots(config: &Config, limits: Limits) -> Result<u32> {
    let affordable = slot_capacity(limits);
    ensure!(affordable.slots > 0, "this host cannot fit a single task: {}", affordable.reason);
    let wanted = config.slots.unwrap_or(SLOTS_DEFAULT);
    if wanted > affordable.slots {
        tracing::warn!("{} slots instead of {wanted}: {}", affordable.slots, affordable.reason);
    }
    Ok(wanted.min(affordable.slots))
}
