//! The state that all endpoints share.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmill_access::{Access, Audit};
use wasmill_model::{Clock, Tracer};
use wasmill_runtime::Runtime;
use wasmill_scheduler::{Scheduler, Schedules};
use wasmill_store::Store;
use wasmill_webhooks::Webhooks;

use crate::http::body::BodyConfig;
use crate::http::check_pool::CheckPool;
use crate::http::stream_limit::StreamLimit;
use crate::http::upload_limits::UploadLimits;
use crate::metrics::Metrics;
use crate::plugin::PluginSharing;
use crate::queue::history::History;
use crate::service::check_reports::Doctor;
use crate::service::identity_provider::IdentityProvider;
use crate::tls::Tls;

/// Limits and defaults of the API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Limits of request bodies.
    pub body: BodyConfig,
    /// The data folder, whose disk must not be full.
    pub data: PathBuf,
    /// Maximum number of waiting tasks.
    pub waiting_max: u64,
    /// Timeout of a task if neither its request nor its plugin sets one.
    pub timeout: Duration,
    /// Maximum timeout that a request may set.
    pub timeout_max: Duration,
    /// How long running tasks may continue after a drain starts.
    pub drain: Duration,
    /// Prefix of the tag that sets the group of a task whose request has no `group`.
    pub group_tag: Option<String>,
    /// What the dashboard shows of this installation.
    pub dashboard: DashboardConfig,
    /// What the audit tells.
    pub audit: AuditConfig,
}

/// What the audit tells besides changes, and whether these need it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditConfig {
    /// Whether a change is refused unless its line is written before it begins.
    pub is_required: bool,
    /// Whether reads of what tasks were given and have returned are recorded, too.
    pub tells_reads: bool,
}

/// What the dashboard shows of this installation.
#[derive(Clone, Debug, Default)]
pub struct DashboardConfig {
    /// Its name, such as `production`.
    pub name: Option<String>,
    /// Colour of the name: `red`, `amber`, `green` or `blue`.
    pub colour: &'static str,
    /// Where traces are shown, with `{trace_id}` in it.
    pub trace_url: Option<String>,
}

/// State that all endpoints share. Cheap to clone.
///
/// Each layer and handler of a request clones it, so it is one `Arc` rather than one for each part.
#[derive(Clone)]
pub struct Api(Arc<ApiParts>);

/// The parts of an [`Api`].
pub struct ApiParts {
    /// Limits and defaults.
    pub config: Arc<ApiConfig>,
    /// The keys in force.
    pub access: Access,
    /// Takes what changes something.
    pub audit: Audit,
    /// Who signs people in elsewhere, if anybody does.
    pub identity_provider: Option<Arc<dyn IdentityProvider>>,
    /// The certificate, if the server speaks https.
    pub tls: Option<Tls>,
    /// The task store.
    pub store: Store,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The cron schedules.
    pub schedules: Schedules,
    /// The plugin runtime.
    pub runtime: Runtime,
    /// Shares plugins with other hosts.
    pub sharing: Arc<PluginSharing>,
    /// Whether uploads are enabled, and how many may run at once.
    pub upload_limits: UploadLimits,
    /// Limits concurrent checks against large schemas.
    pub check_pool: CheckPool,
    /// Limits open streams and waiting requests.
    pub stream_limit: StreamLimit,
    /// Delivers webhooks.
    pub webhooks: Webhooks,
    /// Counters of the API and the process.
    pub metrics: Metrics,
    /// The checks of the machine and the settings.
    pub doctor: Doctor,
    /// The samples of the last day.
    pub history: History,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Records the spans of requests that create tasks.
    pub tracer: Tracer,
}

impl Deref for Api {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0
    }
}

impl Api {
    /// Shares these parts.
    pub fn new(parts: ApiParts) -> Self {
        Self(Arc::new(parts))
    }
}
