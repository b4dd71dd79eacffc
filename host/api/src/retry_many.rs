//! `POST /task/retry`: does all ended tasks that fit a filter once more.
//!
//! It makes a new task of each, a few in each write; the old ones stay as they are.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::{NewTask, OnConflict, TaskId, TaskState, TraceContext};
use wasmill_store::{Filter, StoreError};

use crate::app::Api;
use crate::body::{read_json, says_nothing};
use crate::cancel_many::{NO_BODY, Nothing, flag};
use crate::filter;
use crate::openapi::{Answer as Answers, Operation};
use crate::problem::{Fault, Problem};
use crate::problem_kind as kind;
use crate::trace::{self, Caller};

/// Tasks that are read and stored at a time: they are held in memory with their inputs.
const STEP: usize = 50;

/// What a retry of many has done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Retried")]
struct Answer {
    /// How many new tasks there are; of a dry run, how many tasks fit.
    retried: u64,
    /// How many were left out, since another task holds their unique key, or what they waited for is gone.
    held: u64,
    dry_run: bool,
}

pub(crate) async fn retry_many(
    State(api): State<Api>,
    Caller(caller): Caller,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let body = read_json(&api.config, &headers, body).await?;
    let (filter, dry_run) = check(query.0.as_deref().unwrap_or_default(), &body)?;
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    // What is stored meanwhile stands before the first place, so nothing is done twice.
    let (mut before, mut answer) = (None, Answer { retried: 0, held: 0, dry_run });
    loop {
        let most = if dry_run { 10 * STEP } else { STEP };
        let (ids, next) = api.store.find(filter.clone(), before, most).await?;
        if dry_run {
            answer.retried += ids.len() as u64;
        } else if !ids.is_empty() {
            let (retried, held) = retry(&api, &ids, caller.as_ref()).await?;
            answer.retried += retried;
            answer.held += held;
        }
        before = next;
        if before.is_none() {
            return Ok(Json(answer));
        }
    }
}

/// Stores a new task for each of these; returns for how many, and how many were left out.
async fn retry(api: &Api, ids: &[TaskId], caller: Option<&TraceContext>) -> Result<(u64, u64), Problem> {
    let now = api.clock.now();
    let mut tasks: Vec<NewTask> = Vec::with_capacity(ids.len());
    for id in ids {
        // It may be gone by now.
        let Some((_, mut task)) = api.store.again(*id, TaskId::new(), now).await? else { continue };
        if let Some(unique) = &mut task.unique {
            unique.on_conflict = OnConflict::Return;
        }
        task.trace = caller.cloned();
        task.waiting_max = api.runtime.terms(&task.plugin).and_then(|terms| terms.waiting_max);
        tasks.push(task);
    }
    // One for which something is gone that it waits for must not have the others refused.
    let (alone, together): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.dependencies.is_some());
    let (mut retried, mut held) = (0, 0);
    let together = (!together.is_empty()).then_some(together);
    for tasks in alone.into_iter().map(|task| vec![task]).chain(together) {
        match api.store.submit(tasks, None).await {
            Err(StoreError::UnknownDependency { .. }) => held += 1,
            submitted => {
                for task in submitted?.tasks {
                    *if task.holder.is_some() { &mut held } else { &mut retried } += 1;
                }
            }
        }
    }
    api.scheduler.wake();
    Ok((retried, held))
}

fn check(query: &str, body: &[u8]) -> Result<(Filter, bool), Problem> {
    let (mut filter, mut all, mut dry_run) = (Filter::default(), false, false);
    let mut faults = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "all" => flag(&mut all, &name, &value, &mut faults),
            "dry_run" => flag(&mut dry_run, &name, &value, &mut faults),
            name if filter::take(&mut filter, name, &value, &mut faults) => {}
            name => {
                let known = filter::NAMES;
                let detail = format!("unknown parameter '{name}'; known are {known}, all, dry_run");
                faults.push(Fault::parameter(name, detail));
            }
        }
    }
    if let Some(open) = filter.states.iter().find(|state| !state.is_final()) {
        let detail =
            format!("state must be failed, cancelled or completed; a task that is {open} has not ended");
        faults.push(Fault::parameter("state", detail));
    }
    if faults.is_empty() && filter.is_empty() != all {
        let detail = "name which tasks, or all=true for every task that failed, and not both";
        faults.push(Fault::parameter("all", detail));
    }
    if !says_nothing(body) {
        faults.push(Fault::body(NO_BODY));
    }
    if filter.states.is_empty() {
        filter.states.push(TaskState::Failed);
    }
    if faults.is_empty() { Ok((filter, dry_run)) } else { Err(Problem::invalid_request(faults)) }
}

pub(crate) fn about() -> Operation {
    let flag = json!({"type": "boolean", "default": false});
    let answer = Answers::json::<Answer>(
        "There is a new task for each.",
        json!({"retried": 12, "held": 0, "dry_run": false}),
    );
    let operation = Operation::post("/task/retry", "retryTasks", "Do all ended tasks that fit once more");
    let operation = trace::about(operation)
        .detail(
            "Means tasks that failed unless `state` says otherwise. Which ones takes at least one filter, or \
             `all=true`, and not both.",
        )
        .query("all", "Every task that failed.", &flag)
        .query("dry_run", "Only count them.", &flag);
    let ended: Vec<_> = TaskState::ALL.into_iter().filter(|state| state.is_final()).collect();
    filter::about(operation, &ended)
        .json_body::<Nothing>("Nothing: which tasks are meant is said in the query.", Vec::new())
        .answers(200, answer)
        .problems(&kind::OF_JSON_BODY)
        .problems(&[kind::INVALID_REQUEST, kind::WAITING_LINE_FULL, kind::PLUGIN_LINE_FULL])
        .problems(&kind::OF_STORE)
}
