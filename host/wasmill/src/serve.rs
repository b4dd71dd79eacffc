//! `wasmill serve`: puts the rooms together, and takes them apart in order when told to stop.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::Notify;
use tokio::time::timeout;
use wasmill_api::{
    Api, ApiConfig, ApiParts, Bodies, Debug, Door, Followers, LogEvents, LongChecks, Metrics, Outside,
    Secrets, Server, ServerConfig, Share, Uploads, WebhookConfig, Webhooks, debug_router, follow_manifests,
    listen, prepare, router,
};
use wasmill_model::{Clock, Limits, SystemClock, Timestamp, Tracer};
use wasmill_runtime::{
    CacheConfig, CompilerConfig, InputCheck, PluginState, PluginsConfig, ProtectedPath, Runtime,
    RuntimeConfig, Watch, affordable_slots, machine_memory_bytes,
};
use wasmill_scheduler::{Scheduler, SchedulerConfig, Schedules};
use wasmill_store::{Recovery, Store, StoreConfig};

use crate::cli::ServeArgs;
use crate::environment::WEBHOOK_SECRET;
use crate::exit;
use crate::input::without_bom;
use crate::io_stub;
use crate::output::tell;
use crate::process::{self, StopSignals};
use crate::settings::{Config, LogFormat, SLOTS};
use crate::supervisor::Supervisor;
use crate::telemetry;
use crate::traces::{self, Exporter};

/// The plugins that are part of the binary.
pub(crate) const BUILT_IN: [(&str, &[u8]); 1] = [("io-stub", include_bytes!(env!("WASMILL_IO_STUB")))];

/// Checks of their inputs, by their names.
pub(crate) const INPUT_CHECKS: [(&str, InputCheck); 1] = [("io-stub", io_stub::check)];

/// Starts this very program, also if another version lies in its place by now.
const OWN_BINARY: &str = "/proc/self/exe";

/// The memory of a machine that does not tell.
const MACHINE_BYTES: u64 = 4 << 30;

/// Variables that name files of certificates that the collector of traces is known by.
const CERTIFICATES: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "the file OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "the file OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"),
];

/// Files by which the system turns names into addresses.
const RESOLVER: [(&str, &str); 3] = [
    ("/etc/hosts", "the hosts of the resolver"),
    ("/etc/resolv.conf", "the settings of the resolver"),
    ("/etc/nsswitch.conf", "the sources of the resolver"),
];

