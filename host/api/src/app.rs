//! The table of routes, and what every endpoint shares.

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

use crate::bodies::Bodies;
use crate::checking::LongChecks;
use crate::followers::Followers;
use crate::metrics::Metrics;
use crate::problem::{self, Problem};
use crate::routes::{Routes, get, post};
use crate::upload::{self, Uploads};
use crate::webhook::Webhooks;
use crate::{
    batch, cancel, cancel_many, docs, drain, events, health, index, input, list, logs, metrics, openapi,
    params, pause, plugins, result, retry, retry_many, schedules, stats, status, submit, task, trace,
    webhook,
};

/// What the API accepts.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Bytes of the largest request body.
    pub body_bytes_max: usize,
    /// Bytes of the largest body that holds many task requests.
    pub batch_bytes_max: usize,
    /// Bytes of all bodies that are on their way.
    pub bodies: Bodies,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// The timeout of a task that names none, and whose plugin names none.
    pub timeout: Duration,
    /// The longest timeout a task may name.
    pub timeout_max: Duration,
    /// How long running tasks may go on after a drain was asked for.
    pub drain: Duration,
    /// What a tag begins with that names the group of a task without one.
    pub group_tag: Option<String>,
}

/// What every endpoint needs. Cheap to clone.
///
/// Every layer and handler of a request clones it, so that is one count and not one for each part.
#[derive(Clone)]
pub struct Api(Arc<ApiParts>);

/// What an [`Api`] is made of.
pub struct ApiParts {
    /// The bounds of requests.
    pub config: Arc<ApiConfig>,
    /// Where tasks are.
    pub store: Store,
    /// What runs them.
    pub scheduler: Scheduler,
    /// What starts tasks again and again.
    pub schedules: Schedules,
    /// What knows the plugins.
    pub runtime: Runtime,
    /// Whether and how many plugins may be uploaded.
    pub uploads: Uploads,
    /// How many inputs are held against large schemas at once.
    pub long_checks: LongChecks,
    /// How many may follow or wait.
    pub followers: Followers,
    /// What tells receivers of the ends of tasks.
    pub webhooks: Webhooks,
    /// What the API and the process count.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What takes the spans of requests that make tasks.
    pub tracer: Tracer,
}

impl Deref for Api {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0
    }
}

impl Api {
    /// Makes one of its parts.
    pub fn new(parts: ApiParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Reads the id of a task from the path.
    pub(crate) fn task_id(text: &str) -> Result<TaskId, Problem> {
        text.parse().map_err(|error| Problem::invalid_id(text, error))
    }

    /// Unwraps what the store found, or answers that there is no such task.
    pub(crate) fn found<T>(id: TaskId, found: Result<Option<T>, StoreError>) -> Result<T, Problem> {
        found?.ok_or_else(|| Problem::unknown_task(id))
    }
}

/// Every route. What each takes and answers is told in `openapi.rs`, where a test looks for it.
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
        .route("/task/{id}/events", get(events::of_task))
        .route("/task/{id}/webhook", get(webhook::webhook))
        .route("/task/{id}/webhook/retry", post(webhook::redeliver))
        .route("/events", get(events::of_all))
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
        .route("/schedules/{schedule}/pause", post(schedules::act::pause))
        .route("/schedules/{schedule}/resume", post(schedules::act::resume))
        .route("/schedules/{schedule}/run", post(schedules::act::run))
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

/// Builds the router.
pub fn router(api: Api) -> Router {
    routes()
        .into_router()
        .route_layer(from_fn_with_state(api.clone(), params::strict))
        .fallback(problem::unknown_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(api.tracer.clone(), trace::trace))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn(problem::finish))
        .layer(from_fn_with_state(api.metrics.clone(), metrics::count))
        .with_state(api)
}
