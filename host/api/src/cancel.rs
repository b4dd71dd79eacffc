//! `DELETE /task/{id}` and `POST /task/{id}/cancel`: stop a task, and forget it or keep its record.
//!
//! Both answer only after the guest is gone and its slot is free. With `?grace=5s` the guest is asked to
//! stop and has so long to put things in order.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use wasmill_store::Cancelled;

use crate::app::Api;
use crate::faults::{Fault, Faults};
use crate::fields::time_must_be;
use crate::openapi::values::{Span, plain};
use crate::openapi::{Answer, Operation};
use crate::params::Params;
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::record::{self, Record};

/// The longest grace; the request stays open for that long.
const GRACE_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, Problem> {
    let id = Api::task_id(&id)?;
    let grace = grace(&params)?;
    Api::found(id, api.scheduler.remove_within(id, grace).await)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let grace = grace(&params)?;
    match api.scheduler.cancel_within(id, grace).await? {
        Cancelled::NotFound => Err(Problem::unknown_task(id)),
        Cancelled::AlreadyFinal(state) => Err(Problem::already_ended(id, state)),
        Cancelled::Cancelled { .. } | Cancelled::Stopping { .. } => {
            let task = Api::found(id, api.store.get(id).await)?;
            Ok(Json(Record::new(task, api.clock.now())))
        }
    }
}

/// Reads the grace from the query; none without one.
fn grace(params: &Params) -> Result<Duration, Problem> {
    let mut grace = Duration::ZERO;
    let mut faults = Faults::default();
    for (name, value) in params.iter() {
        if name == "grace" {
            take_grace(&mut grace, value, &mut faults);
        }
    }
    Problem::unless(faults, grace)
}

/// Reads one grace, or says what it would have to be.
pub(crate) fn take_grace(grace: &mut Duration, value: &str, faults: &mut Faults) {
    match wasmill_model::parse_duration(value) {
        Ok(asked) if asked <= GRACE_MAX => *grace = asked,
        _ => {
            let most = humantime::format_duration(GRACE_MAX);
            let detail = format!("grace must be a time with a unit, such as 5s, of at most {most}");
            let detail = time_must_be(detail, Some(value));
            faults.push(Fault::parameter("grace", detail));
        }
    }
}

/// Tells of the grace.
pub(crate) fn about_grace(operation: Operation) -> Operation {
    let most = humantime::format_duration(GRACE_MAX);
    let about = format!(
        "Ask the guest to stop, and give it so long to put things in order; at most {most}. Until its guest is gone \
         the task runs, with `stop_requested_at` in its record."
    );
    let mut schema = plain::<Span>();
    schema["examples"] = json!(["500ms", "5s"]);
    operation.query("grace", about, &schema)
}

pub(crate) fn about_remove() -> Operation {
    about_grace(Operation::delete("/task/{id}", "deleteTask", "Stop a task and forget it"))
        .detail("When this is answered the guest is gone, its slot is free, and nothing of it can write.")
        .answers(204, Answer::empty("It is gone."))
        .problems(&[kind::INVALID_REQUEST])
        .problems(&kind::OF_TASK)
}

pub(crate) fn about_cancel() -> Operation {
    let mut example = record::example();
    example["status"] = "cancelled".into();
    example["state"] = "cancelled".into();
    example["stop_requested_at"] = "2026-11-23T07:26:51.612047718Z".into();
    example["finished_at"] = "2026-11-23T07:26:51.617291345Z".into();
    example["progress"].take();
    about_grace(Operation::post("/task/{id}/cancel", "cancelTask", "Stop a task and keep its record"))
        .detail("When this is answered the guest is gone and its slot is free.")
        .answers(200, Answer::json::<Record>("Its record.", example))
        .problems(&[kind::TASK_ENDED, kind::INVALID_REQUEST])
        .problems(&kind::OF_TASK)
}
