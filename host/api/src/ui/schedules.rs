//! `GET /ui/schedules` and `POST /ui/schedule`: the schedules, and another one.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futures_util::future::try_join_all;
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_ui::record::{Schedule, Task};
use wasmill_ui::schedules::{Entered, Schedules, page};

use crate::http::browser::redirect;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::ui::form::Form;
use crate::ui::page::{View, html, spec as page_spec};
use crate::ui::problem::shown;
use crate::ui::rest::{Sent, encoded};

/// Schedules whose tasks are shown, and how many of each: what a page costs does not grow with the schedules.
const WITH_TASKS: usize = 50;
const TASKS: usize = 20;

pub(crate) fn spec() -> Operation {
    page_spec("/ui/schedules").parameter("edit")
}

pub(crate) async fn schedules(view: View) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let entered = match view.param("edit") {
        Some(name) => entered(view.rest.get(&format!("/schedules/{}", encoded(name))).await?),
        None => Entered::default(),
    };
    let (schedules, tasks) = with_tasks(&view).await?;
    let shown = Schedules { schedules, tasks, entered, problem: None };
    let site = view.site().await;
    Ok(view.show(turn, &site, &page(&site, &shown)))
}

/// Gets the schedules, and the newest tasks of the first of them.
async fn with_tasks(view: &View) -> Result<(Vec<Schedule>, BTreeMap<String, Vec<Task>>), Problem> {
    let schedules: Vec<Schedule> = view.rest.get("/schedules").await?;
    let tasks = schedules.iter().take(WITH_TASKS).map(async |schedule| {
        let path = format!("/task?schedule={}&limit={TASKS}", encoded(&schedule.name));
        Ok::<_, Problem>((schedule.name.clone(), view.rest.get(&path).await?))
    });
    let tasks = try_join_all(tasks).await?.into_iter().collect();
    Ok((schedules, tasks))
}

fn entered(schedule: Schedule) -> Entered {
    let task = schedule.task.map_or_else(|| "{}".to_owned(), |task| task.get().to_owned());
    let Schedule { name, cron, timezone, missed, overlap, .. } = schedule;
    Entered { name, cron, timezone, task, missed, overlap }
}

/// Stores a schedule, as `PUT /schedules/{schedule}` does.
pub(crate) async fn put(view: View, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let form = Form::read(&view.api.config.body, &headers, body).await?;
    let text = |name: &str| form.get(name).unwrap_or_default().trim().to_owned();
    let entered = Entered {
        name: text("name"),
        cron: text("cron"),
        timezone: text("timezone"),
        task: text("task"),
        missed: text("missed"),
        overlap: form.get("overlap").is_some(),
    };
    match store(&view, &entered).await {
        Ok(()) => Ok(redirect("schedules?did=put-schedule")),
        Err(problem) => {
            let (schedules, tasks) = with_tasks(&view).await?;
            let refused = Schedules { schedules, tasks, entered, problem: Some(shown(&problem)) };
            let site = view.site().await;
            let mut response = html(page(&site, &refused).whole(&site));
            *response.status_mut() = problem.status();
            Ok(response)
        }
    }
}

async fn store(view: &View, entered: &Entered) -> Result<(), Problem> {
    let task = if entered.task.is_empty() { "{}" } else { &entered.task };
    let task: &RawValue = serde_json::from_str(task).map_err(|error| Problem::invalid_json(&error))?;
    let mut request = json!({"cron": entered.cron, "overlap": entered.overlap});
    for (name, value) in [("timezone", &entered.timezone), ("missed", &entered.missed)] {
        if !value.is_empty() {
            request[name] = json!(value);
        }
    }
    // The task stays as it was written, numbers included.
    let request = request.to_string();
    let request = format!("{},\"task\":{task}}}", request.strip_suffix('}').unwrap_or_default());
    let path = format!("/schedules/{}", encoded(&entered.name));
    view.rest.send(Method::PUT, &path, Some(Sent::json(request)), None).await.map(drop)
}
