//! `GET` and `POST /ui/submit`: a task from a form, and the same form again if it was refused.

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_ui::problem::FieldError;
use wasmill_ui::record::{Plugin, Task};
use wasmill_ui::schema;
use wasmill_ui::submit::{OPTIONS, Submit, page};

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
    let mut submit = Submit { once: once(&view.api), ..Submit::default() };
    if let Some(id) = view.param("like") {
        like(&view, id, &mut submit).await?;
    }
    if let Some(plugin) = view.param("plugin") {
        plugin.clone_into(&mut submit.plugin);
    }
    complete(&view, &mut submit).await?;
    let site = view.site().await;
    Ok(view.show(None, &site, &page(&site, &submit)))
}

/// Takes over what an earlier task was given.
async fn like(view: &View, id: &str, submit: &mut Submit) -> Result<(), Problem> {
    let path = format!("/task/{}", encoded(id));
    let task: Task = view.rest.get(&path).await?;
    let input = view.rest.bytes(Method::GET, &format!("{path}/input"), None, None).await?;
    submit.input = String::from_utf8_lossy(&input).into_owned();
    submit.plugin = task.plugin;
    let tags = task.tags.join(", ");
    let options = [
        ("tags", tags),
        ("group", task.group.unwrap_or_default()),
        ("max_attempts", task.max_attempts.to_string()),
    ];
    submit.options = options.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Ok(())
}

/// Adds the plugins, and the schema of the chosen one.
async fn complete(view: &View, submit: &mut Submit) -> Result<(), Problem> {
    let plugins: Vec<Plugin> = view.rest.get("/plugins").await?;
    submit.plugins =
        plugins.iter().filter(|plugin| plugin.kind.is_some()).map(|plugin| plugin.name.clone()).collect();
    submit.plugins.dedup();
    if submit.plugin.is_empty() {
        submit.plugin = submit.plugins.first().cloned().unwrap_or_default();
    }
    let has_schema = plugins.iter().any(|plugin| plugin.name == submit.plugin && plugin.has_schema);
    if has_schema {
        submit.schema = schema(view, &submit.plugin).await?;
    }
    Ok(())
}

/// Gets the schema of a plugin; `None` without one.
async fn schema(view: &View, plugin: &str) -> Result<Option<Value>, Problem> {
    match view.rest.get(&format!("/plugins/{}/schema", encoded(plugin))).await {
        Ok(schema) => Ok(Some(schema)),
        // It may have gone a moment ago, or be compiled again.
        Err(problem) if !matches!(problem.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Ok(None)
        }
        Err(problem) => Err(problem),
    }
}

pub(crate) async fn post(view: View, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let form = Form::read(&view.api.config.body, &headers, body).await?;
    let options = OPTIONS
        .iter()
        .filter_map(|(name, ..)| Some(((*name).to_owned(), form.get(&format!("option-{name}"))?.to_owned())));
    let mut submit = Submit {
        plugin: form.require("plugin")?.to_owned(),
        options: options.collect(),
        once: form.get("once").map_or_else(|| once(&view.api), str::to_owned),
        as_json: form.get("shown") == Some("json"),
        ..Submit::default()
    };
    complete(&view, &mut submit).await?;
    let entered = input(&form, &submit);
    submit.input =
        entered.as_ref().map_or_else(|_| form.get("input").unwrap_or_default().to_owned(), Clone::clone);
    if let Some(wanted) = form.get("view") {
        submit.as_json = wanted == "json";
        let site = view.site().await;
        return Ok(view.show(None, &site, &page(&site, &submit)));
    }
    let sent = match entered {
        Ok(input) => send(&view, &submit, &input).await,
        Err(problem) => Err(problem),
    };
    match sent {
        Ok(id) => Ok(redirect(&format!("task/{}?did=submit", encoded(&id)))),
        Err(problem) => {
            submit.problem = Some(shown(&problem));
            let site = view.site().await;
            let mut response = html(page(&site, &submit).whole(&site));
            *response.status_mut() = problem.status();
            Ok(response)
        }
    }
}

/// Returns the input as JSON.
fn input(form: &Form, submit: &Submit) -> Result<String, Problem> {
    let Some(fields) = submit.fields() else {
        return Ok(form.get("input").unwrap_or_default().trim().to_owned());
    };
    // The form that was sent was laid out for a value; an empty one has the same fields.
    let value = |name: &str| form.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let read = schema::read(&fields, &value);
    read.map(Option::unwrap_or_default).map_err(|FieldError { pointer, detail, .. }| {
        let pointer = format!("/input{}", pointer.unwrap_or_default());
        Problem::invalid_request(crate::problem::field_errors::FieldError::at(pointer, detail))
    })
}

async fn send(view: &View, submit: &Submit, input: &str) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Created {
        id: String,
    }
    let mut request = json!({"plugin": submit.plugin});
    for (name, value) in &submit.options {
        request[name] = match name.as_str() {
            "tags" => value.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect(),
            "webhook" => json!({"url": value}),
            "max_attempts" | "priority" => {
                value.trim().parse::<i64>().map_or_else(|_| json!(value), Value::from)
            }
            _ => json!(value.trim()),
        };
    }
    let mut request = request.to_string();
    if !input.is_empty() {
        // The input stays as it was written, numbers included.
        let input: &RawValue = serde_json::from_str(input).map_err(|error| Problem::invalid_json(&error))?;
        request = format!("{},\"input\":{input}}}", request.strip_suffix('}').unwrap_or_default());
    }
    let created =
        view.rest.bytes(Method::POST, "/task", Some(Sent::json(request)), Some(&submit.once)).await?;
    read::<Created>(&created).map(|created| created.id)
}
