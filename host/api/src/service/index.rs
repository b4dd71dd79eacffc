//! `GET /`: names the server and links its documentation.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::http::browser::{accepts_html, redirect};
use crate::openapi::{Operation, ResponseSpec};

/// The server and its documentation.
#[derive(Serialize, JsonSchema)]
struct Index {
    name: &'static str,
    version: &'static str,
    /// Path of the documentation for people.
    docs: &'static str,
    /// Path of the OpenAPI document.
    openapi: &'static str,
}

/// The paths are relative, so that a proxy may serve the API below a path of its own.
const INDEX: Index =
    Index { name: "wasmill", version: env!("CARGO_PKG_VERSION"), docs: "docs", openapi: "openapi.json" };

pub(crate) async fn index(headers: HeaderMap) -> Response {
    if accepts_html(&headers) {
        return redirect("ui/");
    }
    Json(INDEX).into_response()
}

pub(crate) fn spec() -> Operation {
    let example = json!({"name": "wasmill", "version": "0.1.0", "docs": "docs", "openapi": "openapi.json"});
    let index = ResponseSpec::json::<Index>("The version, and the paths of the API documentation.", example);
    let dashboard = ResponseSpec::empty("The client accepts `text/html`: the dashboard is at `ui/`.");
    Operation::get("/", "getIndex", "Show the server's version and links")
        .responds(200, index)
        .responds(303, dashboard)
}
