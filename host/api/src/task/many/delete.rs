//! `POST /task/delete`: deletes all finished tasks that match a filter.
//!
//! A task that has finished stays so, and deleting it twice changes nothing: a request that was cut off is sent again.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::IntoResponse;
use futures_util::StreamExt;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_access::AuditDetails;
use wasmill_model::{TaskId, TaskState};

use crate::http::authorize::Sender;
use crate::http::params::Params;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::many::selection::{BulkParams, Selection, StopReasonView};
use crate::task::request::filter;

/// Tasks that are looked up at once.
const STEP_TASKS: usize = 500;
/// Deletions at once, which share commits.
const AT_ONCE: usize = 64;

const SELECTION: Selection =
    Selection { states: &[TaskState::Completed, TaskState::Failed, TaskState::Cancelled], words: "finished" };

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Deleted")]
struct DeletedView {
    /// Number of deleted tasks; in a dry run, number of matching tasks.
    deleted: u64,
    dry_run: bool,
    /// Cursor with which another request continues; `null` if all matching tasks were handled.
    next: Option<String>,
    /// Why it stopped; `null` if it handled as many as it was to.
    stopped_by: Option<StopReasonView>,
}

pub(crate) async fn delete_many(
    State(api): State<Api>,
    Sender(sender): Sender,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    let mut bulk = SELECTION.check(&params)?;
    filter::within(&mut bulk.filter, &sender);
    let dry_run = bulk.dry_run;
    let mut view = DeletedView { deleted: 0, dry_run, next: None, stopped_by: None };
    let stopped = delete(&api, bulk, &mut view).await.err();
    match stopped {
        Some(problem) if view.deleted == 0 => Err(problem),
        stopped => {
            view.stopped_by = stopped.map(StopReasonView::from);
            Ok((Extension(AuditDetails::count(view.deleted)), Json(view)))
        }
    }
}

/// Deletes until all matching tasks are gone, or as many as the request asked for.
async fn delete(api: &Api, bulk: BulkParams, view: &mut DeletedView) -> Result<(), Problem> {
    let BulkParams { filter, dry_run, limit, mut before } = bulk;
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0 {
        let step = usize::try_from(left).map_or(STEP_TASKS, |left| left.min(STEP_TASKS));
        let (ids, next) = api.store.find(filter.clone(), before, step).await?;
        left -= ids.len() as u64;
        if dry_run {
            view.deleted += ids.len() as u64;
        } else {
            delete_each(api, ids, &mut view.deleted).await?;
        }
        view.next = next.map(|next| next.to_string());
        if next.is_none() {
            break;
        }
        before = next;
    }
    Ok(())
}

/// Deletes these tasks, and counts those that nobody else has deleted meanwhile, also if one fails.
async fn delete_each(api: &Api, ids: Vec<TaskId>, deleted: &mut u64) -> Result<(), Problem> {
    let remove = |id| api.scheduler.remove_within(id, Duration::ZERO);
    let mut removed = stream::iter(ids).map(remove).buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some(outcome) = removed.next().await {
        match outcome {
            Ok(was) => *deleted += u64::from(was.is_some()),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

pub(crate) fn spec() -> Operation {
    let answer = ResponseSpec::json::<DeletedView>(
        "The matching tasks are deleted, with their results and logs.",
        json!({"deleted": 412, "dry_run": false, "next": null, "stopped_by": null}),
    );
    let operation = Operation::post("/task/delete", "deleteTasks", "Delete all finished tasks that match").detail(
        "Selects completed, failed and cancelled tasks unless `state` is given; a task that has not finished is never \
         selected. Requires either a filter or `all=true`. With `limit` it deletes a part, the newest first, and `next` \
         is the `cursor` of the next request. If it has to stop, `stopped_by` says why; if nothing was deleted by then, \
         the response is that problem.",
    );
    SELECTION.add_parameters(operation).responds(200, answer).problems(&kind::STORE_ACCESS)
}
