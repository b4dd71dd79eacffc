//! `GET /ui/act`: asks before something is done, and says to how many tasks.

use std::collections::BTreeMap;

use axum::response::Response;
use serde::Deserialize;
use wasmill_model::TaskState;
use wasmill_ui::Filters;
use wasmill_ui::act::{Action, Ask, Target, page};
use wasmill_ui::record::Stats;

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::field_errors::FieldError;
use crate::task::request::filter;
use crate::ui::form::once;
use crate::ui::page::{View, spec as page_spec};
use crate::ui::rest::Rest;

pub(crate) fn spec() -> Operation {
    let page = page_spec("/ui/act");
    let page = ["action", "select", "back", "name"].into_iter().fold(page, Operation::parameter);
    filter::add_parameters(page.parameters("id"), &TaskState::ALL)
}

pub(crate) async fn ask(view: View) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let action = view.param("action").and_then(Action::named).ok_or_else(unknown_action)?;
    let target = match (view.param("select"), view.param("name")) {
        (Some(_), _) => {
            let filters = Filters::read(view.params.iter());
            let count = match known(&view, action, &filters).await? {
                Some(count) => count,
                None => count(&view.rest, action, &filters).await?,
            };
            Target::All(filters, count)
        }
        (None, Some(name)) => Target::Named(name.to_owned()),
        (None, None) => {
            let ids = view.params.iter().filter(|(name, _)| *name == "id");
            Target::Ids(ids.map(|(_, id)| id.to_owned()).collect())
        }
    };
    let back = match &target {
        Target::All(filters, _) => filters.query(),
        _ => back(view.param("back")),
    };
    let ask = Ask { action, target, back, once: once(&view.api), problem: None };
    Ok(view.show(turn, &view.site().await, &page(&ask)))
}

/// Returns the query of the list to which to return; anything but a filter is dropped.
pub(crate) fn back(query: Option<&str>) -> String {
    let pairs: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    Filters::read(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))).query()
}

/// Returns the count that the server keeps of these tasks, so that a page costs the same however many they are: of finished
/// tasks by state and plugin, of one host. Several hosts learn of each other's tasks a moment later.
async fn known(view: &View, action: Action, filters: &Filters) -> Result<Option<u64>, Problem> {
    let is_counted = filters.iter().all(|(name, _)| matches!(name, "state" | "plugin"));
    if !is_counted || view.is_bounded() || view.api.store.hosts().await.is_ok_and(|hosts| hosts.len() > 1) {
        return Ok(None);
    }
    let states = match (filters.get("state"), action) {
        (states, Action::Retry) if view.rights.submit => states.unwrap_or("failed"),
        (states, Action::Delete) if view.rights.cancel => states.unwrap_or("completed,failed,cancelled"),
        // Who may not do it gets to know why from the interface.
        _ => return Ok(None),
    };
    let stats: Stats = view.rest.get("/stats").await?;
    let stored = match filters.get("plugin") {
        Some(plugin) => stats.plugins.get(plugin).map(|counts| counts.stored).unwrap_or_default(),
        None => stats.stored,
    };
    let mut named = BTreeMap::new();
    for state in states.split(',') {
        let tasks = match state {
            "completed" => stored.completed,
            "failed" => stored.failed,
            "cancelled" => stored.cancelled,
            _ => return Ok(None),
        };
        named.insert(state, tasks);
    }
    Ok(Some(named.into_values().sum()))
}

/// Counts the tasks that an action would change now.
pub(crate) async fn count(rest: &Rest, action: Action, filters: &Filters) -> Result<u64, Problem> {
    #[derive(Deserialize)]
    struct Counted {
        #[serde(alias = "retried", alias = "cancelled", alias = "deleted")]
        tasks: u64,
    }
    let path = request(action, filters)?;
    let counted: Counted = rest.post(&format!("{path}&dry_run=true"), None).await?;
    Ok(counted.tasks)
}

/// Returns the request that does it to all tasks that match.
pub(crate) fn request(action: Action, filters: &Filters) -> Result<String, Problem> {
    let path = match action {
        Action::Retry => "/task/retry",
        Action::Cancel => "/task/cancel",
        Action::Delete => "/task/delete",
        _ => return Err(unknown_action()),
    };
    Ok(if filters.is_empty() { format!("{path}?all=true") } else { filters.href(path, &[]) })
}

pub(crate) fn unknown_action() -> Problem {
    Problem::invalid_request(FieldError::parameter("action", "action must be one that this page offers"))
}
