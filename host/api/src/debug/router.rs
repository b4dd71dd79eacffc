//! The routes of the debug port.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use super::state::DebugState;
use super::{heap, profile, tasks};
use crate::http::authorize::require_admin;
use crate::problem::layer;

/// Response of `GET /debug`.
const INDEX: &str = "\
/debug/tasks                        running tasks and what they are doing; ?format=json, state=, plugin=, limit=
/debug/pprof/profile?seconds=30     CPU profile in pprof format: go tool pprof -top URL
/debug/pprof/heap                   how to profile the heap
";

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
        .route("/debug/pprof/heap", get(heap::heap))
        .fallback(layer::unknown_route)
        .method_not_allowed_fallback(
            |request: Request| async move { layer::method_not_allowed(&request, None) },
        )
        .route_layer(from_fn_with_state(debug.access.clone(), require_admin))
        .layer(CatchPanicLayer::custom(layer::panicked))
        .layer(from_fn(layer::finish))
        .with_state(debug)
}
