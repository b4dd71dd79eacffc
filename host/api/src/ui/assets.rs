//! `GET /ui/assets/{file}`: the stylesheet and the scripts. Their names have digests, so they may be kept for good.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use wasmill_ui::assets::ALL;

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::field_errors::truncated_quote;
use crate::problem::kind;

pub(crate) fn spec() -> Operation {
    Operation::page("/ui/assets/{file}")
}

/// Serves a file, always gzipped, which every browser accepts.
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = ALL.iter().find(|file| file.name == name);
    let file = found.ok_or_else(|| {
        let detail = format!("the dashboard has no file {}; reload the page", truncated_quote(&name));
        Problem::of(kind::UNKNOWN_ROUTE, detail)
    })?;
    let headers = [
        (header::CONTENT_TYPE, format!("{}; charset=utf-8", file.media_type)),
        (header::CONTENT_ENCODING, "gzip".to_owned()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
    ];
    Ok((headers, file.gzipped).into_response())
}
