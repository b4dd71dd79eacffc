//! `GET` and `POST /ui/submit`: a task from a form, and the same form again if it was refused.

pub(crate) mod request;

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Deserialize;
use wasmill_ui::record::Task;
use wasmill_ui::submit::{Request, Submit, page};

use self::request::{Plugins, problem};
use crate::http::browser::redirect;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::ui::form::{Form, once};
use crate::ui::page::{View, html, spec as page_spec};
use crate::ui::problem::shown;
use crate::ui::rest::{Sent, encoded, read};

pub(crate) fn spec() -> Operation {
    page_spec("/ui/submit").parameter("plugin").parameter("like")
}

pub(crate) async fn show(view: View) -> Result<Response, Problem> {
    let mut request = match view.param("like") {
        Some(id) => like(&view, id).await?,
        None => Request::default(),
    };
    if let Some(plugin) = view.param("plugin") {
        plugin.clone_into(&mut request.plugin);
    }
    let plugins = Plugins::get(&view).await?;
    plugins.complete(&view, &mut request).await?;
    let submit = Submit { plugins: plugins.names(), request, once: once(&view.api), problem: None };
    let site = view.site().await;
    Ok(view.show(None, &site, &page(&site, &submit)))
}

/// Takes over what an earlier task was given.
async fn like(view: &View, id: &str) -> Result<Request, Problem> {
    let path = format!("/task/{}", encoded(id));
    let task: Task = view.rest.get(&path).await?;
    let input = view.rest.bytes(Method::GET, &format!("{path}/input"), None, None).await?;
    let options = [
        ("tags", task.tags.join(", ")),
        ("group", task.group.unwrap_or_default()),
        ("max_attempts", task.max_attempts.to_string()),
    ];
    let options = options.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(Request {
        plugin: task.plugin,
        input: String::from_utf8_lossy(&input).into_owned(),
        options: options.map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Request::default()
    })
}

pub(crate) async fn post(view: View, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let form = Form::read(&view.api.config.body, &headers, body).await?;
    let plugins = Plugins::get(&view).await?;
    let sent = request::read(&view, &plugins, &form).await?;
    let once = form.get("once").map_or_else(|| once(&view.api), str::to_owned);
    let mut submit = Submit { plugins: plugins.names(), request: sent.request, once, problem: None };
    let site = view.site().await;
    let Some(json) = sent.json else { return Ok(view.show(None, &site, &page(&site, &submit))) };
    let stored = match json {
        Ok(json) => send(&view, json, &submit.once).await,
        Err(wrong) => Err(problem(wrong, "")),
    };
    match stored {
        Ok(id) => Ok(redirect(&format!("task/{}?did=submit", encoded(&id)))),
        Err(problem) => {
            submit.problem = Some(shown(&problem));
            let mut response = html(page(&site, &submit).whole(&site));
            *response.status_mut() = problem.status();
            Ok(response)
        }
    }
}

async fn send(view: &View, request: String, once: &str) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Created {
        id: String,
    }
    let created = view.rest.bytes(Method::POST, "/task", Some(Sent::json(request)), Some(once)).await?;
    read::<Created>(&created).map(|created| created.id)
}
