//! `GET /schedules`, `GET` and `DELETE /schedules/{name}`: cron schedules and their next runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use wasmill_access::Identity;
use wasmill_model::ScheduleName;
use wasmill_runtime::InputBudget;
use wasmill_scheduler::Prepare;
use wasmill_store::RemoveScheduleOutcome;

use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::schedule::lookup::{SCHEDULE_ACCESS, find, schedule_managed_by_plugin, unknown_schedule};
use crate::state::Api;
use crate::task::submit::{Refusal, check_one};
use crate::view::schedule::{ScheduleDetailView, ScheduleView, example};

pub(crate) async fn list(
    State(api): State<Api>,
    Sender(sender): Sender,
) -> Result<impl IntoResponse, Problem> {
    let schedules = api.store.schedules().await?;
    // Computing the next runs of a thousand schedules takes long.
    let views = move || {
        schedules.iter().map(|schedule| ScheduleView::new(schedule).shown_to(&sender)).collect::<Vec<_>>()
    };
    let views = tokio::task::spawn_blocking(views).await;
    Ok(Json(views.map_err(|_| Problem::internal_error("computing the next runs panicked"))?))
}

pub(crate) async fn schedule(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok(Json(ScheduleDetailView::new(&find(&api, &name).await?)))
}

/// Deletes a schedule; its tasks stay.
pub(crate) async fn delete(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let known: ScheduleName = name.parse().map_err(|_| unknown_schedule(&name))?;
    match api.store.remove_schedule(known.clone(), false).await? {
        RemoveScheduleOutcome::Removed => {}
        RemoveScheduleOutcome::NotFound => return Err(unknown_schedule(&name)),
        RemoveScheduleOutcome::ManagedElsewhere => return Err(schedule_managed_by_plugin(&known)),
    }
    // A manifest of this name may have a schedule that waits for the name.
    super::manifests::sync_once(&api).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the function that turns task requests of schedules into tasks, with the checks of `POST /task`.
pub fn task_factory(api: &Api) -> Prepare {
    let api = api.clone();
    Arc::new(move |request, now| {
        let request = serde_json::from_str(request).map_err(|error| error.to_string())?;
        check_one(&api, &Identity::default(), request, now, None, &mut InputBudget::full())
            .map_err(Refusal::into_text)
    })
}

pub(crate) fn list_spec() -> Operation {
    let answer = ResponseSpec::json::<Vec<ScheduleView>>("All schedules, by name.", json!([example(true)]));
    Operation::get("/schedules", "listSchedules", "List schedules")
        .responds(200, answer)
        .problems(&kind::STORE_ACCESS)
}

pub(crate) fn schedule_spec() -> Operation {
    Operation::get("/schedules/{schedule}", "getSchedule", "Get a schedule")
        .responds(200, ResponseSpec::json::<ScheduleDetailView>("The schedule.", example(false)))
        .problems(&SCHEDULE_ACCESS)
}

pub(crate) fn delete_spec() -> Operation {
    Operation::delete("/schedules/{schedule}", "deleteSchedule", "Delete a schedule")
        .detail(
            "Its tasks stay. A schedule that is managed by a plugin cannot be deleted; it is removed with the \
             plugin.",
        )
        .responds(204, ResponseSpec::empty("The schedule is deleted."))
        .problems(&SCHEDULE_ACCESS)
        .problems(&[kind::SCHEDULE_MANAGED_BY_PLUGIN])
}
