//! `POST /task/cancel`: stop all tasks that fit a filter and keep their records.
//!
//! It answers only after every guest is gone and its slot is free.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::TaskState;
use wasmill_store::Filter;

use crate::app::Api;
use crate::cancel::{self, take_grace};
use crate::field_errors::{Fault, Faults};
use crate::filter;
use crate::openapi::{Answer as Answers, Operation};
use crate::params::Params;
use crate::problem::Problem;
use crate::problem_kind as kind;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cancelled")]
struct Answer {
    /// How many were cancelled; of a dry run, how many would be.
    cancelled: u64,
    dry_run: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    filter: Filter,
    dry_run: bool,
    grace: Duration,
}

pub(crate) async fn cancel_many(
    State(api): State<Api>,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    let Wish { filter, dry_run, grace } = check(&params)?;
    let cancelled = if dry_run {
        api.store.find_open(filter).await?.len() as u64
    } else {
        api.scheduler.cancel_many(filter, grace).await?
    };
    Ok(Json(Answer { cancelled, dry_run }))
}

fn check(params: &Params) -> Result<Wish, Problem> {
    let (mut wish, mut all) = (Wish::default(), false);
    let mut faults = Faults::default();
    for (name, value) in params.iter() {
        match name {
            "all" => flag(&mut all, name, value, &mut faults),
            "dry_run" => flag(&mut wish.dry_run, name, value, &mut faults),
            "grace" => take_grace(&mut wish.grace, value, &mut faults),
            name => filter::take(&mut wish.filter, name, value, &mut faults),
        }
    }
    if let Some(ended) = wish.filter.states.iter().find(|state| !state.may_become(TaskState::Cancelled)) {
        let detail = format!("state must be waiting or running; no task that is {ended} can be cancelled");
        faults.push(Fault::parameter("state", detail));
    }
    if faults.is_empty() && wish.filter.is_empty() != all {
        let detail = "name which tasks, or all=true for every task that waits or runs, and not both";
        faults.push(Fault::parameter("all", detail));
    }
    Problem::unless(faults, wish)
}

/// Reads a parameter that is true or false.
pub(crate) fn flag(flag: &mut bool, name: &str, value: &str, faults: &mut Faults) {
    match value {
        "true" => *flag = true,
        "false" => *flag = false,
        _ => faults.push(Fault::parameter(name, format!("{name} must be true or false"))),
    }
}

pub(crate) fn about() -> Operation {
    let flag = json!({"type": "boolean", "default": false});
    let answer = Answers::json::<Answer>(
        "They are stopped, and their records kept.",
        json!({"cancelled": 412, "dry_run": false}),
    );
    let operation = Operation::post("/task/cancel", "cancelTasks", "Cancel all tasks that fit")
        .detail(
            "Means tasks that wait or run when it begins. Which ones takes at least one filter, or \
             `all=true`, and not both.",
        )
        .query("all", "Every task that waits or runs.", &flag)
        .query("dry_run", "Only count them.", &flag);
    let open: Vec<_> =
        TaskState::ALL.into_iter().filter(|state| state.may_become(TaskState::Cancelled)).collect();
    filter::about(cancel::about_grace(operation), &open).answers(200, answer).problems(&kind::OF_STORE)
}
