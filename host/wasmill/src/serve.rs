//! `wasmill serve`: starts all components, and stops them in order on a signal.

pub(crate) mod access;
mod banner;
pub(crate) mod capacity;
mod checked;
pub(crate) mod loader_config;
mod openid;
pub(crate) mod protected;
mod sessions;
mod supervisor;
pub(crate) mod webhook_config;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime;
use tokio::sync::Notify;
use tokio::time::timeout;
use wasmill_access::{Audit, AuditTarget, audit_keys};
use wasmill_api::{
    Api, ApiParts, BodyBudget, Check, CheckPool, DebugState, Doctor, History, Listener, LogEvents, Metrics,
    PluginSharing, Server, ServerConfig, StreamLimit, Tls, UploadLimits, child_factory, debug_router,
    inbox_factory, router, sample_history, sync_manifest_schedules, task_factory,
};
use wasmill_model::{BoxFuture, Clock, Timestamp};
use wasmill_runtime::Runtime;
use wasmill_scheduler::{Retention, Scheduler, Schedules, run_inbox};
use wasmill_store::{Recovery, Store};
use wasmill_traces::Exporter;
use wasmill_webhooks::Webhooks;

use self::access::limit_running;
use self::banner::print_banner;
use self::checked::Checked;
use self::sessions::SharedSessions;
use self::supervisor::Supervisor;
use crate::database::Database;
use crate::process::{self, StopSignals};
use crate::settings::{Given, Settings};
use crate::{exit, telemetry};

/// Maximum connections to the debug port, and how long its requests may delay the shutdown.
const DEBUG_CONNECTIONS_MAX: usize = 16;
const DEBUG_STOP_TIMEOUT: Duration = Duration::from_millis(100);

/// Shutdown timeout after a background task has failed.
const LOST_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The checks of the server that runs with these settings, and whether to check deeply.
pub(crate) type CheckRunning = fn(&Settings, bool) -> Vec<Check>;

