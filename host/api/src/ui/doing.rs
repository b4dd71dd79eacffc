//! `POST /ui/do`: does what a button says, and shows the page that has changed.
//!
//! Each action is a request to the REST interface, which checks whether the reader may.

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream;
use serde::Deserialize;
use wasmill_ui::Filters;
use wasmill_ui::act::{Action, Ask, TYPED_ABOVE, Target, page};

use crate::http::browser::redirect;
use crate::problem::Problem;
use crate::problem::field_errors::FieldError;
use crate::ui::act::{back, request, unknown_action};
use crate::ui::form::{Form, once};
use crate::ui::page::{View, html};
use crate::ui::problem::shown;
use crate::ui::rest::{Rest, encoded};

/// Tasks that one form may name, and how many requests for them run at once.
const IDS_MAX: usize = 1_000;
const AT_ONCE: usize = 8;

pub(crate) async fn act(view: View, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let form = Form::read(&view.api.config.body, &headers, body).await?;
    let name = form.require("action")?;
    if let Some(location) = at_once(&view.rest, name, &form).await? {
        return Ok(redirect(&location));
    }
    let action = Action::named(name).ok_or_else(unknown_action)?;
    let done = match action {
        Action::DeletePlugin => delete(&view.rest, "/plugins", "plugins", action, &form).await,
        Action::DeleteSchedule => delete(&view.rest, "/schedules", "schedules", action, &form).await,
        _ if form.get("select").is_some() => all(&view.rest, action, &form).await,
        _ => each(&view.rest, action, &form).await,
    };
    match done {
        Ok(location) => Ok(redirect(&location)),
        // Why it was not done stands above the button, and nothing that was entered is lost.
        Err(problem) => Ok(ask_again(&view, action, &form, &problem).await),
    }
}

/// Does what needs no question, and returns the page to show.
async fn at_once(rest: &Rest, action: &str, form: &Form) -> Result<Option<String>, Problem> {
    let name = || form.require("name").map(encoded);
    let (path, location) = match action {
        "pause" => ("/pause".to_owned(), "./?did=pause".to_owned()),
        "resume" => ("/resume".to_owned(), "./?did=resume".to_owned()),
        "pause-plugin" => (format!("/plugins/{}/pause", name()?), "plugins?did=pause".to_owned()),
        "resume-plugin" => (format!("/plugins/{}/resume", name()?), "plugins?did=resume".to_owned()),
        "pause-schedule" => (format!("/schedules/{}/pause", name()?), "schedules?did=pause".to_owned()),
        "resume-schedule" => (format!("/schedules/{}/resume", name()?), "schedules?did=resume".to_owned()),
        "run-schedule" => (format!("/schedules/{}/run", name()?), "schedules?did=run-schedule".to_owned()),
        "redeliver" => {
            let id = encoded(form.require("id")?);
            (format!("/task/{id}/webhook/retry"), format!("task/{id}/webhook?did=redeliver"))
        }
        _ => return Ok(None),
    };
    rest.send(Method::POST, &path, None, form.get("once")).await?;
    Ok(Some(location))
}

async fn delete(rest: &Rest, path: &str, page: &str, action: Action, form: &Form) -> Result<String, Problem> {
    let path = format!("{path}/{}", encoded(form.require("name")?));
    rest.send(Method::DELETE, &path, None, None).await?;
    Ok(format!("{page}?did={}", action.name()))
}

/// Does it to all tasks that match the filter.
async fn all(rest: &Rest, action: Action, form: &Form) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Done {
        #[serde(alias = "retried", alias = "cancelled", alias = "deleted")]
        tasks: u64,
        #[serde(default)]
        held: u64,
        #[serde(default)]
        refused: u64,
    }
    let filters = Filters::read(form.iter());
    check_typed(form)?;
    let path = with_grace(request(action, &filters)?, action, form);
    let done: Done = rest.post(&path, form.get("once")).await?;
    // Those that were counted before and are not among the others have ended by themselves, or are gone.
    let counted = form.get("count").and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
    let left = counted.saturating_sub(done.tasks).max(done.held + done.refused);
    let (count, left) = (done.tasks.to_string(), left.to_string());
    Ok(filters.href("tasks", &[("did", action.name()), ("n", &count), ("left", &left)]))
}

