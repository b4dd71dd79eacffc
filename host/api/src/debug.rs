//! The debug port: what a server does right now, for those who run it. A listener of its own, off unless
//! asked for; it reads and never changes anything.
//!
//! Its routes are not part of the REST interface, and its errors are worded as there.

mod dump;
mod pprof;
mod profile;
mod tasks;
mod threads;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use wasmill_model::Clock;
use wasmill_runtime::Runtime;
use wasmill_scheduler::Scheduler;

use crate::problem::{self, Problem};

/// What `GET /debug` answers.
const INDEX: &str = "\
/debug/tasks                        every task that runs, and where it is; ?format=json, state=, plugin=, limit=
/debug/pprof/profile?seconds=30     what computes, in the format of pprof: go tool pprof -top URL
/debug/pprof/heap                   says how to look at the heap
";

/// What the debug port looks at. Cheap to clone.
#[derive(Clone)]
pub struct DebugState {
    /// What has slots.
    pub scheduler: Scheduler,
    /// What has instances.
    pub runtime: Runtime,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Builds the routes of the debug port.
pub fn debug_router(debug: DebugState) -> Router {
    let index = || async { INDEX };
    Router::new()
        .route("/debug", get(index))
        .route("/debug/", get(index))
        .route("/debug/pprof", get(index))
        .route("/debug/pprof/", get(index))
        .route("/debug/tasks", get(tasks::tasks))
        .route("/debug/pprof/profile", get(profile::profile))
        .route("/debug/pprof/heap", get(|| async { Problem::no_heap_profile() }))
        .fallback(problem::unknown_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn(problem::finish))
        .with_state(debug)
}
