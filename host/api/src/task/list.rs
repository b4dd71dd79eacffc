//! `GET /task`: lists tasks that match a filter, newest first, in pages.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use serde_json::json;
use wasmill_model::TaskState;
use wasmill_store::{Filter, ListQuery};

use crate::http::authorize::Sender;
use crate::http::params::{Params, whole_number};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::state::Api;
use crate::task::request::filter;
use crate::view::task::{self as view, TaskView, shown_to};

/// Default and maximum page size.
const LIMIT_MAX: usize = 1_000;

pub(crate) async fn list(
    State(api): State<Api>,
    Sender(sender): Sender,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    let query = check(&params)?;
    let limit = query.limit;
    let filter = filter::parameters(&query.filter);
    let page = api.store.list(query).await?;
    let now = api.clock.now();
    let mut headers = HeaderMap::new();
    if let Some(next) = page.next {
        let link = format!("</task?limit={limit}&cursor={next}{filter}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
    }
    let records: Vec<_> =
        page.tasks.into_iter().map(|task| TaskView::new(shown_to(&sender, task), now)).collect();
    Ok((headers, Json(records)))
}

fn check(params: &Params) -> Result<ListQuery, Problem> {
    let mut run_check = ListQuery { limit: LIMIT_MAX, before: None, filter: Filter::default() };
    let mut errors = FieldErrors::default();
    for (name, value) in params.iter() {
        match name {
            "limit" => match whole_number(value).and_then(|limit| usize::try_from(limit).ok()) {
                Some(limit) if (1..=LIMIT_MAX).contains(&limit) => run_check.limit = limit,
                _ => {
                    let detail = format!("limit must be an integer from 1 to {LIMIT_MAX}");
                    errors.push(FieldError::parameter("limit", detail));
                }
            },
            "cursor" => match value.parse() {
                Ok(cursor) => run_check.before = Some(cursor),
                Err(_) => {
                    let detail = "cursor must come from the Link header of an earlier page";
                    errors.push(FieldError::parameter("cursor", detail));
                }
            },
            name => filter::take(&mut run_check.filter, name, value, &mut errors),
        }
    }
    Problem::reject_errors(errors, run_check)
}

pub(crate) fn spec() -> Operation {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_MAX});
    let cursor = json!({"type": "string", "pattern": "^0*[0-9A-Fa-f]{1,32}$"});
    let page = ResponseSpec::json::<Vec<TaskView>>("A page of tasks.", json!([view::example()]))
        .optional_header(
            "Link",
            "Link to the next page; missing on the last one.",
            "^</task\\?limit=[0-9]+&cursor=[^>]+>; rel=\"next\"$",
        );
    let operation = Operation::get("/task", "listTasks", "List tasks, newest first")
        .detail(
            "A page of a filtered list may hold fewer than `limit` tasks, even none, before the last page: \
             continue as long as there is a `Link`.",
        )
        .query("limit", "Maximum number of tasks in a page.", &limit)
        .query("cursor", "Cursor from the `Link` of an earlier page.", &cursor);
    filter::add_parameters(operation, &TaskState::ALL)
        .responds(200, page)
        .problems(&[kind::INVALID_REQUEST])
        .problems(&kind::STORE_ACCESS)
}
