//! `POST /task/{id}/retry`: does an ended task once more, as a new task with the same input and options.
//!
//! The old one stays as it is; the new one names it in `retry_of`. `retry_many` makes its tasks here, too.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use wasmill_model::{NewTask, TaskId, TaskState, Timestamp};
use wasmill_runtime::{InputBudget, NotReadyError};
use wasmill_store::StoreError;

use crate::app::Api;
use crate::check_pool::checked;
use crate::field_errors::{Fault, Faults};
use crate::idempotency_key;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::submit::{Refusal, answer, check_input, stored};
use crate::trace::{self, Caller};

pub(crate) async fn retry(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let now = api.clock.now();
    let request = idempotency_key::read(&headers, "retry", id.as_bytes())?;
    if let Some(request) = &request
        && let Some(submitted) = api.store.find_submitted(request.clone(), now).await?
    {
        return answer(&submitted);
    }
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    let (state, task) = again(&api, id, now).await?.ok_or_else(|| Problem::unknown_task(id))?;
    if !state.is_final() {
        return Err(Problem::not_ended(id, state));
    }
    let task = NewTask { trace: caller, ..task.map_err(Refusal::into_problem)? };
    let submitted = match api.store.submit(vec![task], request.map(|request| (request, now))).await {
        // The body names nothing, so nothing in it is wrong.
        Err(StoreError::UnknownDependency { id, .. }) => {
            return Err(Problem::unknown_dependency(String::new(), id));
        }
        submitted => submitted?,
    };
    api.scheduler.wake();
    answer(&submitted)
}

/// Reads an old task as one that may be stored today: its plugin may be gone or want another input by now.
/// `None` if the old task is gone.
pub(crate) async fn again(
    api: &Api,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<(TaskState, Result<NewTask, Refusal>)>, Problem> {
    let Some((state, mut task)) = api.store.clone_for_retry(id, TaskId::new(), now).await? else {
        return Ok(None);
    };
    let mut faults = Faults::default();
    match api.runtime.check_ready(&task.plugin) {
        Ok(()) => {
            let (plugin, input) = (task.plugin.clone(), task.input.clone());
            let check = move |api: &Api, budget: &mut InputBudget| {
                let mut faults = Faults::default();
                check_input(api, &plugin, input.as_deref(), budget, &mut faults);
                faults
            };
            faults = checked(api, check).await?;
        }
        Err(why @ NotReadyError::Compiling(_)) => {
            return Ok(Some((state, Err(Refusal { faults, later: Some(why.to_string()) }))));
        }
        Err(why) => faults.push(Fault::body(why.to_string())),
    }
    if !faults.is_empty() {
        return Ok(Some((state, Err(Refusal { faults, later: None }))));
    }
    task.waiting_max = api.runtime.plugin_config(&task.plugin).and_then(|config| config.waiting_max);
    Ok(Some((state, Ok(task))))
}

pub(crate) fn about() -> Operation {
    let operation = Operation::post("/task/{id}/retry", "retryTask", "Retry a finished task");
    trace::about(idempotency_key::about(operation))
        .detail(
            "A new task with the same input and options, without a delay; its `retry_of` names the old one. It \
             waits for what the old one waited for, as far as that has not ended.",
        )
        .answers(201, idempotency_key::marked(stored()))
        .problems(&[kind::PLUGIN_COMPILING, kind::WAITING_LINE_FULL])
        .problems(&[kind::PLUGIN_LINE_FULL, kind::TASK_NOT_ENDED, kind::KEY_TAKEN])
        .problems(&kind::OF_TASK)
}
