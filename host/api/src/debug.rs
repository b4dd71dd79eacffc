//! The debug port: what the server is doing, for its operators. It has its own listener, is disabled by
//! default, and is read-only.
//!
//! Its routes are not part of the API, but its errors have the same format.

mod dump;
mod pprof;
mod profile;
mod tasks;
mod threads;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use wasmill_model::Clock;
use wasmill_runtime::Runtime;
use wasmill_scheduler::Scheduler;

use crate::problem::{self, Problem};

/// Response of `GET /debug`.
const INDEX: &str = "\
/debug/tasks                        running tasks and what they are doing; ?format=json, state=, plugin=, limit=
/debug/pprof/profile?seconds=30     CPU profile in pprof format: go tool pprof -top URL
/debug/pprof/heap                   how to profile the heap
";

/// State of the debug port. Cheap to clone.
#[derive(Clone)]
pub struct DebugState {
    /// The scheduler, which knows the runs.
    pub scheduler: Scheduler,
    /// The runtime, which knows the instances.
    pub runtime: Runtime,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// Builds the router of the debug port.
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
        .method_not_allowed_fallback(
            |request: Request| async move { problem::method_not_allowed(&request, None) },
        )
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn(problem::finish))
        .with_state(debug)
}
