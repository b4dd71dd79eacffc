//! `GET /schedules`, `GET` and `DELETE /schedules/{name}`: cron schedules and their next runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_access::Identity;
use wasmill_model::{NewTask, ScheduleName, Timestamp};
use wasmill_runtime::InputBudget;
use wasmill_scheduler::Prepare;
use wasmill_store::RemoveScheduleOutcome;

use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::schedule::lookup::{
    SCHEDULE_ACCESS, find, name_for, schedule_managed_by_plugin, unknown_schedule,
};
use crate::state::Api;
use crate::task::submit::{Refusal, check_one};
use crate::view::schedule::{ScheduleDetailView, ScheduleView, example};

pub(crate) async fn list(
    State(api): State<Api>,
    Sender(sender): Sender,
) -> Result<impl IntoResponse, Problem> {
    let mut schedules = api.store.schedules().await?;
    if sender.reach().is_bounded() {
        schedules.retain(|schedule| schedule.name.space() == sender.space());
    }
    // Computing the next runs of a thousand schedules takes long.
    let views = move || {
        schedules
            .iter()
            .map(|schedule| ScheduleView::new(schedule, &sender).shown_to(&sender))
            .collect::<Vec<_>>()
    };
    let views = tokio::task::spawn_blocking(views).await;
    Ok(Json(views.map_err(|_| Problem::internal_error("computing the next runs panicked"))?))
}

pub(crate) async fn schedule(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let schedule = find(&api, &sender, &name).await?;
    Ok(Json(ScheduleDetailView::new(&schedule, &sender)))
}

/// Deletes a schedule; its tasks stay.
pub(crate) async fn delete(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let known = name_for(&sender, &name)?;
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
    Arc::new(move |name, request, now| {
        let request = serde_json::from_str(request).map_err(|error| error.to_string())?;
        task_of(&api, name, request, now, &mut InputBudget::full()).map_err(Refusal::into_text)
    })
}

/// Creates a task of a schedule. The request has the labels that its key reaches; its unique key and its limits are those
/// of the keys of that reach.
pub(super) fn task_of(
    api: &Api,
    name: &ScheduleName,
    request: &RawValue,
    now: Timestamp,
    budget: &mut InputBudget,
) -> Result<NewTask, Refusal> {
    let mut task = check_one(api, &Identity::default(), request, now, None, budget)?.without_files()?;
    let space = name.space();
    if let Some(unique) = &mut task.unique {
        unique.space = space.clone();
    }
    task.limited_by = api.access.keys().limited_of(&space);
    Ok(task)
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
