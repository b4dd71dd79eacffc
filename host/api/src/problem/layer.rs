//! The layers that answer with problems: for panics, for errors of libraries, for requests that match no route.

use std::any::Any;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use crate::problem::Problem;
use crate::problem::field_errors::truncated_quote;
use crate::problem::kind;
use crate::ui;

/// Serializes problems, and replaces the error responses of libraries.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let is_page = ui::is_page(request.method(), uri.path());
    if percent_decode_str(uri.path()).decode_utf8().is_err() {
        return invalid_path().to_response(uri.path());
    }
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>();
    if problem.is_none() && response.extensions().get::<ui::Rendered>().is_some() {
        return response;
    }
    let problem = problem.unwrap_or_else(|| {
        let title = status.canonical_reason().unwrap_or("Error");
        Problem::new(status, "http", title, title.to_lowercase())
    });
    let mut finished = if is_page {
        ui::problem_page(&problem, uri.path(), response.extensions().get())
    } else {
        problem.to_response(uri.path())
    };
    // Such as `Allow`, which a 405 requires.
    keep_headers(response.headers(), finished.headers_mut());
    finished
}

fn keep_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        if !to.contains_key(name) && name != header::CONTENT_LENGTH {
            to.insert(name, value.clone());
        }
    }
}

pub(crate) async fn unknown_route(uri: Uri) -> Problem {
    let detail = format!("no route matches {}", truncated_quote(uri.path()));
    Problem::of(kind::UNKNOWN_ROUTE, detail)
}

/// Creates the response to a request with a method that its route does not have; `allowed` lists the others.
pub(crate) fn method_not_allowed(request: &Request, allowed: Option<&str>) -> Problem {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let mut detail =
        format!("method {} is not allowed for {}", truncated_quote(method), truncated_quote(path));
    if let Some(allowed) = allowed {
        detail.push_str(&format!("; it takes {allowed}"));
    }
    Problem::of(kind::METHOD_NOT_ALLOWED, detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message, "endpoint panicked");
    Problem::internal().into_response()
}

fn invalid_path() -> Problem {
    Problem::of(kind::INVALID_PATH, "the percent-decoded path is not valid UTF-8")
}
