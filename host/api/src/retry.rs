//! `POST /task/{id}/retry`: does an ended task once more, as a new task with the same input and options.
//!
//! The old one stays as it is; the new one names it in `retry_of`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use wasmill_model::TaskId;
use wasmill_runtime::{InputBudget, NotReady};
use wasmill_store::StoreError;

use crate::app::Api;
use crate::body::{read_json, says_nothing};
use crate::cancel_many::Nothing;
use crate::checking::checked;
use crate::openapi::Operation;
use crate::problem::{Fault, Problem};
use crate::problem_kind as kind;
use crate::submit::{answer, check_input, stored};
use crate::trace::{self, Caller};

pub(crate) async fn retry(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let body = read_json(&api.config, &headers, body).await?;
    // What stands in a body would be overlooked, and something else be done than was meant.
    if !says_nothing(&body) {
        let detail = "the body must be empty: a retry does the same again; POST /task does something else";
        return Err(Problem::invalid_request(vec![Fault::body(detail)]));
    }
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    let (state, mut task) = Api::found(id, api.store.again(id, TaskId::new(), api.clock.now()).await)?;
    if !state.is_final() {
        return Err(Problem::not_ended(id, state));
    }
    // The plugin may have changed since.
    match api.runtime.check_ready(&task.plugin) {
        Ok(()) => {}
        Err(why @ NotReady::Compiling(_)) => return Err(Problem::plugin_compiling(why.to_string())),
        Err(why) => return Err(Problem::invalid_request(vec![Fault::body(why.to_string())])),
    }
    task.waiting_max = api.runtime.terms(&task.plugin).and_then(|terms| terms.waiting_max);
    let (plugin, input) = (task.plugin.clone(), task.input.clone());
    let check = move |api: &Api, budget: &mut InputBudget| {
        let mut faults = Vec::new();
        check_input(api, &plugin, input.as_deref(), budget, &mut faults);
        faults
    };
    let faults = checked(&api, check).await?;
    if !faults.is_empty() {
        return Err(Problem::invalid_request(faults));
    }
    task.trace = caller;
    let submitted = match api.store.submit(vec![task], None).await {
        // The body names nothing, so nothing in it is wrong.
        Err(StoreError::UnknownDependency { id, .. }) => {
            return Err(Problem::unknown_dependency(String::new(), id));
        }
        submitted => submitted?,
    };
    api.scheduler.wake();
    answer(&submitted)
}

pub(crate) fn about() -> Operation {
    trace::about(Operation::post("/task/{id}/retry", "retryTask", "Do an ended task once more"))
        .detail(
            "A new task with the same input and options, without a delay; its `retry_of` names the old one. It \
             waits for what the old one waited for, as far as that has not ended.",
        )
        .json_body::<Nothing>("Nothing: a retry does the same again.", Vec::new())
        .answers(201, stored())
        .problems(&kind::OF_JSON_BODY)
        .problems(&[kind::INVALID_REQUEST, kind::PLUGIN_COMPILING, kind::WAITING_LINE_FULL])
        .problems(&[kind::PLUGIN_LINE_FULL, kind::TASK_NOT_ENDED, kind::KEY_TAKEN])
        .problems(&kind::OF_TASK)
}
