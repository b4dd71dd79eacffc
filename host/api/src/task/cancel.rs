//! `DELETE /task/{id}` and `POST /task/{id}/cancel`: stop a task, and delete or keep its record.
//!
//! Both respond after the guest is gone and its slot is free. With `?grace=5s` the guest is first asked to
//! stop and gets this long to clean up.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use wasmill_model::{TaskId, TaskState};
use wasmill_store::CancelOutcome;

use crate::http::authorize::Sender;
use crate::http::fields::duration_error;
use crate::http::params::Params;
use crate::openapi::schema::{DurationSchema, plain};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task, unknown_task};
use crate::view::task::{self as view, TaskView, shown_to};

/// Maximum grace; the request stays open that long.
const GRACE_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, Problem> {
    let id = parse_task_id(&id)?;
    let grace = grace(&params)?;
    require_task(id, api.scheduler.remove_within(id, grace).await)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn cancel(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let grace = grace(&params)?;
    match api.scheduler.cancel_within(id, grace).await? {
        CancelOutcome::NotFound => Err(unknown_task(id)),
        CancelOutcome::AlreadyFinal(state) => Err(already_finished(id, state)),
        CancelOutcome::Cancelled { .. } | CancelOutcome::Stopping { .. } => {
            let task = require_task(id, api.store.get(id).await)?;
            Ok(Json(TaskView::new(shown_to(&sender, task), api.clock.now())))
        }
    }
}

/// Parses the grace of the query; zero without one.
fn grace(params: &Params) -> Result<Duration, Problem> {
    let mut grace = Duration::ZERO;
    let mut errors = FieldErrors::default();
    for (name, value) in params.iter() {
        if name == "grace" {
            take_grace(&mut grace, value, &mut errors);
        }
    }
    Problem::reject_errors(errors, grace)
}

/// Parses one grace.
pub(crate) fn take_grace(grace: &mut Duration, value: &str, errors: &mut FieldErrors) {
    match wasmill_model::parse_duration(value) {
        Ok(asked) if asked <= GRACE_MAX => *grace = asked,
        _ => {
            let max = humantime::format_duration(GRACE_MAX);
            let detail = format!("grace must be a duration such as 5s, at most {max}");
            errors.push(FieldError::parameter("grace", duration_error(detail, Some(value))));
        }
    }
}

/// Documents the parameter.
pub(crate) fn add_grace_parameter(operation: Operation) -> Operation {
    let max = humantime::format_duration(GRACE_MAX);
    let description = format!(
        "Ask the guest to stop and give it this long to clean up; at most {max}. The task stays running, \
         with `stop_requested_at` set, until its guest is gone."
    );
    let mut schema = plain::<DurationSchema>();
    schema["examples"] = json!(["500ms", "5s"]);
    operation.query("grace", description, &schema)
}

pub(crate) fn remove_spec() -> Operation {
    add_grace_parameter(Operation::delete("/task/{id}", "deleteTask", "Stop and delete a task"))
        .detail(
            "Responds after the guest is gone and its slot is free; nothing of the task can write any more.",
        )
        .responds(204, ResponseSpec::empty("The task is deleted."))
        .problems(&[kind::INVALID_REQUEST])
        .problems(&kind::TASK_ACCESS)
}

pub(crate) fn cancel_spec() -> Operation {
    let mut example = view::example();
    example["status"] = "cancelled".into();
    example["state"] = "cancelled".into();
    example["stop_requested_at"] = "2026-11-23T07:26:51.612047718Z".into();
    example["finished_at"] = "2026-11-23T07:26:51.617291345Z".into();
    example["progress"].take();
    add_grace_parameter(Operation::post("/task/{id}/cancel", "cancelTask", "Cancel a task"))
        .detail("The record stays. Responds after the guest is gone and its slot is free.")
        .responds(200, ResponseSpec::json::<TaskView>("The cancelled task.", example))
        .problems(&[kind::TASK_FINISHED, kind::INVALID_REQUEST])
        .problems(&kind::TASK_ACCESS)
}

/// The task finished before it could be cancelled.
fn already_finished(id: TaskId, state: TaskState) -> Problem {
    let detail = format!("task {id} is already {state}");
    Problem::of(kind::TASK_FINISHED, detail).with_state(state)
}
