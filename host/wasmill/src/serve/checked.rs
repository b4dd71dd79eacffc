//! The first phase of a start: all that can fail, before anything that the next start would see is changed.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::sync::Notify;
use wasmill_access::Access;
use wasmill_api::{
    ApiConfig, AuditConfig, BodyBudget, BodyConfig, DashboardConfig, IdentityProvider, Listen, Listener, Tls,
};
use wasmill_model::{BoxFuture, ChildBounds, Clock, SystemClock, Timestamp, Tracer};
use wasmill_runtime::{LoaderConfig, Runtime};
use wasmill_scheduler::SchedulerConfig;
use wasmill_traces::Export;
use wasmill_webhooks::WebhookConfig;

use super::access::prepare_access;
use super::capacity::{runtime_config, slots};
use super::loader_config::loader_config;
use super::openid::identity_provider;
use super::webhook_config::webhook_config;
use crate::built_in::BUILT_IN;
use crate::database::Database;
use crate::settings::Settings;
use crate::{exit, process, telemetry};

/// Time limit for receiving a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a server is started from.
pub(super) struct Checked {
    pub(super) access: Access,
    /// Follows the files of keys.
    pub(super) follow_keys: Option<BoxFuture<'static, ()>>,
    /// Who signs people in elsewhere, if anybody does.
    pub(super) identity_provider: Option<Arc<dyn IdentityProvider>>,
    /// The certificate, if there is one.
    pub(super) tls: Option<Tls>,
    pub(super) listener: Listener,
    pub(super) debug_listener: Option<Listener>,
    pub(super) webhook_config: WebhookConfig,
    pub(super) scheduler_config: SchedulerConfig,
    pub(super) api_config: ApiConfig,
    pub(super) slots: u32,
    pub(super) clock: Arc<dyn Clock>,
    /// When the start began.
    pub(super) now: Timestamp,
    pub(super) tracer: Tracer,
    pub(super) exporter: Option<Export>,
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
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // Before the port is open.
        let (access, follow_keys) = prepare_access(settings, &clock).map_err(exit::settings_error)?;
        let identity_provider = identity_provider(settings, &access, &clock).map_err(exit::settings_error)?;
        // Who debugs the server attaches to it.
        if !access.is_open() && settings.debug_listen.is_none() {
            process::close_memory();
        }
        let tls = settings.tls_files().map(Tls::new).transpose();
        let tls = tls.map_err(|error| exit::settings_error(error.into()))?;
        let listener = listen_on(&settings.listen, "--listen", tls.as_ref()).await?;
        let debug_listener = match &settings.debug_listen {
            Some(listen) => Some(listen_on(listen, "--debug-listen", tls.as_ref()).await?),
            None => None,
        };
        let webhook_config = webhook_config(settings).map_err(exit::settings_error)?;
        let slots = slots(settings, settings.limits())?;
        let scheduler_config = scheduler_config(settings, slots)?;
        let plugins_changed = Arc::new(Notify::new());
        let plugins = loader_config(settings, &plugins_changed).map_err(exit::settings_error)?;
        // Before the tracer is created, so tasks of the last host end before the first span of this one starts.
        let now = clock.now();
        let (tracer, exporter) =
            telemetry::traces(settings.otlp_endpoint.as_deref(), &clock).map_err(exit::settings_error)?;
        // Before the plugins, which may take a minute to compile: another host may use this folder.
        let database = Database::open(settings, &tracer, webhook_config.secrets.fingerprint()).await?;
        let runtime = start_runtime(settings, slots, plugins).await?;
        let body_budget = BodyBudget::new(runtime.host_bytes());
        let api_config = api_config(settings, &body_budget)?;
        Ok(Self {
            access,
            follow_keys,
            identity_provider,
            tls,
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

/// Listens where a setting says.
async fn listen_on(listen: &Listen, flag: &str, tls: Option<&Tls>) -> Result<Listener> {
    let bound = Listener::bind(listen).await.map_err(|error| match (error.kind(), listen) {
        (ErrorKind::AddrInUse, Listen::Tcp(_)) => anyhow!(
            "failed to listen on {listen}: another process uses this port; end it, or choose another port with {flag}"
        ),
        (ErrorKind::AddrInUse, Listen::Unix(_)) => anyhow!(
            "failed to listen on {listen}: another process listens there; end it, or choose another path with {flag}"
        ),
        _ => anyhow!("failed to listen on {listen}: {error}; {flag} names the address"),
    })?;
    Ok(bound.with_tls(tls.cloned()))
}

fn scheduler_config(settings: &Settings, slots: u32) -> Result<SchedulerConfig> {
    Ok(SchedulerConfig {
        slots: slots as usize,
        log_bytes: usize::try_from(settings.limits().log_bytes)?,
        children: ChildBounds { children_max: settings.children_max, depth_max: settings.children_depth },
        ..SchedulerConfig::default()
    })
}

/// Starts the runtime and loads the plugins, on a thread that may block.
async fn start_runtime(settings: &Settings, slots: u32, plugins: LoaderConfig) -> Result<Runtime> {
    let config = runtime_config(settings, slots);
    Ok(tokio::task::spawn_blocking(move || Runtime::start(config, &BUILT_IN, plugins)).await??)
}

fn api_config(settings: &Settings, body_budget: &BodyBudget) -> Result<ApiConfig> {
    Ok(ApiConfig {
        body: BodyConfig {
            bytes_max: usize::try_from(settings.body_max.as_u64())?,
            batch_bytes_max: usize::try_from(settings.batch_body_max.as_u64())?,
            timeout: BODY_TIMEOUT,
            budget: body_budget.clone(),
        },
        data: settings.data.clone(),
        waiting_max: settings.waiting_max,
        timeout: settings.timeout,
        timeout_max: settings.timeout_max,
        drain: settings.drain,
        group_tag: settings.group_tag.clone().filter(|prefix| !prefix.is_empty()),
        dashboard: DashboardConfig {
            name: settings.ui_name.clone(),
            colour: settings.ui_colour.as_str(),
            trace_url: settings.trace_url.clone(),
        },
        audit: AuditConfig { is_required: settings.audit_required, tells_reads: settings.audit_reads },
    })
}