/// Connections to the debug port, and how long requests there may hold up the end of the process.
const DEBUG_CONNECTIONS_MAX: usize = 16;
const DEBUG_STOP_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a server that has lost a part of itself may take to stop in order.
const LOST_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to send a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until a signal says stop.
pub(crate) fn serve(args: ServeArgs) -> Result<()> {
    let config = Config::load(args)?;
    let log_events = telemetry::start(&config.log, config.log_format).map_err(exit::of_settings)?;
    process::raise_open_files();
    let api = runtime::Builder::new_multi_thread()
        .thread_name("api")
        .enable_all()
        .build()
        .context("failed to start the threads of the API")?;
    let guests = runtime::Builder::new_multi_thread()
        .thread_name("guest")
        .on_thread_start(process::yield_to_api)
        .enable_all()
        .build()
        .context("failed to start the threads of guests")?;
    let served = api.block_on(run(config, guests.handle().clone(), log_events));
    guests.shutdown_timeout(Duration::from_secs(1));
    api.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn run(config: Config, guests: runtime::Handle, log_events: Arc<LogEvents>) -> Result<()> {
    let mut stop = StopSignals::listen()?;
    // All that can fail comes first and the scheduler last: a start that is refused has claimed nothing.
    let listener = listen(config.listen)
        .with_context(|| format!("failed to listen on {}; is it in use?", config.listen))?;
    let debug_listener = config.debug_listen.map(|address| {
        listen(address)
            .with_context(|| format!("failed to listen on {address} for the debug port; is it in use?"))
    });
    let debug_listener = debug_listener.transpose()?;
    let webhook_config = webhook_config(&config).map_err(exit::of_settings)?;
    let limits = config.limits();
    let slots = slots(&config, limits)?;
    let scheduler_config = SchedulerConfig {
        slots: slots as usize,
        log_bytes: usize::try_from(limits.log_bytes)?,
        ..SchedulerConfig::default()
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Before the tracer: what the last host left is told as having ended before this one began.
    let now = clock.now();
    let (tracer, exporter) =
        traces::prepare(config.otlp_endpoint.as_deref(), &clock).map_err(exit::of_settings)?;
    let (store, recovery) = open(&config, &tracer, now).await?;
    let plugins_changed = Arc::new(Notify::new());
    let plugins = plugins(&config, &plugins_changed);
    let memory_total_bytes = Some(memory_total(&config));
    let wasm = tokio::task::spawn_blocking(move || {
        Runtime::start(RuntimeConfig { slots, limits, memory_total_bytes }, &BUILT_IN, plugins)
    })
    .await??;
    let scheduler =
        Scheduler::new(scheduler_config, store.clone(), Arc::new(wasm.clone()), Arc::clone(&clock), guests);
    scheduler.load_paused().await?;
    let bodies = Bodies::new(wasm.host_bytes());
    let webhooks = Webhooks::new(webhook_config, store.clone(), Arc::clone(&clock));
    let api = Api::new(ApiParts {
        config: Arc::new(ApiConfig {
            body_bytes_max: usize::try_from(config.body_bytes)?,
            batch_bytes_max: usize::try_from(config.batch_bytes)?,
            bodies: bodies.clone(),
            body_timeout: BODY_TIMEOUT,
            timeout: config.timeout,
            timeout_max: config.timeout_max,
            drain: config.drain,
            group_tag: config.group_tag.clone(),
        }),
        store: store.clone(),
        scheduler: scheduler.clone(),
        schedules: Schedules::new(store.clone(), Arc::clone(&clock)),
        runtime: wasm.clone(),
        uploads: Uploads::new(config.allow_upload),
        long_checks: LongChecks::default(),
        followers: Followers::default(),
        webhooks: webhooks.clone(),
        metrics: Metrics::new(log_events, now),
        clock: Arc::clone(&clock),
        tracer,
    });
    let (server, serve) = Server::new(
        listener,
        router(api.clone()),
        config.door.clone(),
        bodies.clone(),
        ServerConfig::default(),
    )?;
    let debug = Debug { scheduler: scheduler.clone(), runtime: wasm.clone(), clock: Arc::clone(&clock) };
    let debug_server =
        debug_listener.map(|listener| debug_server(listener, debug, &config.door, bodies)).transpose()?;

    let mut supervisor = Supervisor::default();
    let exporter = exporter.map(|(exporter, send)| {
        supervisor.run("traces", send);
        exporter
    });
    let debug_server = debug_server.map(|(server, serve)| {
        supervisor.run("debug port", serve);
        server
    });
    supervisor.run("store writer", closed(store.clone()));
    supervisor.run("runtime threads", ended(wasm.thread_ended()));
    supervisor.run("retention", config.retention.keep(store.clone(), clock));
    supervisor.run("webhooks", webhooks.clone().run());
    supervisor.run("schedules", api.schedules.clone().keep(scheduler.clone(), prepare(&api)));
    supervisor.run("plugins", follow_plugins(api, plugins_changed));
    supervisor.run("server", serve);
    announce(&config, &server, &wasm, slots, recovery.waiting);
    supervisor.run("scheduler", scheduler.clone().run());

    let lost = tokio::select! {
        () = stop.next() => None,
        lost = supervisor.lost(|| scheduler.is_draining()) => Some(lost),
    };
    let parts = Parts { scheduler, server, debug_server, webhooks, store, exporter };
    let Some(lost) = lost else {
        tracing::info!(
            "stopping: no new tasks, running ones have {:?}; stop again to cut that short",
            config.drain
        );
        parts.stop(config.drain, &mut stop).await;
        return Ok(());
    };
    tracing::error!("stopping, since a part of the server is gone: {lost:#}");
    // As far as it goes: what is put back now does not count as lost by a crash.
    if timeout(LOST_STOP_TIMEOUT, parts.stop(Duration::ZERO, &mut stop)).await.is_err() {
        tracing::error!("not everything could be stopped in order");
    }
    Err(lost)
}

/// What is taken apart in order.
struct Parts {
    scheduler: Scheduler,
    server: Server,
    debug_server: Option<Server>,
    webhooks: Webhooks,
    store: Store,
    exporter: Option<Exporter>,
}

impl Parts {
    /// Lets running tasks go on for so long, or until the next signal, and ends everything.
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
        // Last, since all before it has spans; nobody has to wait for a collector.
        if let Some(exporter) = self.exporter {
            tokio::select! {
                () = exporter.close() => {}
                () = stop.next() => {}
            }
        }
        tracing::info!(ended = drained.ended, put_back = drained.put_back, "stopped");
    }
}

/// Opens the database, and says what the last host left undone.
async fn open(config: &Config, tracer: &Tracer, now: Timestamp) -> Result<(Store, Recovery)> {
    let store_config = StoreConfig {
        waiting_max: config.waiting_max,
        log_bytes_max: usize::try_from(config.log_total_bytes)?,
        tracer: tracer.clone(),
        ..StoreConfig::new(&config.data)
    };
    let (store, recovery) = tokio::task::spawn_blocking(move || Store::open(store_config, now)).await??;
    if recovery.requeued + recovery.failed + recovery.stopped > 0 {
        tracing::warn!(
            waiting_again = recovery.requeued,
            given_up = recovery.failed,
            stopped = recovery.stopped,
            "the last host died while tasks were running"
        );
    }
    if recovery.shortened > 0 {
        tracing::warn!(
            shortened = recovery.shortened,
            "the clock had been ahead: waits between attempts were shortened"
        );
    }
    Ok((store, recovery))
}

/// Ends when nothing is written any more.
async fn closed(store: Store) {
    store.closed().await;
}

/// Ends when a thread of the runtime has, and says which.
async fn ended(thread: impl Future<Output = &'static str>) {
    let name = thread.await;
    tracing::error!(name, "a thread of the runtime has ended");
}

/// Reads how webhooks are delivered.
fn webhook_config(config: &Config) -> Result<WebhookConfig> {
    let outside = Outside::new(config.http_roots.as_deref(), Share::Host)
        .map_err(|reason| anyhow!("failed to read the certificates of http_roots: {reason}"))?;
    Ok(WebhookConfig {
        secrets: webhook_secrets(config)?,
        allowed: config.webhook_allowed.clone(),
        tries_max: config.webhook_tries,
        backoff: config.webhook_backoff,
        timeout: config.webhook_timeout,
        outside,
    })
}

/// Reads the secrets that webhooks are signed with, from a file or else from the environment. They are no
/// flag: whoever lists the processes of a machine sees those.
pub(crate) fn webhook_secrets(config: &Config) -> Result<Secrets> {
    if let Some(path) = &config.webhook_secret_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| exit::unread(format!("webhook_secret_file {}", path.display()), &error))?;
        let secrets: Secrets =
            without_bom(&text).parse().with_context(|| format!("webhook_secret_file {}", path.display()))?;
        ensure!(!secrets.is_empty(), "webhook_secret_file {} is empty", path.display());
        return Ok(secrets);
    }
    let Some(text) = std::env::var_os(WEBHOOK_SECRET) else { return Ok(Secrets::default()) };
    if text.is_empty() {
        tracing::warn!("{WEBHOOK_SECRET} is empty, which counts as unset: webhooks are not signed");
        return Ok(Secrets::default());
    }
    let secrets: Secrets = text
        .to_str()
        .context("it is not UTF-8")
        .and_then(|text| Ok(text.parse()?))
        .context(WEBHOOK_SECRET)?;
    ensure!(!secrets.is_empty(), "{WEBHOOK_SECRET} holds no secret");
    Ok(secrets)
}

