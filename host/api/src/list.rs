//! `GET /task`: tasks, newest first, a page at a time, all or those that fit a filter.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use serde_json::json;
use wasmill_model::TaskState;
use wasmill_store::{Filter, ListQuery};

use crate::app::Api;
use crate::field_errors::{Fault, Faults};
use crate::filter;
use crate::openapi::{Answer, Operation};
use crate::params::{Params, whole_number};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::task_view::{self, Record};

/// How many tasks a page has unless asked otherwise, and at most.
const LIMIT_MAX: usize = 1_000;

pub(crate) async fn list(State(api): State<Api>, params: Params) -> Result<impl IntoResponse, Problem> {
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
    let records: Vec<_> = page.tasks.into_iter().map(|task| Record::new(task, now)).collect();
    Ok((headers, Json(records)))
}

fn check(params: &Params) -> Result<ListQuery, Problem> {
    let mut checked = ListQuery { limit: LIMIT_MAX, before: None, filter: Filter::default() };
    let mut faults = Faults::default();
    for (name, value) in params.iter() {
        match name {
            "limit" => match whole_number(value).and_then(|limit| usize::try_from(limit).ok()) {
                Some(limit) if (1..=LIMIT_MAX).contains(&limit) => checked.limit = limit,
                _ => {
                    let detail = format!("limit must be a whole number from 1 to {LIMIT_MAX}");
                    faults.push(Fault::parameter("limit", detail));
                }
            },
            "cursor" => match value.parse() {
                Ok(cursor) => checked.before = Some(cursor),
                Err(_) => {
                    let detail = "cursor must be taken from the Link header of an earlier page";
                    faults.push(Fault::parameter("cursor", detail));
                }
            },
            name => filter::take(&mut checked.filter, name, value, &mut faults),
        }
    }
    Problem::unless(faults, checked)
}

pub(crate) fn about() -> Operation {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_MAX});
    let cursor = json!({"type": "string", "pattern": "^0*[0-7]?[0-9A-Fa-f]{1,15}$"});
    let page = Answer::json::<Vec<Record>>("A page.", json!([task_view::example()])).optional_header(
        "Link",
        "Where the next page is; missing on the last one.",
        "^</task\\?limit=[0-9]+&cursor=[^>]+>; rel=\"next\"$",
    );
    let operation = Operation::get("/task", "listTasks", "List tasks, newest first")
        .detail(
            "A page of a filtered list may hold fewer than `limit`, even none, while there is more to \
             look through: go on as long as there is a `Link`.",
        )
        .query("limit", "How many tasks a page has at most.", &limit)
        .query("cursor", "Taken from the `Link` of an earlier page.", &cursor);
    filter::about(operation, &TaskState::ALL)
        .answers(200, page)
        .problems(&[kind::INVALID_REQUEST])
        .problems(&kind::OF_STORE)
}
