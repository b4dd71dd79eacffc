//! `GET /ui/find`: what a text finds among tasks, plugins and schedules.
//!
//! Whether the text can be an id, a tag, a key or a group is for the interface to say: what it refuses finds nothing.

use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;
use wasmill_ui::Filters;
use wasmill_ui::find::{Found, FoundTasks, page};
use wasmill_ui::record::{Plugin, Schedule};
use wasmill_ui::shell::FIND_CHARS_MAX;

use crate::http::browser::redirect;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::ui::page::{View, spec as page_spec};
use crate::ui::tasks::records;

/// By what a task is found.
const FILTERS: [&str; 5] = ["q", "id_end", "unique_key", "tag", "group"];
/// Tasks, plugins and schedules of each kind.
const SHOWN_MAX: usize = 20;

pub(crate) fn spec() -> Operation {
    page_spec("/ui/find").parameter("text")
}

pub(crate) async fn find(view: View) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let text: String = view.param("text").unwrap_or_default().trim().chars().take(FIND_CHARS_MAX).collect();
    let found = if text.is_empty() { Found::default() } else { search(&view, text).await? };
    if let Some(only) = found.only() {
        return Ok(redirect(&only));
    }
    Ok(view.show(turn, &view.site().await, &page(&found)))
}

async fn search(view: &View, text: String) -> Result<Found, Problem> {
    let mut found = Found::default();
    for tasks in join_all(FILTERS.map(|name| tasks(view, name, &text))).await {
        found.tasks.extend(tasks?);
    }
    let part = text.to_lowercase();
    let plugins: Vec<Plugin> = view.rest.get("/plugins").await?;
    found.plugins =
        plugins.into_iter().filter(|plugin| plugin.name.contains(&part)).take(SHOWN_MAX).collect();
    if !view.is_bounded() {
        let schedules: Vec<Schedule> = view.rest.get("/schedules").await?;
        let fits = schedules.into_iter().filter(|schedule| schedule.name.contains(&part));
        found.schedules = fits.take(SHOWN_MAX).collect();
    }
    Ok(Found { text, ..found })
}

/// Finds tasks by one filter; `None` if it finds none, or cannot be given this text.
async fn tasks(view: &View, name: &str, text: &str) -> Result<Option<FoundTasks>, Problem> {
    let filters = Filters::default().with(name, text);
    let limit = SHOWN_MAX.to_string();
    match records(view, &filters.href("/task", &[("limit", &limit)])).await {
        Ok((tasks, next)) => {
            let has_more = next.is_some();
            Ok((has_more || !tasks.is_empty()).then_some(FoundTasks { filters, tasks, has_more }))
        }
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
        Err(problem) => Err(problem),
    }
}