/// Makes the server of the debug port, behind the same door.
fn debug_server(
    listener: TcpListener,
    debug: Debug,
    door: &Door,
    bodies: Bodies,
) -> Result<(Server, impl Future<Output = ()> + Send + 'static)> {
    let config = ServerConfig {
        connections_max: DEBUG_CONNECTIONS_MAX,
        stop_timeout: DEBUG_STOP_TIMEOUT,
        ..ServerConfig::default()
    };
    let (server, serve) = Server::new(listener, debug_router(debug), door.clone(), bodies, config)?;
    tracing::info!(address = %server.address(), "debug port: what every task does is shown to whoever asks");
    Ok((server, serve))
}

fn plugins(config: &Config, changed: &Arc<Notify>) -> PluginsConfig {
    let changed = Arc::clone(changed);
    PluginsConfig {
        folder: Some(config.plugins.clone()),
        ceilings: Some(config.ceilings),
        watch: config.watch_poll.map_or(Watch::Told, Watch::Polled),
        http_roots: config.http_roots.clone(),
        protected: protected(config),
        compiler: Some(compiler(config)),
        cache: Some(CacheConfig { bytes_max: config.cache_bytes, ..CacheConfig::new(&config.data) }),
        input_checks: &INPUT_CHECKS,
        on_change: Arc::new(move || changed.notify_one()),
        ..PluginsConfig::default()
    }
}

