//! `GET /`: says what answers here, and where to read on.

use axum::Json;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::openapi::{Answer, Operation};

/// What answers here.
#[derive(Serialize, JsonSchema)]
struct Index {
    name: &'static str,
    version: &'static str,
    /// Where people read about the API.
    docs: &'static str,
    /// Where programs do.
    openapi: &'static str,
}

/// The paths are relative, so that a proxy may serve it all under a path of its own.
const INDEX: Index =
    Index { name: "wasmill", version: env!("CARGO_PKG_VERSION"), docs: "docs", openapi: "openapi.json" };

pub(crate) async fn index() -> impl IntoResponse {
    Json(INDEX)
}

pub(crate) fn about() -> Operation {
    let example = json!({"name": "wasmill", "version": "0.1.0", "docs": "docs", "openapi": "openapi.json"});
    Operation::get("/", "getIndex", "Say what this server is")
        .answers(200, Answer::json::<Index>("Its version, and where its API is described.", example))
}
