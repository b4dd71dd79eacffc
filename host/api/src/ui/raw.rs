//! `GET /ui/raw/{id}/result` and `/input`: the bytes that a guest or a client wrote, harmless wherever they are shown.
//!
//! The policy puts them into a sandbox with an origin of its own, which runs no script, sends no form and loads
//! nothing: in a frame of the dashboard as well as opened alone.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use wasmill_model::MediaType;
use wasmill_ui::record::Task;
use wasmill_ui::task::{Kind, kind_of};

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::kind;
use crate::ui::page::View;
use crate::ui::rest::encoded;

/// Types that browsers show and never run.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

const SANDBOX: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; \
    frame-ancestors 'self'";

pub(crate) fn spec(path: &'static str) -> Operation {
    Operation::page(path).parameter("download")
}

pub(crate) async fn result(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    let path = format!("/task/{}", encoded(&id));
    let task: Task = view.rest.get(&path).await?;
    let result = task.result.ok_or_else(|| {
        let detail = format!("task {} has no result", task.id);
        Problem::of(kind::UNKNOWN_ROUTE, detail)
    })?;
    let name = format!("result-{}", task.id);
    let decoded = task.result_encoding.and_then(|_| BASE64.decode(result.as_bytes()).ok());
    Ok(match decoded {
        Some(bytes) => raw_bytes(&view, bytes, task.result_type.as_deref(), &name),
        None => raw(&view, result, &name),
    })
}

/// Shows a picture as one; other bytes are stored.
fn raw_bytes(view: &View, bytes: Vec<u8>, media_type: Option<&str>, name: &str) -> Response {
    let picture = media_type.filter(|media| PICTURES.contains(media));
    let headers = [
        (header::CONTENT_TYPE, picture.unwrap_or(MediaType::BYTES)),
        (header::CONTENT_SECURITY_POLICY, SANDBOX),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut headers = HeaderMap::from_iter(
        headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))),
    );
    if (picture.is_none() || view.param("download").is_some())
        && let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\""))
    {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    (headers, bytes).into_response()
}

pub(crate) async fn input(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    let path = format!("/task/{}/input", encoded(&id));
    let input = view.rest.bytes(Method::GET, &path, None, None).await?;
    let name = format!("input-{}", encoded(&id));
    Ok(raw(&view, String::from_utf8_lossy(&input).into_owned(), &name))
}

/// Only as a file: nobody knows what it is but its guest.
pub(crate) async fn checkpoint(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    let path = format!("/task/{}/checkpoint", encoded(&id));
    let bytes = view.rest.bytes(Method::GET, &path, None, None).await?;
    let name = format!("attachment; filename=\"checkpoint-{}.bin\"", encoded(&id));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ];
    Ok((headers, bytes).into_response())
}

fn raw(view: &View, text: String, name: &str) -> Response {
    let (media_type, extension) = match kind_of(&text) {
        Kind::Json => ("application/json", "json"),
        Kind::Svg => ("image/svg+xml", "svg"),
        Kind::Html => ("text/html; charset=utf-8", "html"),
        Kind::Text => ("text/plain; charset=utf-8", "txt"),
    };
    let headers = [(header::CONTENT_TYPE, media_type), (header::CONTENT_SECURITY_POLICY, SANDBOX)];
    let mut response = (headers, text).into_response();
    if view.param("download").is_some()
        && let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}.{extension}\""))
    {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}