/// Checks that the number was typed, if there were many.
fn check_typed(form: &Form) -> Result<(), Problem> {
    let count = form.require("count")?;
    let is_many = count.parse::<u64>().map_or(true, |count| count > TYPED_ABOVE);
    if is_many && form.get("typed").map(str::trim) != Some(count) {
        let detail = format!("type {count}, the number of tasks, to continue");
        return Err(Problem::invalid_request(FieldError::parameter("typed", detail)));
    }
    Ok(())
}

/// Does it to each of these tasks.
async fn each(rest: &Rest, action: Action, form: &Form) -> Result<String, Problem> {
    let ids: Vec<_> = form.iter().filter(|(name, _)| *name == "id").map(|(_, id)| id).collect();
    if ids.is_empty() || ids.len() > IDS_MAX {
        let detail = format!("select 1 to {IDS_MAX} tasks");
        return Err(Problem::invalid_request(FieldError::parameter("id", detail)));
    }
    let request = |id: &str| {
        let id = encoded(id);
        match action {
            Action::Retry => (Method::POST, format!("/task/{id}/retry")),
            Action::Cancel => (Method::POST, with_grace(format!("/task/{id}/cancel"), action, form)),
            _ => (Method::DELETE, with_grace(format!("/task/{id}"), action, form)),
        }
    };
    let once = form.get("once").unwrap_or_default();
    let requests = ids.iter().map(|id| {
        let ((method, path), once) = (request(id), format!("{once}-{id}"));
        async move { rest.bytes(method, &path, None, Some(&once)).await }
    });
    let answers: Vec<_> = stream::iter(requests.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    if done == 0
        && let Some(Err(problem)) = answers.into_iter().next()
    {
        return Err(problem);
    }
    let (count, left) = (done.to_string(), (ids.len() - done).to_string());
    let more = [("did", action.name()), ("n", &count), ("left", &left)];
    let list = back(form.get("back"));
    let pairs: Vec<_> = form_urlencoded::parse(list.as_bytes()).into_owned().collect();
    let filters = Filters::read(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Ok(match ids.as_slice() {
        [id] if action == Action::Cancel && list.is_empty() => format!("task/{}?did=cancel", encoded(id)),
        _ => filters.href("tasks", &more),
    })
}

/// Adds the time to clean up, which a form has if it may stop guests.
fn with_grace(path: String, action: Action, form: &Form) -> String {
    match form.get("grace") {
        Some(grace) if matches!(action, Action::Cancel | Action::Delete) => {
            let separator = if path.contains('?') { '&' } else { '?' };
            format!("{path}{separator}grace={}", encoded(grace))
        }
        _ => path,
    }
}

/// Shows the question again, with why it was not done.
async fn ask_again(view: &View, action: Action, form: &Form, problem: &Problem) -> Response {
    let ids = || form.iter().filter(|(name, _)| *name == "id").map(|(_, id)| id.to_owned()).collect();
    let target = match (form.get("select"), form.get("name")) {
        (Some(_), _) => {
            let count = form.get("count").and_then(|count| count.parse().ok()).unwrap_or(0);
            Target::All(Filters::read(form.iter()), count)
        }
        (None, Some(name)) => Target::Named(name.to_owned()),
        (None, None) => Target::Ids(ids()),
    };
    let once = form.get("once").map_or_else(|| once(&view.api), str::to_owned);
    let ask = Ask { action, target, back: back(form.get("back")), once, problem: Some(shown(problem)) };
    let mut response = html(page(&ask).whole(&view.site().await));
    *response.status_mut() = problem.status();
    response
}
