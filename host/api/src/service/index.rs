//! `GET /`: names the server and links its documentation.

use axum::Json;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

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

pub(crate) async fn index() -> impl IntoResponse {
    Json(INDEX)
}

pub(crate) fn spec() -> Operation {
    let example = json!({"name": "wasmill", "version": "0.1.0", "docs": "docs", "openapi": "openapi.json"});
    Operation::get("/", "getIndex", "Show the server's version and links").responds(
        200,
        ResponseSpec::json::<Index>("The version, and the paths of the API documentation.", example),
    )
}
