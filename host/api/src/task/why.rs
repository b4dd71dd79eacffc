//! `GET /task/{id}/why`: why a task waits, as far as this host knows.

mod facts;
mod reasons;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::TaskId;

use self::facts::Facts;
use self::reasons::ReasonView;
use crate::http::authorize::Sender;
use crate::openapi::schema::{IdSchema, QueueStateSchema, StateSchema};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};

/// Why a task waits.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WhyTaskWaits")]
struct WhyView {
    #[schemars(with = "IdSchema")]
    id: TaskId,
    #[schemars(with = "StateSchema")]
    state: &'static str,
    /// What a waiting task waits for; `null` unless waiting.
    #[schemars(with = "Option<QueueStateSchema>")]
    queue_state: Option<&'static str>,
    /// The first reason in a sentence, for people.
    summary: String,
    /// Everything that keeps the task from starting now, the first thing first; empty unless it waits.
    reasons: Vec<ReasonView>,
    /// Number of available tasks of the same plugin and group that are claimed first, counted up to 10,000; `null` unless
    /// the task is available. Other plugins and groups take turns with these.
    ahead: Option<u64>,
    /// Number of live hosts that share the database, this one included.
    hosts: usize,
}

pub(crate) async fn why(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let task = require_task(id, api.store.get(id).await)?;
    let facts = Facts::gather(&api, &sender, task).await?;
    let reasons = reasons::reasons(&facts);
    Ok(Json(WhyView {
        id,
        state: facts.task.state.phase().as_str(),
        queue_state: facts.task.state.is_waiting().then(|| facts.task.state.as_str()),
        summary: reasons::summary(&facts, &reasons),
        reasons,
        ahead: facts.ahead,
        hosts: facts.hosts.iter().filter(|host| host.is_live).count(),
    }))
}

pub(crate) fn spec() -> Operation {
    let example = json!({
        "id": "01a2074c-e503-703b-819d-4717c026346b", "state": "waiting", "queue_state": "available",
        "summary": "plugin fetch runs 50 of at most 50 tasks at once",
        "reasons": [{
            "code": "concurrency", "detail": "plugin fetch runs 50 of at most 50 tasks at once", "on": "all-hosts",
            "until": null, "tasks": [],
        }],
        "ahead": 213, "hosts": 1,
    });
    Operation::get("/task/{id}/why", "explainTask", "Explain why a task waits")
        .detail(
            "A snapshot: nothing is reserved, and a reason may be gone a moment later. A reason with `on` `this-host` is \
             of the host that answers; another host that shares the database may start the task all the same. A key with a \
             reach learns of the turns of others only that the task waits for its own.",
        )
        .responds(200, ResponseSpec::json::<WhyView>("The reasons.", example))
        .problems(&kind::TASK_ACCESS)
}
