//! `GET /schedules`, `GET` and `DELETE /schedules/{name}`: cron schedules and their next runs.

pub(crate) mod actions;
mod manifests;
pub(crate) mod put;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_model::{PluginName, ScheduleName, TaskId};
use wasmill_runtime::InputBudget;
use wasmill_scheduler::Prepare;
use wasmill_store::{LastRun, RemoveScheduleOutcome, Schedule};

pub use self::manifests::sync_manifest_schedules;
use crate::app::Api;
use crate::openapi::values::{AnyJson, IdSchema, NameSchema, TimeSchema};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem_kind::{self as kind, ProblemKind};
use crate::submit::check_one;
use crate::task_view::Rfc3339;

/// Number of next runs in a view.
const NEXT_RUNS: usize = 5;

/// JSON view of a schedule.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Schedule")]
struct ScheduleView {
    #[schemars(with = "NameSchema")]
    name: String,
    /// Who manages it: `rest` for a client of the API, `manifest` for the plugin of this name.
    #[schemars(extend("enum" = ["rest", "manifest"]))]
    from: &'static str,
    /// The cron expression.
    cron: String,
    /// The IANA time zone of the expression.
    timezone: String,
    /// The plugin that runs.
    #[schemars(with = "NameSchema")]
    plugin: PluginName,
    /// Policy for missed runs.
    #[schemars(extend("enum" = ["skip", "one", "all"]))]
    missed: &'static str,
    /// Whether a run may start while an earlier one is waiting or running.
    overlap: bool,
    /// Whether it is paused.
    paused: bool,
    /// Local times of the next runs; the first may be in the past if it could not start yet.
    #[schemars(with = "Vec<TimeSchema>", length(max = 5))]
    next_runs: Vec<String>,
    last_run: Option<LastRunView>,
    /// Number of runs started.
    runs: u64,
    /// Number of runs skipped.
    skipped: u64,
    /// Why a due run could not start.
    last_error: Option<String>,
    created_at: Rfc3339,
    /// When it was last changed.
    changed_at: Rfc3339,
}

/// The latest run of a schedule.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScheduleRun")]
struct LastRunView {
    /// When it was due; `null` if it was started manually.
    due: Option<Rfc3339>,
    /// When its task was created.
    time: Rfc3339,
    /// Its task; it may have been deleted.
    #[schemars(with = "IdSchema")]
    task: TaskId,
}

/// A schedule with its task request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScheduleWithTask")]
struct ScheduleDetailView {
    #[serde(flatten)]
    schedule: ScheduleView,
    /// Request for each of its tasks.
    #[schemars(with = "AnyJson")]
    task: Box<RawValue>,
}

impl ScheduleView {
    fn new(schedule: &Schedule) -> Self {
        let last = schedule.last.map(|LastRun { due, at, task }| LastRunView {
            due: due.map(Rfc3339),
            time: Rfc3339(at),
            task,
        });
        Self {
            next_runs: next_runs(schedule),
            name: schedule.name.to_string(),
            from: if schedule.from_manifest { "manifest" } else { "rest" },
            cron: schedule.cron.clone(),
            timezone: schedule.timezone.clone(),
            plugin: schedule.plugin.clone(),
            missed: schedule.missed.as_str(),
            overlap: schedule.overlap,
            paused: schedule.paused,
            last_run: last,
            runs: schedule.runs,
            skipped: schedule.skipped,
            last_error: schedule.last_error.clone(),
            created_at: Rfc3339(schedule.created_at),
            changed_at: Rfc3339(schedule.changed_at),
        }
    }
}

impl ScheduleDetailView {
    fn new(schedule: &Schedule) -> Self {
        let task = schedule.task.clone().and_then(|text| RawValue::from_string(text).ok());
        Self {
            schedule: ScheduleView::new(schedule),
            task: task.unwrap_or_else(|| RawValue::NULL.to_owned()),
        }
    }
}

/// Returns the next runs of a schedule; none while it is paused.
fn next_runs(schedule: &Schedule) -> Vec<String> {
    let Ok(timing) = schedule.timing() else { return Vec::new() };
    let first = schedule.next_at.filter(|_| !schedule.paused);
    let runs = std::iter::successors(first, |run| timing.next_after(*run));
    runs.take(NEXT_RUNS).map(|run| timing.local(run)).collect()
}

