//! The route table, and the state that all endpoints share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;
use wasmill_model::{Clock, TaskId, Tracer};
use wasmill_runtime::Runtime;
use wasmill_scheduler::{Scheduler, Schedules};
use wasmill_store::{Store, StoreError};
use wasmill_webhooks::Webhooks;

use crate::body_budget::BodyBudget;
use crate::check_pool::CheckPool;
use crate::metrics::Metrics;
use crate::problem::{self, Problem};
use crate::routes::{Routes, get, post};
use crate::stream_limit::StreamLimit;
use crate::upload::{self, UploadLimits};
use crate::{
    batch, cancel, cancel_many, docs, drain, events, health, index, input, list, logs, metrics, openapi,
    params, pause, plugins, result, retry, retry_many, schedules, stats, status, submit, task, trace,
    webhook,
};

/// Limits and defaults of the API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Maximum size of a request body, in bytes.
    pub body_bytes_max: usize,
    /// Maximum size of a batch body, in bytes.
    pub batch_bytes_max: usize,
    /// Budget for the bytes of all bodies in flight.
    pub body_budget: BodyBudget,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// Timeout of a task if neither its request nor its plugin sets one.
    pub timeout: Duration,
    /// Maximum timeout that a request may set.
    pub timeout_max: Duration,
    /// How long running tasks may continue after a drain starts.
    pub drain: Duration,
    /// Prefix of the tag that sets the group of a task whose request has no `group`.
    pub group_tag: Option<String>,
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
    /// The task store.
    pub store: Store,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The cron schedules.
    pub schedules: Schedules,
    /// The plugin runtime.
    pub runtime: Runtime,
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

    /// Parses the task id of a path.
    pub(crate) fn parse_task_id(text: &str) -> Result<TaskId, Problem> {
        text.parse().map_err(|error| Problem::invalid_id(text, error))
    }

    /// Unwraps a lookup, or fails with `unknown-task`.
    pub(crate) fn require_task<T>(id: TaskId, found: Result<Option<T>, StoreError>) -> Result<T, Problem> {
        found?.ok_or_else(|| Problem::unknown_task(id))
    }
}

/// All routes. `openapi.rs` documents each of them, and a test compares the two.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/", get(index::index))
        .route("/task", post(submit::submit).get(list::list))
        .route("/task/batch", post(batch::batch))
        .route("/task/retry", post(retry_many::retry_many))
        .route("/task/cancel", post(cancel_many::cancel_many))
        .route("/task/{id}", get(task::task).delete(cancel::remove))
        .route("/task/{id}/status", get(status::status))
        .route("/task/{id}/result", get(result::result))
        .route("/task/{id}/input", get(input::input))
        .route("/task/{id}/logs", get(logs::logs))
        .route("/task/{id}/events", get(events::task_events))
        .route("/task/{id}/webhook", get(webhook::webhook))
        .route("/task/{id}/webhook/retry", post(webhook::redeliver))
        .route("/events", get(events::all_events))
        .route("/task/{id}/retry", post(retry::retry))
        .route("/task/{id}/cancel", post(cancel::cancel))
        .route("/plugins", get(plugins::list))
        .route("/plugins/{name}", get(plugins::plugin).put(upload::put).delete(upload::delete))
        .route("/plugins/{name}/pause", post(pause::pause_plugin))
        .route("/plugins/{name}/resume", post(pause::resume_plugin))
        .route("/schedules", get(schedules::list))
        .route(
            "/schedules/{schedule}",
            get(schedules::schedule).put(schedules::put::put).delete(schedules::delete),
        )
        .route("/schedules/{schedule}/pause", post(schedules::actions::pause))
        .route("/schedules/{schedule}/resume", post(schedules::actions::resume))
        .route("/schedules/{schedule}/run", post(schedules::actions::run))
        .route("/pause", post(pause::pause))
        .route("/resume", post(pause::resume))
        .route("/drain", post(drain::drain))
        .route("/stats", get(stats::stats))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(openapi::openapi))
        .route("/docs", get(docs::page))
        .route("/docs/openapi-explorer.js", get(docs::viewer))
}

/// Builds the router with all its layers.
pub fn router(api: Api) -> Router {
    routes()
        .into_router()
        .route_layer(from_fn_with_state(api.clone(), params::reject_undocumented))
        .fallback(problem::unknown_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(api.tracer.clone(), trace::trace))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn(problem::finish))
        .layer(from_fn_with_state(api.metrics.clone(), metrics::count))
        .with_state(api)
}
