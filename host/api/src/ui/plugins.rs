//! `GET /ui/plugins` and `POST /ui/upload`: the plugins, and another one.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use wasmill_ui::plugins::{Plugins, one, page};
use wasmill_ui::record::History;

use crate::http::body::read_upload;
use crate::http::browser::redirect;
use crate::http::multipart;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::field_errors::FieldError;
use crate::ui::page::{View, html, spec as page_spec};
use crate::ui::problem::shown;
use crate::ui::rest::{Sent, encoded, read};

/// Samples of ten seconds in an hour.
const SAMPLES: usize = 360;

pub(crate) async fn plugins(view: View) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let plugins = Plugins { plugins: view.rest.get("/plugins").await?, ..Plugins::default() };
    let site = view.site().await;
    Ok(view.show(turn, &site, &page(&site, &plugins)))
}

pub(crate) fn one_spec() -> Operation {
    page_spec("/ui/plugin").parameter("name")
}

/// `GET /ui/plugin`: one plugin, with the charts of its last hour.
pub(crate) async fn plugin(view: View) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let name = encoded(view.param("name").unwrap_or_default());
    let plugin = view.rest.get(&format!("/plugins/{name}")).await?;
    // The numbers of a plugin are of all its tasks, and not for those who reach a part of them.
    let history: Option<History> = if view.is_bounded() {
        None
    } else {
        Some(view.rest.get(&format!("/stats/history?plugin={name}&limit={SAMPLES}")).await?)
    };
    let site = view.site().await;
    Ok(view.show(turn, &site, &one(&site, &plugin, history.as_ref())))
}

/// Uploads a plugin, as `PUT /plugins/{name}` does.
pub(crate) async fn upload(view: View, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    // Before the body: nobody should send 128 MiB and then be refused.
    view.api.upload_limits.permits()?;
    view.require_plugins()?;
    let (bytes, boundary) = read_upload(&view.api.config.body, &headers, body).await?;
    let parts =
        multipart::read(&bytes, &boundary).ok_or_else(|| invalid("the form is not multipart/form-data"))?;
    let part = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.bytes.clone());
    let name = part("name").map(|name| String::from_utf8_lossy(&name).trim().to_owned()).unwrap_or_default();
    let is_check = part("check").is_some();
    let file = part("file").filter(|file| !file.is_empty());
    // A copy, so that the form leaves the budget of bodies before the file is counted as one.
    let [file, signature] = [file, part("signature").filter(|signature| !signature.is_empty())]
        .map(|part| part.map(|bytes| Bytes::copy_from_slice(&bytes)));
    drop((parts, bytes));
    let sent = match file {
        Some(bytes) if !name.is_empty() => {
            let sent = Sent { media_type: "application/wasm", bytes, signature };
            let path = format!("/plugins/{}?dry_run={is_check}", encoded(&name));
            view.rest.bytes(Method::PUT, &path, Some(sent), None).await
        }
        _ => Err(invalid("choose a file and give it a name")),
    };
    match sent {
        Ok(changes) if is_check => {
            let plugins = view.rest.get("/plugins").await?;
            let shown = Plugins { plugins, name, preview: Some(read(&changes)?), problem: None };
            let site = view.site().await;
            Ok(html(page(&site, &shown).whole(&site)))
        }
        Ok(_) => Ok(redirect("plugins?did=upload")),
        Err(problem) => {
            let plugins = view.rest.get("/plugins").await?;
            let site = view.site().await;
            let refused = Plugins { plugins, problem: Some(shown(&problem)), name, preview: None };
            let mut response = html(page(&site, &refused).whole(&site));
            *response.status_mut() = problem.status();
            Ok(response)
        }
    }
}

fn invalid(detail: &str) -> Problem {
    Problem::invalid_request(FieldError::body(detail))
}
