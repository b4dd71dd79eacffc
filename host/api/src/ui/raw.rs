//! `GET /ui/raw/{id}/result`, `/input` and `/checkpoint`: the bytes that a guest or a client wrote, harmless wherever
//! they are shown.
//!
//! The policy puts them into a sandbox with an origin of its own, which runs no script, sends no form and loads
//! nothing: in a frame of the dashboard as well as opened alone. What browsers do not just show is stored.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use wasmill_model::MediaType;
use wasmill_ui::record::Task;
use wasmill_ui::task::{Content, kind_of};

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::kind;
use crate::ui::page::View;
use crate::ui::rest::encoded;
use crate::ui::task::take_result;

const SANDBOX: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; \
    frame-ancestors 'self'";

pub(crate) fn spec(path: &'static str) -> Operation {
    Operation::page(path).parameter("download")
}

pub(crate) async fn result(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    let path = format!("/task/{}", encoded(&id));
    let mut task: Task = view.rest.get(&path).await?;
    let content = take_result(&mut task).ok_or_else(|| {
        let detail = format!("task {} has no result", task.id);
        Problem::of(kind::UNKNOWN_ROUTE, detail)
    })?;
    Ok(raw(&view, content, &format!("result-{}", task.id)))
}

pub(crate) async fn input(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    part(&view, &id, "input").await
}

pub(crate) async fn checkpoint(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    part(&view, &id, "checkpoint").await
}

async fn part(view: &View, id: &str, part: &str) -> Result<Response, Problem> {
    let id = encoded(id);
    let bytes = view.rest.bytes(Method::GET, &format!("/task/{id}/{part}"), None, None).await?;
    Ok(raw(view, Content { bytes: bytes.to_vec(), media: None }, &format!("{part}-{id}")))
}

fn raw(view: &View, content: Content, name: &str) -> Response {
    let kind = kind_of(&content);
    let headers = [
        (header::CONTENT_TYPE, kind.media().unwrap_or(MediaType::BYTES)),
        (header::CONTENT_SECURITY_POLICY, SANDBOX),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut headers =
        HeaderMap::from_iter(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if (kind.media().is_none() || view.param("download").is_some())
        && let Ok(value) =
            HeaderValue::try_from(format!("attachment; filename=\"{name}.{}\"", kind.extension()))
    {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    (headers, content.bytes).into_response()
}
