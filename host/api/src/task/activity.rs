//! `GET /task/{id}/activity`: what a running task is doing right now.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::{TaskId, TaskState};

use crate::openapi::schema::{IdSchema, StateSchema};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};
use crate::view::activity::RunView;

/// What a task is doing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskActivity")]
struct ActivityView {
    #[schemars(with = "IdSchema")]
    id: TaskId,
    #[schemars(with = "StateSchema")]
    state: &'static str,
    /// What it is doing, for people.
    summary: String,
    /// Its run; `null` unless it runs on this host.
    run: Option<RunView>,
    /// The functions that its guest computes in, innermost first and at most 64, as they were less than half a second ago:
    /// by their names, if the plugin file has some. `null` unless the guest computes.
    functions: Option<Vec<String>>,
}

pub(crate) async fn activity(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let task = require_task(id, api.store.get(id).await)?;
    // A task that has finished has a run for a moment more. The run before its instance: one that ends meanwhile has none.
    let run = if task.state.is_final() { None } else { api.scheduler.run_of(id) };
    let instance = run
        .as_ref()
        .and_then(|run| api.runtime.instance(id).filter(|instance| instance.attempt == run.attempt));
    let run = run.map(|run| RunView::new(&run, instance, api.clock.now()));
    let functions = match &run {
        Some(run) if run.state == "computing" => {
            api.runtime.stack(id).await.map(|functions| functions.to_vec())
        }
        _ => None,
    };
    let state = task.state.phase().as_str();
    Ok(Json(ActivityView { id, state, summary: summary(task.state, run.as_ref()), run, functions }))
}

fn summary(state: TaskState, run: Option<&RunView>) -> String {
    match run {
        Some(run) => run.activity.clone(),
        None if state == TaskState::Running => "it runs on another host, or has just ended".to_owned(),
        None if state.is_waiting() => "it waits; GET /task/{id}/why says for what".to_owned(),
        None => "it has finished".to_owned(),
    }
}

pub(crate) fn spec() -> Operation {
    let id = "01a2074c-e503-703b-819d-4717c026346b";
    let example = json!({
        "id": id, "state": "running", "summary": "HTTP: GET https://api.example.com",
        "run": {
            "task": id, "plugin": "fetch", "state": "waiting", "activity": "HTTP: GET https://api.example.com",
            "attempt": 1, "max_attempts": 3, "age_ms": 5_119, "timeout_ms": 600_000, "stop_requested": false,
            "call": {"name": "wasi:io/poll", "waited_ms": 5_114, "until": null},
            "instance": {
                "digest": "a1a731d3fe1f0c2dd9b0a3a3f0bb4e5f4c9d7e1b2a3948576f5e4d3c2b1a0987", "kind": "task",
                "profile": "pooled", "on_thread": false, "cpu_ms": 1, "memory_bytes": 1_179_648, "tables_bytes": 776,
                "memory_max_bytes": 67_108_864,
                "http": [{"method": "GET", "origin": "https://api.example.com", "has_head": false, "ms": 5_114}],
                "tcp": [],
            },
        },
        "functions": null,
    });
    Operation::get("/task/{id}/activity", "getTaskActivity", "Get what a running task is doing")
        .detail(
            "A snapshot of a run on the host that answers: its state, the host call that it waits in and since when, its open \
             connections, its use of memory and CPU, and the functions that a computing guest is in. Takes at most a tenth of \
             a second, and stops nothing.",
        )
        .responds(200, ResponseSpec::json::<ActivityView>("The activity.", example))
        .problems(&kind::TASK_ACCESS)
}
