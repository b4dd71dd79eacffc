//! `GET /ui/tasks`: the task list.

use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use wasmill_model::{Cause, TaskState};
use wasmill_ui::Filters;
use wasmill_ui::part::time::parse;
use wasmill_ui::record::{Counts, Plugin, Stats, Task};
use wasmill_ui::tasks::{TaskList, page};

use crate::http::browser::redirect;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::task::request::filter;
use crate::ui::page::{View, spec as page_spec};
use crate::ui::problem::shown;
use crate::ui::rest::{collect, read};
use crate::view::time::Rfc3339;

/// Tasks of a page.
const LIMIT: usize = 100;

pub(crate) fn spec() -> Operation {
    let page = page_spec("/ui/tasks").parameter("cursor").parameter("anchor");
    filter::add_parameters(page, &TaskState::ALL)
}

pub(crate) async fn tasks(view: View) -> Result<Response, Problem> {
    let filters = Filters::read(view.params.iter());
    let is_clean = view.params.iter().all(|(_, value)| !value.trim().is_empty());
    if !is_clean {
        // A form sends all its fields; the URL says only what filters.
        return Ok(redirect(&filters.href("tasks", &[])));
    }
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let list = match list(&view, &filters).await {
        Ok(list) => list,
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            TaskList { filters, problem: Some(shown(&problem)), ..TaskList::default() }
        }
        Err(problem) => return Err(problem),
    };
    let site = view.site().await;
    Ok(view.show(turn, &site, &page(&site, &list)))
}

async fn list(view: &View, filters: &Filters) -> Result<TaskList, Problem> {
    let cursor = view.param("cursor");
    let anchor = view.param("anchor").filter(|anchor| cursor.is_none() && parse(anchor).is_some());
    let limit = LIMIT.to_string();
    let mut more = vec![("limit", limit.as_str())];
    more.extend(cursor.map(|cursor| ("cursor", cursor)));
    let anchored = match anchor {
        Some(anchor) if filters.get("created_before").is_none() => filters.with("created_before", anchor),
        _ => filters.clone(),
    };
    let (tasks, next) = records(view, &anchored.href("/task", &more)).await?;
    let anchor = match (anchor, tasks.first()) {
        (Some(anchor), _) => anchor.to_owned(),
        (None, Some(newest)) => just_after(&newest.created_at),
        (None, None) => Rfc3339(view.api.clock.now()).to_string(),
    };
    let newer = if cursor.is_none() && view.param("anchor").is_some() {
        newer(view, filters, &anchor).await?
    } else {
        (0, false)
    };
    let plugins: Vec<Plugin> = view.rest.get("/plugins").await?;
    Ok(TaskList {
        counts: counts(view, filters).await?,
        filters: filters.clone(),
        tasks,
        next,
        cursor: cursor.map(str::to_owned),
        anchor,
        newer,
        plugins: plugins.into_iter().map(|plugin| plugin.name).collect(),
        causes: Cause::ALL.iter().map(|cause| cause.kind()).collect(),
        problem: None,
    })
}

/// Gets a page of tasks, and the cursor of the next one.
pub(crate) async fn records(view: &View, path: &str) -> Result<(Vec<Task>, Option<String>), Problem> {
    let response = view.rest.send(Method::GET, path, None, None).await?;
    let link = response.headers().get(header::LINK).and_then(|link| link.to_str().ok());
    let next =
        link.and_then(|link| link.split("cursor=").nth(1)).and_then(|rest| rest.split(['&', '>']).next());
    let next = next.map(str::to_owned);
    Ok((read(&collect(response).await?)?, next))
}

/// Counts the tasks that were created since the page was opened, up to a page of them.
async fn newer(view: &View, filters: &Filters, anchor: &str) -> Result<(usize, bool), Problem> {
    if filters.get("created_before").is_some() {
        return Ok((0, false));
    }
    #[derive(Deserialize)]
    struct Any {}
    let limit = LIMIT.to_string();
    let path = filters.with("created_after", anchor).href("/task", &[("limit", &limit)]);
    let newer: Vec<Any> = view.rest.get(&path).await?;
    Ok((newer.len(), newer.len() == LIMIT))
}

/// Returns the counts beside the states, unless the filter says more than a state and a plugin.
async fn counts(view: &View, filters: &Filters) -> Result<Option<Counts>, Problem> {
    if view.is_bounded() || filters.iter().any(|(name, _)| name != "state" && name != "plugin") {
        return Ok(None);
    }
    let stats: Stats = view.rest.get("/stats").await?;
    Ok(Some(match filters.get("plugin") {
        Some(plugin) => stats.plugins.get(plugin).map(|counts| counts.stored).unwrap_or_default(),
        None => stats.stored,
    }))
}

/// Returns the first time after this one: `created_before` leaves its own time out.
fn just_after(time: &str) -> String {
    parse(time)
        .map_or_else(|| time.to_owned(), |time| Rfc3339(time + chrono::TimeDelta::nanoseconds(1)).to_string())
}
