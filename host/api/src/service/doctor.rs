//! `GET /doctor`: the checks of `wasmill doctor`, by the running server.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::http::params::{Params, flag};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::FieldErrors;
use crate::service::check::{Check, CheckState};
use crate::service::check_reports::CheckReport;
use crate::state::Api;
use crate::view::time::Rfc3339;

/// The checks of the server.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DoctorReport")]
struct ReportView {
    version: &'static str,
    /// Whether no check failed.
    ok: bool,
    /// Whether those that compile, write or take time are among them.
    deep: bool,
    checks: Vec<Check>,
    /// Start of the server.
    started_at: Rfc3339,
    checked_at: Rfc3339,
}

pub(crate) async fn doctor(State(api): State<Api>, params: Params) -> Result<impl IntoResponse, Problem> {
    let (mut deep, mut errors) = (false, FieldErrors::default());
    for (name, value) in params.iter() {
        flag(&mut deep, name, value, &mut errors);
    }
    let deep = Problem::reject_errors(errors, deep)?;
    let report = api.doctor.report(&api.clock, deep).await;
    let CheckReport { checked_at, checks, .. } =
        report.ok_or_else(|| Problem::internal_error("a check of the doctor panicked"))?;
    Ok(Json(ReportView {
        version: env!("CARGO_PKG_VERSION"),
        ok: checks.iter().all(|check| check.state != CheckState::Fail),
        deep,
        checks,
        started_at: Rfc3339(api.history.since()),
        checked_at: Rfc3339(checked_at),
    }))
}

pub(crate) fn spec() -> Operation {
    let flag = json!({"type": "boolean", "default": false});
    let example = json!({
        "version": "0.1.0", "ok": true, "deep": false,
        "checks": [{
            "name": "disk space", "state": "warn", "found": "812.0 MiB free",
            "cost": "a million finished tasks take 200 MiB and more; a full disk rejects tasks",
            "fix": "free some space, move --data to a larger disk, or keep less",
        }],
        "started_at": "2026-11-23T07:26:49.603656725Z", "checked_at": "2026-11-23T07:26:49.603656725Z",
    });
    Operation::get("/doctor", "getDoctorReport", "Check the machine and the settings of the server")
        .detail(
            "The checks of `wasmill doctor`, as the running server sees them: kernel, memory, slots, disk, plugins folder, \
             keys, certificate. A report is returned again for 5 seconds, a deep one for 60.",
        )
        .query("deep", "Also compile, write to the data folder and connect to the database server.", &flag)
        .responds(200, ResponseSpec::json::<ReportView>("The checks.", example))
}