/// Lists what no plugin may be granted: what this server reads, keeps secret, or runs.
fn protected(config: &Config) -> Vec<ProtectedPath> {
    let path = |path: &Path, what, is_secret| ProtectedPath { path: path.to_owned(), what, is_secret };
    let mut protected = vec![
        path(&config.data, "the data folder of this server", true),
        path(&config.file, "the settings file of this server", false),
    ];
    protected.extend(config.http_roots.iter().map(|file| path(file, "the file http_roots", false)));
    let secrets = config.webhook_secret_file.iter();
    protected.extend(secrets.map(|file| path(file, "the file webhook_secret_file", true)));
    protected.extend(certificates(&|name| std::env::var_os(name)));
    protected.extend(RESOLVER.iter().map(|(file, what)| path(Path::new(file), what, false)));
    let own = std::env::current_exe();
    protected.extend(own.iter().map(|file| path(file, "the program of this server", false)));
    protected
}

/// Lists the files of certificates that the environment names.
fn certificates(read: &dyn Fn(&str) -> Option<OsString>) -> Vec<ProtectedPath> {
    let path = |file: OsString, what| ProtectedPath { path: file.into(), what, is_secret: false };
    let set = |(name, what): &(&str, &'static str)| {
        read(name).filter(|file| !file.is_empty()).map(|file| path(file, *what))
    };
    CERTIFICATES.iter().filter_map(set).collect()
}

/// Says who compiles: this program itself, as a child with limits.
pub(crate) fn compiler(config: &Config) -> CompilerConfig {
    CompilerConfig {
        memory_bytes: config.compile_memory_bytes,
        cpu: config.compile_timeout,
        wall: config.compile_timeout,
        ..CompilerConfig::new(OWN_BINARY)
    }
}

/// Starts the tasks that waited for a plugin as soon as it is there, and keeps the schedules of manifests as
/// they are, now and whenever plugins change.
async fn follow_plugins(api: Api, plugins_changed: Arc<Notify>) {
    loop {
        follow_manifests(&api).await;
        plugins_changed.notified().await;
        api.scheduler.wake();
    }
}

/// Settles on the memory of all tasks together: what was asked for, or a part of what there is. The rest is
/// for the host itself: plugins, results on their way, the pages of the database.
pub(crate) fn memory_total(config: &Config) -> u64 {
    config.memory_total_bytes.unwrap_or_else(|| {
        let machine = machine_memory_bytes().unwrap_or(MACHINE_BYTES);
        (machine / 4 * 3).max(config.memory_bytes)
    })
}

/// Settles on the slots: those asked for, or the default, but no more than the host affords.
pub(crate) fn slots(config: &Config, limits: Limits) -> Result<u32> {
    let affordable = affordable_slots(limits);
    ensure!(affordable.slots > 0, "this host has no room for a single task: {}", affordable.reason);
    let wanted = config.slots.unwrap_or(SLOTS);
    if wanted > affordable.slots {
        tracing::warn!("{} slots instead of {wanted}: {}", affordable.slots, affordable.reason);
    }
    Ok(wanted.min(affordable.slots))
}

/// Says in one block what is being served, where, and from what.
fn announce(config: &Config, server: &Server, wasm: &Runtime, slots: u32, waiting: u64) {
    let plugins = wasm.plugins_info();
    let version = env!("CARGO_PKG_VERSION");
    let address = server.address();
    let data = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
    let folder = std::path::absolute(&config.plugins).unwrap_or_else(|_| config.plugins.clone());
    let ready: Vec<_> = plugins
        .iter()
        .filter(|plugin| plugin.in_service.is_some())
        .map(|plugin| plugin.name.clone())
        .collect();
    let rejected = plugins.iter().filter(|plugin| matches!(plugin.state, PluginState::Rejected(_))).count();
    let ready = ready.join(", ");
    if config.log_format == LogFormat::Json {
        let (data, folder) = (data.display(), folder.display());
        tracing::info!(version, %address, plugins = ready, rejected, %folder, slots, %data, waiting, "serving");
        return;
    }
    let rejected = match rejected {
        0 => String::new(),
        rejected => format!("; {rejected} rejected, see above"),
    };
    tell!(
        "\n  wasmill {version}\n\
         \x20 address   http://{address}\n\
         \x20 plugins   {ready}{rejected} (from {})\n\
         \x20 slots     {slots}\n\
         \x20 data      {} ({waiting} tasks waiting)\n",
        folder.display(),
        data.display(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_the_environment_names_are_protected_as_those_of_settings() {
        let set = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_CERTIFICATE" => Some("/work/ca.pem".into()),
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE" => Some(OsString::new()),
            _ => None,
        };
        let protected = certificates(&set);
        assert_eq!(protected.len(), 1, "{protected:?}");
        assert_eq!(protected[0].path, Path::new("/work/ca.pem"));
    }
}
