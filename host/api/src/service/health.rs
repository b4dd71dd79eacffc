//! `GET /healthz` and `GET /readyz`: liveness and readiness probes.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;

/// Health of the server.
#[derive(Serialize, JsonSchema)]
struct Health {
    status: &'static str,
}

/// Responds 200 as long as the process serves requests.
pub(crate) async fn healthz() -> impl IntoResponse {
    Json(Health { status: "alive" })
}

/// Responds 200 if new tasks are accepted and can run: not while draining, not while a probe write to the
/// database fails or the lease of this host has run out, and not once swap was enabled.
pub(crate) async fn readyz(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    api.store.probe().await?;
    let lease = api.store.lease();
    if !lease.is_valid(lease.term()) {
        return Err(lease_over());
    }
    if api.runtime.is_blocked_by_swap() {
        return Err(swap_enabled());
    }
    Ok(Json(Health { status: "ready" }))
}

pub(crate) fn healthz_spec() -> Operation {
    Operation::get("/healthz", "getHealth", "Check that the server is alive")
        .responds(200, ResponseSpec::json::<Health>("The server is alive.", json!({"status": "alive"})))
}

pub(crate) fn readyz_spec() -> Operation {
    Operation::get("/readyz", "getReadiness", "Check that the server accepts tasks")
        .responds(200, ResponseSpec::json::<Health>("The server accepts tasks.", json!({"status": "ready"})))
        .problems(&kind::STORE_ACCESS)
        .problems(&[kind::SWAP_ENABLED])
}

/// Guests are frozen until the lease is renewed.
fn lease_over() -> Problem {
    let detail = "this host has not renewed its lease in time, so its guests are frozen until it does";
    Problem::of(kind::STORE_UNAVAILABLE, detail)
}

/// Pooled guests may not start before a restart.
fn swap_enabled() -> Problem {
    let detail = "swap was enabled while the server runs, so pooled guests no longer start: memory of \
                  one guest could reach the next; disable swap for the server and restart it";
    Problem::of(kind::SWAP_ENABLED, detail)
}
