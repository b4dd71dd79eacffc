//! `GET /docs`: the API document for people, with a form to try each route.
//!
//! The viewer is part of the binary, so that it works without the internet; `viewer/update.sh` brings
//! another version. It asks nobody but this server, which the policy of the page holds it to.

use axum::http::header;
use axum::response::IntoResponse;

use crate::openapi::{Answer, Operation};

const PAGE: &str = include_str!("../viewer/docs.html");

/// OpenAPI Explorer in one file; `viewer/VERSION` says which.
const VIEWER: &[u8] = include_bytes!("../viewer/openapi-explorer.min.js.gz");

/// Everything comes from here. The viewer styles its elements in place, and draws some arrows as data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE)
}

/// Answers with the viewer, always compressed: every browser takes that, and nobody else asks for it.
pub(crate) async fn viewer() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CONTENT_ENCODING, "gzip"),
        (header::CACHE_CONTROL, "max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, VIEWER)
}

pub(crate) fn about() -> Operation {
    Operation::get("/docs", "getApiViewer", "Show this document to people")
        .answers(200, Answer::text("A page that needs nothing but this server.", "text/html"))
}

pub(crate) fn about_viewer() -> Operation {
    Operation::get("/docs/openapi-explorer.js", "getApiViewerScript", "The script of the page")
        .answers(200, Answer::text("OpenAPI Explorer, compressed.", "text/javascript"))
}
