//! `GET /openapi.json`: the OpenAPI document.

use axum::http::header;
use axum::response::IntoResponse;

use crate::openapi::{Operation, ResponseSpec};

pub(crate) fn spec() -> Operation {
    Operation::get("/openapi.json", "getApiDocument", "Get this document")
        .responds(200, ResponseSpec::any_json("The OpenAPI 3.1 document."))
}

/// Responds with the document.
pub(crate) fn openapi(document: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}
