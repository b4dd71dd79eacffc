//! `GET /task/{id}/dependents`: the tasks that depend on a task, newest first, in pages.

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde_json::json;

use crate::http::authorize::Sender;
use crate::http::params::Params;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::FieldErrors;
use crate::problem::kind;
use crate::state::Api;
use crate::task::list::{LIMIT_MAX, add_page_parameters, page_response, take_cursor, take_limit};
use crate::task::lookup::{parse_task_id, require_task};
use crate::view::task::{self as view, TaskView, is_within};

pub(crate) async fn dependents(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let (mut limit, mut before, mut errors) = (LIMIT_MAX, None, FieldErrors::default());
    for (name, value) in params.iter() {
        match name {
            "limit" => take_limit(&mut limit, value, &mut errors),
            _ => take_cursor(&mut before, value, &mut errors),
        }
    }
    let limit = Problem::reject_errors(errors, limit)?;
    require_task(id, api.store.get(id).await)?;
    let mut page = api.store.dependents(id, before, limit).await?;
    // A key that reaches more may have made others wait for the task.
    page.tasks.retain(|task| is_within(sender.reach(), task));
    let next_path = |next| format!("/task/{id}/dependents?limit={limit}&cursor={next}");
    Ok(page_response(&api, &sender, page, next_path))
}

pub(crate) fn spec() -> Operation {
    let page = ResponseSpec::json::<Vec<TaskView>>("A page of tasks.", json!([view::example()]))
        .optional_header(
            "Link",
            "Link to the next page; missing on the last one.",
            "^</task/[0-9a-f-]+/dependents\\?limit=[0-9]+&cursor=[^>]+>; rel=\"next\"$",
        );
    let operation = Operation::get(
        "/task/{id}/dependents",
        "listTaskDependents",
        "List the tasks that depend on a task, newest first",
    );
    add_page_parameters(operation)
        .detail(
            "Tasks with this one in their `depends_on`, finished ones included. `GET /task/{id}` of each says what its \
             dependencies mean to it. A page may hold fewer than `limit` tasks before the last page: continue as long \
             as there is a `Link`.",
        )
        .responds(200, page)
        .problems(&kind::TASK_ACCESS)
}
