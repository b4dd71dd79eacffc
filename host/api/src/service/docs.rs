//! `GET /docs`: an HTML viewer of the OpenAPI document, with a form to try each route.
//!
//! The viewer is embedded in the binary, so it works offline; `viewer/update.sh` replaces its version. Its
//! content security policy allows requests to this server only.

use axum::http::header;
use axum::response::IntoResponse;

use crate::openapi::{Operation, ResponseSpec};

const PAGE: &str = include_str!("../../viewer/docs.html");

/// OpenAPI Explorer as one file, of the version in `viewer/VERSION`.
const VIEWER: &[u8] = include_bytes!("../../viewer/openapi-explorer.min.js.gz");

/// Only this server. The viewer sets inline styles, and has arrows in data URLs.
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

/// Serves the viewer, always gzipped: every browser accepts that.
pub(crate) async fn viewer() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CONTENT_ENCODING, "gzip"),
        (header::CACHE_CONTROL, "max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, VIEWER)
}

pub(crate) fn spec() -> Operation {
    Operation::get("/docs", "getApiViewer", "Open the API documentation in a browser")
        .responds(200, ResponseSpec::text("An HTML page that loads nothing from elsewhere.", "text/html"))
}

pub(crate) fn viewer_spec() -> Operation {
    Operation::get(
        "/docs/openapi-explorer.js",
        "getApiViewerScript",
        "Get the script of the documentation page",
    )
    .responds(200, ResponseSpec::text("OpenAPI Explorer, gzipped.", "text/javascript"))
}
