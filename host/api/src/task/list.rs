//! `GET /task`: lists tasks that match a filter, newest first, in pages.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use serde_json::json;
use wasmill_access::Identity;
use wasmill_model::TaskState;
use wasmill_store::{Cursor, Filter, ListQuery, Page};

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
pub(crate) const LIMIT_MAX: usize = 1_000;

pub(crate) async fn list(
    State(api): State<Api>,
    Sender(sender): Sender,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    let mut query = check(&params)?;
    filter::within(&mut query.filter, &sender);
    let limit = query.limit;
    let filter = filter::parameters(&query.filter);
    let page = api.store.list(query).await?;
    Ok(page_response(&api, &sender, page, |next| format!("/task?limit={limit}&cursor={next}{filter}")))
}

/// Responds with a page of tasks, and a link to the next one.
pub(crate) fn page_response(
    api: &Api,
    sender: &Identity,
    page: Page,
    next_path: impl FnOnce(Cursor) -> String,
) -> (HeaderMap, Json<Vec<TaskView>>) {
    let now = api.clock.now();
    let mut headers = HeaderMap::new();
    if let Some(next) = page.next {
        let link = format!("<{}>; rel=\"next\"", next_path(next));
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
    }
    let records: Vec<_> =
        page.tasks.into_iter().map(|task| TaskView::new(shown_to(sender, task), now)).collect();
    (headers, Json(records))
}

fn check(params: &Params) -> Result<ListQuery, Problem> {
    let mut run_check = ListQuery { limit: LIMIT_MAX, before: None, filter: Filter::default() };
    let mut errors = FieldErrors::default();
    for (name, value) in params.iter() {
        match name {
            "limit" => take_limit(&mut run_check.limit, value, &mut errors),
            "cursor" => take_cursor(&mut run_check.before, value, &mut errors),
            name => filter::take(&mut run_check.filter, name, value, &mut errors),
        }
    }
    Problem::reject_errors(errors, run_check)
}

/// Parses the size of a page.
pub(crate) fn take_limit(limit: &mut usize, value: &str, errors: &mut FieldErrors) {
    match whole_number(value).and_then(|limit| usize::try_from(limit).ok()) {
        Some(given) if (1..=LIMIT_MAX).contains(&given) => *limit = given,
        _ => {
            let detail = format!("limit must be an integer from 1 to {LIMIT_MAX}");
            errors.push(FieldError::parameter("limit", detail));
        }
    }
}

/// Parses the cursor of a page.
pub(crate) fn take_cursor(before: &mut Option<Cursor>, value: &str, errors: &mut FieldErrors) {
    match value.parse() {
        Ok(cursor) => *before = Some(cursor),
        Err(_) => {
            let detail = "cursor must come from the Link header of an earlier page";
            errors.push(FieldError::parameter("cursor", detail));
        }
    }
}

/// Documents the parameters of a page.
pub(crate) fn add_page_parameters(operation: Operation) -> Operation {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_MAX});
    let cursor = json!({"type": "string", "pattern": "^0*[0-9A-Fa-f]{1,32}$"});
    operation.query("limit", "Maximum number of tasks in a page.", &limit).query(
        "cursor",
        "Cursor from the `Link` of an earlier page.",
        &cursor,
    )
}

pub(crate) fn spec() -> Operation {
    let page = ResponseSpec::json::<Vec<TaskView>>("A page of tasks.", json!([view::example()]))
        .optional_header(
            "Link",
            "Link to the next page; missing on the last one.",
            "^</task\\?limit=[0-9]+&cursor=[^>]+>; rel=\"next\"$",
        );
    let operation = Operation::get("/task", "listTasks", "List tasks, newest first").detail(
        "A page of a filtered list may hold fewer than `limit` tasks, even none, before the last page: \
             continue as long as there is a `Link`.",
    );
    filter::add_parameters(add_page_parameters(operation), &TaskState::ALL)
        .responds(200, page)
        .problems(&[kind::INVALID_REQUEST])
        .problems(&kind::STORE_ACCESS)
}