/// Serves until a stop signal arrives.
pub(crate) fn serve(given: Given, check: CheckRunning) -> Result<()> {
    let settings = Settings::load(given)?;
    let log_events = telemetry::start(&settings.log, settings.log_format).map_err(exit::settings_error)?;
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
    let served = api.block_on(run(settings, check, guests.handle().clone(), log_events));
    guests.shutdown_timeout(Duration::from_secs(1));
    api.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn run(
    settings: Settings,
    check: CheckRunning,
    guests: runtime::Handle,
    log_events: Arc<LogEvents>,
) -> Result<()> {
    let settings = Arc::new(settings);
    let mut stop = StopSignals::listen()?;
    let checked = Checked::new(&settings).await?;
    let Checked { clock, now, tracer, plugins_changed, body_budget, slots, .. } = checked;
    reload_on_hang_up(&mut stop, checked.tls.clone());
    let (store, recovery) = start_store(checked.database, now).await?;
    let audit = start_audit(&settings)?;
    let mut sessions = SharedSessions::new(store.clone(), checked.access.clone(), settings.data.clone());
    // Before anything is served, so that a browser that has signed in at another host is not refused for a moment.
    sessions.look().await;
    let wasm = checked.runtime;
    let runner = Arc::new(wasm.clone());
    let scheduler =
        Scheduler::new(checked.scheduler_config, store.clone(), runner, Arc::clone(&clock), guests);
    scheduler.load_paused().await?;
    let webhooks = Webhooks::new(checked.webhook_config, store.clone(), Arc::clone(&clock));
    let api = Api::new(ApiParts {
        config: Arc::new(checked.api_config),
        access: checked.access.clone(),
        audit: audit.clone(),
        identity_provider: checked.identity_provider,
        tls: checked.tls.clone(),
        store: store.clone(),
        scheduler: scheduler.clone(),
        schedules: Schedules::new(store.clone(), Arc::clone(&clock)),
        runtime: wasm.clone(),
        sharing: share_plugins(&settings, &store, &wasm, &clock, &plugins_changed).await,
        upload_limits: UploadLimits::new(settings.allow_upload),
        check_pool: CheckPool::default(),
        stream_limit: StreamLimit::default(),
        webhooks: webhooks.clone(),
        metrics: Metrics::new(log_events, now),
        doctor: doctor(&settings, check),
        history: History::new(now),
        clock: Arc::clone(&clock),
        tracer,
    });
    scheduler.accept_children(child_factory(&api));
    let (server, serve) = api_server(checked.listener, &api, &settings, body_budget.clone());
    let debug =
        DebugState { access: api.access.clone(), scheduler: scheduler.clone(), runtime: wasm.clone(), clock };
    let debug_server =
        checked.debug_listener.map(|listener| debug_server(listener, debug, &settings, body_budget));

    let mut supervisor = Supervisor::default();
    let exporter = supervisor.run_optional("traces", checked.exporter);
    let debug_server = supervisor.run_optional("debug port", debug_server);
    if let Some(follow) = checked.follow_keys {
        run_followers_of_keys(&mut supervisor, follow, &api);
    }
    if let Some(tls) = checked.tls {
        supervisor.run("certificate", tls.follow(Arc::clone(&api.clock)));
    }
    supervisor.run("shared sessions", Box::pin(sessions.run()));
    run_background_tasks(&mut supervisor, api, settings.retention(), plugins_changed);
    supervisor.run("server", serve);
    print_banner(&settings, &server, &checked.access, &wasm, slots, recovery.waiting);
    // Last: a failed start has claimed no task.
    supervisor.run("scheduler", scheduler.clone().run());

    let parts = ServerParts { scheduler, server, debug_server, webhooks, store, audit, exporter };
    parts.run_until_stopped(supervisor, &mut stop, settings.drain).await
}

/// Returns the doctor of these settings.
fn doctor(settings: &Arc<Settings>, check: CheckRunning) -> Doctor {
    let settings = Arc::clone(settings);
    Doctor::new(move |is_deep| check(&settings, is_deep))
}

/// Starts the audit, once the data folder is there and nobody else's.
fn start_audit(settings: &Settings) -> Result<Audit> {
    let target = settings.audit_target();
    let shown = match &target {
        AuditTarget::File(path) => path.display().to_string(),
        AuditTarget::Log => "the log".to_owned(),
    };
    Audit::start(target)
        .with_context(|| format!("failed to write the audit to {shown}; --audit-file names another file"))
}

/// Starts to share plugins with other hosts. Before anything runs: what they have published comes before older files of
/// this host.
async fn share_plugins(
    settings: &Settings,
    store: &Store,
    runtime: &Runtime,
    clock: &Arc<dyn Clock>,
    changed: &Arc<Notify>,
) -> Arc<PluginSharing> {
    let (copies, changed) = (settings.data.join("plugins"), Arc::clone(changed));
    let sharing = PluginSharing::new(store.clone(), runtime.clone(), Arc::clone(clock), copies, changed);
    if let Err(error) = sharing.look(None).await {
        tracing::warn!(%error, "failed to fetch the plugins of the other hosts; trying again");
    }
    Arc::new(sharing)
}

/// Makes SIGHUP read what is read while the server runs. Keys are, twice a second, without it.
fn reload_on_hang_up(stop: &mut StopSignals, tls: Option<Tls>) {
    stop.reload_on_hang_up(move || {
        tracing::info!("SIGHUP: looking at the files of certificate and keys");
        if let Some(tls) = &tls {
            tls.look();
        }
    });
}

/// Starts the store, and logs what the last host left unfinished.
async fn start_store(database: Database, now: Timestamp) -> Result<(Store, Recovery)> {
    let (store, recovery) = database.start(now).await?;
    if recovery.requeued + recovery.failed + recovery.stopped > 0 {
        tracing::warn!(
            requeued = recovery.requeued,
            failed = recovery.failed,
            stopped = recovery.stopped,
            "a host crashed while tasks were running"
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

/// Follows the files of keys, and tells the audit of keys that come and go.
fn run_followers_of_keys(supervisor: &mut Supervisor, follow: BoxFuture<'static, ()>, api: &Api) {
    supervisor.run("keys", follow);
    let audited = audit_keys(api.access.clone(), api.audit.clone(), Arc::clone(&api.clock));
    supervisor.run("audit of keys", Box::pin(audited));
    let limits = limit_running(&api.access, &api.store, &api.scheduler);
    supervisor.run("limits of keys", Box::pin(limits));
}

/// Runs what works beside the requests and the tasks until the server stops.
fn run_background_tasks(
    supervisor: &mut Supervisor,
    api: Api,
    retention: Retention,
    plugins_changed: Arc<Notify>,
) {
    supervisor.run("store writer", Box::pin(wait_store_closed(api.store.clone())));
    supervisor.run("runtime threads", Box::pin(wait_thread_ended(api.runtime.thread_ended())));
    supervisor.run("retention", retention.run(api.store.clone(), Arc::clone(&api.clock)));
    supervisor.run("webhooks", api.webhooks.clone().run());
    supervisor.run("schedules", api.schedules.clone().run(api.scheduler.clone(), task_factory(&api)));
    let (store, clock, scheduler) = (api.store.clone(), Arc::clone(&api.clock), api.scheduler.clone());
    supervisor.run("inbox", run_inbox(store, clock, scheduler, inbox_factory(&api)));
    supervisor.run("history", sample_history(api.clone()));
    supervisor.run("shared plugins", Arc::clone(&api.sharing).run());
    supervisor.run("plugins", Box::pin(follow_plugins(api, plugins_changed)));
}

/// The components to stop, in order.
struct ServerParts {
    scheduler: Scheduler,
    server: Server,
    debug_server: Option<Server>,
    webhooks: Webhooks,
    store: Store,
    audit: Audit,
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
        self.audit.flush().await;
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

/// Returns when the store has closed.
async fn wait_store_closed(store: Store) {
    store.closed().await;
}

/// Logs and returns when a runtime thread has ended.
async fn wait_thread_ended(thread: impl Future<Output = &'static str>) {
    let name = thread.await;
    tracing::error!(name, "a runtime thread ended");
}

/// Creates the server of the API.
fn api_server(
    listener: Listener,
    api: &Api,
    settings: &Settings,
    body_budget: BodyBudget,
) -> (Server, BoxFuture<'static, ()>) {
    let config =
        ServerConfig { connections_per_address: settings.connections_per_address, ..ServerConfig::default() };
    let (router, access) = (router(api.clone()), api.access.clone());
    Server::new(listener, router, settings.access_policy(), access, body_budget, config)
}

/// Creates the debug server, with the same access policy.
fn debug_server(
    listener: Listener,
    debug: DebugState,
    settings: &Settings,
    body_budget: BodyBudget,
) -> (Server, BoxFuture<'static, ()>) {
    let config = ServerConfig {
        connections_max: DEBUG_CONNECTIONS_MAX,
        stop_timeout: DEBUG_STOP_TIMEOUT,
        ..ServerConfig::default()
    };
    let access = debug.access.clone();
    let keys = if access.is_open() { "has no authentication" } else { "asks for a key" };
    let (server, serve) =
        Server::new(listener, debug_router(debug), settings.access_policy(), access, body_budget, config);
    tracing::info!(address = %server.listen(), "debug port is open and {keys}");
    (server, serve)
}

/// Wakes tasks that wait for a plugin when plugins change, and syncs the schedules of manifests, now, on each change, and
/// when this host takes over the duties.
async fn follow_plugins(api: Api, plugins_changed: Arc<Notify>) {
    loop {
        sync_manifest_schedules(&api).await;
        tokio::select! {
            () = plugins_changed.notified() => {}
            () = api.store.wait_for_duty() => {}
        }
        api.scheduler.wake();
    }
}
