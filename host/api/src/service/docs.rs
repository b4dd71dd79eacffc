//! `GET /docs`: an HTML viewer of the OpenAPI document, with a form to try each route.
//!
//! The viewer is Swagger UI, embedded in the binary by `build.rs`, so it works offline. Its content security policy
//! allows requests to this server only, and neither inline scripts nor inline styles.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::openapi::{Operation, ResponseSpec};

const PAGE: &str = include_str!("docs/page.html");

/// Only this server. The viewer has images in data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! gzipped {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz"))
    };
}

/// A file that the page loads.
#[derive(Clone, Copy)]
pub(crate) struct PageFile {
    path: &'static str,
    operation: &'static str,
    media_type: &'static str,
    is_gzipped: bool,
    bytes: &'static [u8],
}

/// The files that the page loads.
pub(crate) const FILES: [PageFile; 4] = [
    PageFile {
        path: "/docs/start.js",
        operation: "getApiViewerStart",
        media_type: "text/javascript",
        is_gzipped: false,
        bytes: include_bytes!("docs/start.js"),
    },
    PageFile {
        path: "/docs/swagger-ui.js",
        operation: "getApiViewerScript",
        media_type: "text/javascript",
        is_gzipped: true,
        bytes: gzipped!("swagger-ui-bundle.js"),
    },
    PageFile {
        path: "/docs/swagger-ui.css",
        operation: "getApiViewerStyle",
        media_type: "text/css",
        is_gzipped: true,
        bytes: gzipped!("swagger-ui.css"),
    },
    PageFile {
        path: "/docs/LICENSE",
        operation: "getApiViewerLicense",
        media_type: "text/plain",
        is_gzipped: true,
        bytes: gzipped!("LICENSE"),
    },
];

pub(crate) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, PAGE)
}

pub(crate) fn spec() -> Operation {
    Operation::get("/docs", "getApiViewer", "Open the API documentation in a browser")
        .responds(200, ResponseSpec::text("An HTML page that loads nothing from elsewhere.", "text/html"))
}

impl PageFile {
    /// Serves the file; those of the viewer are always gzipped, which every browser accepts.
    pub(crate) fn serve(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, format!("{}; charset=utf-8", self.media_type)),
            (header::CACHE_CONTROL, "max-age=3600".to_owned()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        ];
        let encoding = self.is_gzipped.then_some([(header::CONTENT_ENCODING, "gzip")]);
        (headers, encoding, self.bytes).into_response()
    }

    pub(crate) fn spec(self) -> Operation {
        Operation::get(self.path, self.operation, "Get a file of the documentation page")
            .responds(200, ResponseSpec::text("A file that the page loads.", self.media_type))
    }
}
