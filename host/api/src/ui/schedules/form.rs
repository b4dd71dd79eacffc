//! `GET` and `POST /ui/schedule`: a schedule from a form, and the same form again if it was refused.

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde_json::json;
use wasmill_ui::record::Schedule;
use wasmill_ui::schedules::{ScheduleForm, edit};
use wasmill_ui::submit::Request;

use crate::http::browser::redirect;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::ui::form::Form;
use crate::ui::page::{View, html, spec as page_spec};
use crate::ui::problem::shown;
use crate::ui::rest::{Sent, encoded};
use crate::ui::submit::request::{self, Plugins, problem};

pub(crate) fn spec() -> Operation {
    page_spec("/ui/schedule").parameter("name").parameter("plugin")
}

/// Shows the form of a new schedule, or of the one that is named.
pub(crate) async fn show(view: View) -> Result<Response, Problem> {
    let mut form = match view.param("name") {
        Some(name) => stored(view.rest.get(&format!("/schedules/{}", encoded(name))).await?),
        None => ScheduleForm::default(),
    };
    if let Some(plugin) = view.param("plugin") {
        plugin.clone_into(&mut form.request.plugin);
    }
    let plugins = Plugins::get(&view).await?;
    plugins.complete(&view, &mut form.request).await?;
    form.plugins = plugins.names();
    let site = view.site().await;
    Ok(view.show(None, &site, &edit(&site, &form)))
}

fn stored(schedule: Schedule) -> ScheduleForm {
    let Schedule { name, cron, timezone, missed, overlap, task, plugin, .. } = schedule;
    let mut request = Request::of_json(task.as_ref().map_or("{}", |task| task.get()));
    if request.plugin.is_empty() {
        // A request may leave it out.
        request.plugin = plugin;
    }
    let form = ScheduleForm::default();
    ScheduleForm { name, is_stored: true, cron, timezone, missed, overlap, request, ..form }
}

/// Stores a schedule, as `PUT /schedules/{schedule}` does.
pub(crate) async fn put(view: View, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let form = Form::read(&view.api.config.body, &headers, body).await?;
    let plugins = Plugins::get(&view).await?;
    let sent = request::read(&view, &plugins, &form).await?;
    let text = |name: &str| form.get(name).unwrap_or_default().trim().to_owned();
    let mut entered = ScheduleForm {
        name: text("name"),
        is_stored: form.get("stored").is_some(),
        cron: text("cron"),
        timezone: text("timezone"),
        missed: text("missed"),
        overlap: form.get("overlap").is_some(),
        request: sent.request,
        plugins: plugins.names(),
        problem: None,
    };
    let site = view.site().await;
    let Some(json) = sent.json else { return Ok(view.show(None, &site, &edit(&site, &entered))) };
    let done = match json {
        Ok(task) => store(&view, &entered, &task).await,
        Err(wrong) => Err(problem(wrong, "/task")),
    };
    match done {
        Ok(()) => Ok(redirect("schedules?did=put-schedule")),
        Err(problem) => {
            entered.problem = Some(shown(&problem));
            let mut response = html(edit(&site, &entered).whole(&site));
            *response.status_mut() = problem.status();
            Ok(response)
        }
    }
}

async fn store(view: &View, entered: &ScheduleForm, task: &str) -> Result<(), Problem> {
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
