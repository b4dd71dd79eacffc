//! `GET /schedules`, `GET` and `DELETE /schedules/{name}`: what is done again and again, and when next.

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
use crate::openapi::values::{Anything, Id, Moment, Name};
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind::{self as kind, Kind};
use crate::submit::check_one;
use crate::task_view::Rfc3339;

/// How many of the next runs are shown.
const NEXT_RUNS: usize = 5;

/// A schedule as clients read it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Schedule")]
struct ScheduleView {
    #[schemars(with = "Name")]
    name: String,
    /// Who brought it: `rest` for a client, `manifest` for the plugin of this name.
    #[schemars(extend("enum" = ["rest", "manifest"]))]
    from: &'static str,
    /// The cron expression.
    cron: String,
    /// The IANA time zone in which it is meant.
    timezone: String,
    /// What runs.
    #[schemars(with = "Name")]
    plugin: PluginName,
    /// What becomes of runs that were missed.
    #[schemars(extend("enum" = ["skip", "one", "all"]))]
    missed: &'static str,
    /// Whether a run starts while an earlier one waits or runs.
    overlap: bool,
    /// Whether it is held back.
    paused: bool,
    /// When it runs next, as clocks of its time zone show it; the first is over if it could not run yet.
    #[schemars(with = "Vec<Moment>", length(max = 5))]
    next_runs: Vec<String>,
    last_run: Option<LastRunView>,
    /// How many runs were started.
    runs: u64,
    /// How many were left out.
    skipped: u64,
    /// Why it is due and has not run.
    last_error: Option<String>,
    created_at: Rfc3339,
    /// When it was last replaced.
    changed_at: Rfc3339,
}

/// The newest run of a schedule.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScheduleRun")]
struct LastRunView {
    /// When it was due; `null` if it was asked for by hand.
    due: Option<Rfc3339>,
    /// When its task was made.
    time: Rfc3339,
    /// Its task, which may be gone.
    #[schemars(with = "Id")]
    task: TaskId,
}

/// A schedule with what it asks for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScheduleWithTask")]
struct WithTask {
    #[serde(flatten)]
    schedule: ScheduleView,
    /// The request for its tasks.
    #[schemars(with = "Anything")]
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

impl WithTask {
    fn new(schedule: &Schedule) -> Self {
        let task = schedule.task.clone().and_then(|text| RawValue::from_string(text).ok());
        Self {
            schedule: ScheduleView::new(schedule),
            task: task.unwrap_or_else(|| RawValue::NULL.to_owned()),
        }
    }
}

/// Returns when a schedule runs next; never while it is paused.
fn next_runs(schedule: &Schedule) -> Vec<String> {
    let Ok(timing) = schedule.timing() else { return Vec::new() };
    let first = schedule.next_at.filter(|_| !schedule.paused);
    let runs = std::iter::successors(first, |run| timing.next_after(*run));
    runs.take(NEXT_RUNS).map(|run| timing.local(run)).collect()
}

pub(crate) async fn list(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let schedules = api.store.schedules().await?;
    // The next runs of a thousand schedules take a while to find.
    let views = move || schedules.iter().map(ScheduleView::new).collect::<Vec<_>>();
    let views = tokio::task::spawn_blocking(views).await;
    Ok(Json(views.map_err(|_| Problem::internal_fault("looking for the next runs panicked"))?))
}

pub(crate) async fn schedule(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok(Json(WithTask::new(&find(&api, &name).await?)))
}

/// Removes a schedule; tasks that it has started stay.
pub(crate) async fn delete(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let known: ScheduleName = name.parse().map_err(|_| Problem::unknown_schedule(&name))?;
    match api.store.remove_schedule(known.clone(), false).await? {
        RemoveScheduleOutcome::Removed => {}
        RemoveScheduleOutcome::NotFound => return Err(Problem::unknown_schedule(&name)),
        RemoveScheduleOutcome::ManagedElsewhere => return Err(Problem::schedule_of_manifest(&known)),
    }
    // A plugin of this name may have waited with its own.
    manifests::settle(&api).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(api: &Api, name: &str) -> Result<Schedule, Problem> {
    let unknown = || Problem::unknown_schedule(name);
    let known = name.parse().map_err(|_| unknown())?;
    api.store.schedule(known).await?.ok_or_else(unknown)
}

/// Makes tasks of the requests of schedules, with the checks of `POST /task`.
pub fn task_factory(api: &Api) -> Prepare {
    let api = api.clone();
    Arc::new(move |request, now| {
        let request = serde_json::from_str(request).map_err(|error| error.to_string())?;
        check_one(&api, request, now, None, &mut InputBudget::full()).map_err(|refusal| {
            let faults = Some(refusal.faults.into_parts().0).filter(|detail| !detail.is_empty());
            faults.into_iter().chain(refusal.later).collect::<Vec<_>>().join("; ")
        })
    })
}

/// What any route may answer that is about one schedule.
const OF_SCHEDULE: [Kind; 4] =
    [kind::INVALID_PATH, kind::UNKNOWN_SCHEDULE, kind::DRAINING, kind::STORE_UNAVAILABLE];

/// A schedule as an example for the API document; with its task, unless it is one of a list.
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

/// Tells of all routes below `/schedules`.
pub(crate) fn about() -> Vec<Operation> {
    let list = Operation::get("/schedules", "listSchedules", "List what is done again and again")
        .answers(200, Answer::json::<Vec<ScheduleView>>("Every schedule, by name.", json!([example(true)])))
        .problems(&kind::OF_STORE);
    let schedule = Operation::get("/schedules/{schedule}", "getSchedule", "Show one schedule")
        .answers(200, Answer::json::<WithTask>("The schedule.", example(false)))
        .problems(&OF_SCHEDULE);
    let delete = Operation::delete("/schedules/{schedule}", "deleteSchedule", "Remove a schedule")
        .detail("Tasks that it has started stay. One that comes with a plugin goes with the plugin.")
        .answers(204, Answer::empty("It is gone."))
        .problems(&OF_SCHEDULE)
        .problems(&[kind::SCHEDULE_OF_MANIFEST]);
    let mut all = vec![list, schedule, delete, put::about()];
    all.extend(actions::about());
    all
}
