//! `POST /task/cancel`: cancels all tasks that match a filter.
//!
//! It responds after every guest is gone and its slot is free.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_access::AuditDetails;
use wasmill_model::TaskState;
use wasmill_store::Filter;

use crate::http::authorize::Sender;
use crate::http::params::{Params, flag};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::state::Api;
use crate::task::cancel::{self, take_grace};
use crate::task::request::filter;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cancelled")]
struct CancelledView {
    /// Number of cancelled tasks; in a dry run, number of matching tasks.
    cancelled: u64,
    dry_run: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct CancelParams {
    filter: Filter,
    dry_run: bool,
    grace: Duration,
}

pub(crate) async fn cancel_many(
    State(api): State<Api>,
    Sender(sender): Sender,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    let CancelParams { mut filter, dry_run, grace } = check(&params)?;
    filter::within(&mut filter, &sender);
    let cancelled = if dry_run {
        api.store.find_open(filter).await?.len() as u64
    } else {
        api.scheduler.cancel_many(filter, grace).await?
    };
    let audited = Extension(AuditDetails::count(cancelled));
    Ok((audited, Json(CancelledView { cancelled, dry_run })))
}

fn check(params: &Params) -> Result<CancelParams, Problem> {
    let (mut cancel_params, mut all) = (CancelParams::default(), false);
    let mut errors = FieldErrors::default();
    for (name, value) in params.iter() {
        match name {
            "all" => flag(&mut all, name, value, &mut errors),
            "dry_run" => flag(&mut cancel_params.dry_run, name, value, &mut errors),
            "grace" => take_grace(&mut cancel_params.grace, value, &mut errors),
            name => filter::take(&mut cancel_params.filter, name, value, &mut errors),
        }
    }
    if let Some(state) =
        cancel_params.filter.states.iter().find(|state| !state.may_become(TaskState::Cancelled))
    {
        let detail = format!("state must be waiting or running; a {state} task cannot be cancelled");
        errors.push(FieldError::parameter("state", detail));
    }
    if errors.is_empty() && cancel_params.filter.is_empty() != all {
        let detail = "give either a filter or all=true, which selects every waiting and running task";
        errors.push(FieldError::parameter("all", detail));
    }
    Problem::reject_errors(errors, cancel_params)
}

pub(crate) fn spec() -> Operation {
    let flag = json!({"type": "boolean", "default": false});
    let answer = ResponseSpec::json::<CancelledView>(
        "The matching tasks are cancelled; their records stay.",
        json!({"cancelled": 412, "dry_run": false}),
    );
    let operation = Operation::post("/task/cancel", "cancelTasks", "Cancel all tasks that match")
        .detail(
            "Cancels the tasks that are waiting or running when the request arrives. Requires either a \
             filter or `all=true`.",
        )
        .query("all", "Select every waiting and running task.", &flag)
        .query("dry_run", "Only count the matching tasks.", &flag);
    let open: Vec<_> =
        TaskState::ALL.into_iter().filter(|state| state.may_become(TaskState::Cancelled)).collect();
    filter::add_parameters(cancel::add_grace_parameter(operation), &open)
        .responds(200, answer)
        .problems(&kind::STORE_ACCESS)
}
