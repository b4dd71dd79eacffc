//! Reads a request body within its bounds of size and time.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::app::ApiConfig;
use crate::problem::Problem;

/// Reads a JSON body; empty is fine, and then needs no content type.
pub(crate) async fn read_json(config: &ApiConfig, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let bytes = read(config, body).await?;
    if !bytes.is_empty() && !is_json(headers) {
        return Err(Problem::unsupported_media_type());
    }
    Ok(bytes)
}

async fn read(config: &ApiConfig, body: Body) -> Result<Bytes, Problem> {
    let limited = Limited::new(body, config.body_bytes_max);
    match tokio::time::timeout(config.body_timeout, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::body_too_large(config.body_bytes_max))
        }
        Ok(Err(_)) => Err(Problem::unreadable_body()),
        Err(_) => Err(Problem::body_too_slow()),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}