pub(crate) async fn list(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let schedules = api.store.schedules().await?;
    // Computing the next runs of a thousand schedules takes long.
    let views = move || schedules.iter().map(ScheduleView::new).collect::<Vec<_>>();
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
    let known: ScheduleName = name.parse().map_err(|_| Problem::unknown_schedule(&name))?;
    match api.store.remove_schedule(known.clone(), false).await? {
        RemoveScheduleOutcome::Removed => {}
        RemoveScheduleOutcome::NotFound => return Err(Problem::unknown_schedule(&name)),
        RemoveScheduleOutcome::ManagedElsewhere => return Err(Problem::schedule_managed_by_plugin(&known)),
    }
    // A manifest of this name may have a schedule that waits for the name.
    manifests::sync_once(&api).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(api: &Api, name: &str) -> Result<Schedule, Problem> {
    let unknown = || Problem::unknown_schedule(name);
    let known = name.parse().map_err(|_| unknown())?;
    api.store.schedule(known).await?.ok_or_else(unknown)
}

/// Returns the function that turns task requests of schedules into tasks, with the checks of `POST /task`.
pub fn task_factory(api: &Api) -> Prepare {
    let api = api.clone();
    Arc::new(move |request, now| {
        let request = serde_json::from_str(request).map_err(|error| error.to_string())?;
        check_one(&api, request, now, None, &mut InputBudget::full()).map_err(|refusal| {
            let errors = Some(refusal.errors.into_parts().0).filter(|detail| !detail.is_empty());
            errors.into_iter().chain(refusal.not_ready).collect::<Vec<_>>().join("; ")
        })
    })
}

/// Problems of operations on one schedule.
const SCHEDULE_ACCESS: [ProblemKind; 4] =
    [kind::INVALID_PATH, kind::UNKNOWN_SCHEDULE, kind::DRAINING, kind::STORE_UNAVAILABLE];

/// Example for the OpenAPI document; with its task unless it is part of a list.
fn example(is_listed: bool) -> Value {
    let mut example = json!({
        "name": "nightly", "from": "rest", "cron": "30 2 * * *", "timezone": "Europe/Berlin",
        "plugin": "io-stub", "missed": "one", "overlap": true, "paused": false,
        "next_runs": [
            "2026-11-24T02:30:00+01:00", "2026-11-25T02:30:00+01:00", "2026-11-26T02:30:00+01:00",
            "2026-11-27T02:30:00+01:00", "2026-11-28T02:30:00+01:00",
        ],
        "last_run": {
            "due": "2026-11-23T01:30:00.000000000Z", "time": "2026-11-23T01:30:00.001240112Z",
            "task": "01a2074c-e503-703b-819d-4717c026346b",
        },
        "runs": 41, "skipped": 0, "last_error": null, "created_at": "2026-10-12T09:00:02.120003122Z",
        "changed_at": "2026-10-12T09:00:02.120003122Z",
    });
    if !is_listed {
        example["task"] = json!({"plugin": "io-stub", "input": {"min_ms": 500, "max_ms": 900}});
    }
    example
}

/// Specifies all operations below `/schedules`.
pub(crate) fn spec() -> Vec<Operation> {
    let list = Operation::get("/schedules", "listSchedules", "List schedules")
        .responds(
            200,
            ResponseSpec::json::<Vec<ScheduleView>>("All schedules, by name.", json!([example(true)])),
        )
        .problems(&kind::STORE_ACCESS);
    let schedule = Operation::get("/schedules/{schedule}", "getSchedule", "Get a schedule")
        .responds(200, ResponseSpec::json::<ScheduleDetailView>("The schedule.", example(false)))
        .problems(&SCHEDULE_ACCESS);
    let delete = Operation::delete("/schedules/{schedule}", "deleteSchedule", "Delete a schedule")
        .detail(
            "Its tasks stay. A schedule that is managed by a plugin cannot be deleted; it is removed \
                 with the plugin.",
        )
        .responds(204, ResponseSpec::empty("The schedule is deleted."))
        .problems(&SCHEDULE_ACCESS)
        .problems(&[kind::SCHEDULE_MANAGED_BY_PLUGIN]);
    let mut all = vec![list, schedule, delete, put::spec()];
    all.extend(actions::spec());
    all
}
