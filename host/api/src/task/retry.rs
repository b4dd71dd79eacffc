//! `POST /task/{id}/retry`: retries a finished task as a new task with the same input and options.
//!
//! The old task is unchanged; the new one names it in `retry_of`. `retry_many` prepares its tasks here too.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use wasmill_access::Identity;
use wasmill_model::{NewTask, TaskId, TaskState, Timestamp};
use wasmill_runtime::{InputBudget, NotReadyError};
use wasmill_store::StoreError;

use crate::http::authorize::Sender;
use crate::http::idempotency_key;
use crate::http::trace::{self, Caller};
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::problem::store::unknown_dependency;
use crate::state::Api;
use crate::task::files::given;
use crate::task::lookup::{parse_task_id, unknown_task};
use crate::task::submit::{Refusal, answer, check_input, run_check, stored};

pub(crate) async fn retry(
    State(api): State<Api>,
    Sender(sender): Sender,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let now = api.clock.now();
    let request = idempotency_key::read(&headers, &sender, "retry", id.as_bytes())?;
    if let Some(request) = &request
        && let Some(submitted) = api.store.find_submitted(request.clone(), now).await?
    {
        return answer(&submitted);
    }
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    let (state, task) = prepare_retry(&api, &sender, id, now).await?.ok_or_else(|| unknown_task(id))?;
    if !state.is_final() {
        return Err(not_finished(id, state));
    }
    let task = NewTask { trace: caller, ..task.map_err(Refusal::into_problem)? };
    let submitted = match api.store.submit(vec![task], request.map(|request| (request, now))).await {
        // The request has no body, so the error points at nothing.
        Err(StoreError::UnknownDependency { .. }) if sender.reach().is_bounded() => {
            // It may have been outside.
            let detail = "a dependency of the task has been deleted, so the task cannot be retried";
            return Err(Problem::invalid_request(FieldError::body(detail)));
        }
        Err(StoreError::UnknownDependency { id, .. }) => {
            return Err(unknown_dependency(String::new(), id));
        }
        submitted => submitted?,
    };
    api.scheduler.wake();
    answer(&submitted)
}

/// Clones a task for a retry by this sender and validates the clone: its plugin may be gone, or accept other input by now.
/// `None` if the old task is gone.
pub(crate) async fn prepare_retry(
    api: &Api,
    sender: &Identity,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<(TaskState, Result<NewTask, Refusal>)>, Problem> {
    let Some((state, task)) = api.store.clone_for_retry(id, TaskId::new(), now).await? else {
        return Ok(None);
    };
    let mut task = sender.signed(task);
    if let Some(unique) = &mut task.unique
        && sender.reach().is_bounded()
    {
        // Among others it might meet a task that the sender must not know of.
        unique.space = sender.space();
    }
    let mut errors = FieldErrors::default();
    match api.runtime.check_ready(&task.plugin) {
        Ok(()) => {
            let (plugin, input) = (task.plugin.clone(), task.input.clone());
            let check = move |api: &Api, budget: &mut InputBudget| {
                let mut errors = FieldErrors::default();
                check_input(api, &plugin, input.as_deref(), budget, &mut errors);
                errors
            };
            errors = run_check(api, check).await?;
        }
        Err(why @ NotReadyError::Compiling(_)) => {
            return Ok(Some((state, Err(Refusal { errors, not_ready: Some(why.to_string()) }))));
        }
        Err(why) => errors.push(FieldError::body(why.to_string())),
    }
    let (count, bytes) = (task.files.len() as u64, task.files.iter().map(|file| file.content.bytes).sum());
    if let Some(config) = api.runtime.plugin_config(&task.plugin)
        && let Err(why) = given::check_room(&config, count, bytes)
            .and_then(|()| given::check_handed(&config, task.dependencies.as_ref()))
    {
        errors.push(FieldError::body(why));
    }
    if !errors.is_empty() {
        return Ok(Some((state, Err(Refusal { errors, not_ready: None }))));
    }
    task.waiting_max = api.runtime.plugin_config(&task.plugin).and_then(|config| config.waiting_max);
    Ok(Some((state, Ok(task))))
}

pub(crate) fn spec() -> Operation {
    let operation = Operation::post("/task/{id}/retry", "retryTask", "Retry a finished task");
    trace::add_headers(idempotency_key::add_header(operation))
        .detail(
            "Creates a new task with the same input and options, but without delay; its `retry_of` names the \
             old task. It depends on the unfinished dependencies of the old one.",
        )
        .responds(201, idempotency_key::add_replayed_header(stored()))
        .problems(&kind::QUEUE_LIMITS)
        .problems(&[kind::PLUGIN_COMPILING, kind::TASK_NOT_FINISHED, kind::KEY_TAKEN])
        .problems(&kind::TASK_ACCESS)
}

/// The task has not finished, so it cannot be retried.
fn not_finished(id: TaskId, state: TaskState) -> Problem {
    let detail = format!("task {id} is {state}; only a finished task can be retried");
    Problem::of(kind::TASK_NOT_FINISHED, detail).with_state(state)
}
