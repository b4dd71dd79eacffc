//! Reads a request body within its bounds of size and time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::IgnoredAny;

use crate::app::ApiConfig;
use crate::problem::Problem;

/// Bytes of a refused body that are still read, and how long that may take.
const DISCARDED_BYTES_MAX: usize = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a JSON body; empty is fine, and then needs no content type.
pub(crate) async fn read_json(config: &ApiConfig, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let bytes = read(body, config.body_bytes_max, config.body_timeout).await?;
    if !bytes.is_empty() && !is_json(headers) {
        return Err(Problem::unsupported_media_type());
    }
    Ok(bytes)
}

/// Whether a body is empty, or an object that is.
pub(crate) fn says_nothing(body: &[u8]) -> bool {
    let object = || serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body);
    body.trim_ascii().is_empty() || object().is_ok_and(|fields| fields.is_empty())
}

/// Whether a batch comes, and is answered, as lines of JSON rather than as an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines(pub(crate) bool);

/// Reads a body of many task requests.
pub(crate) async fn read_batch(
    config: &ApiConfig,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Lines), Problem> {
    let bytes = read(body, config.batch_bytes_max, config.body_timeout).await?;
    let kind = content_type(headers);
    let lines = matches!(
        kind.as_deref(),
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines")
    );
    if lines || is_json(headers) { Ok((bytes, Lines(lines))) } else { Err(Problem::not_a_batch()) }
}

/// Reads a body of WebAssembly.
pub(crate) async fn read_wasm(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    if !matches!(content_type(headers).as_deref(), Some("application/wasm" | "application/octet-stream")) {
        discard(body).await;
        return Err(Problem::not_wasm());
    }
    read(body, bytes_max, timeout).await
}

/// Reads and forgets what is left of a body that is refused: a client that is cut off while it sends may
/// never get to read why.
pub(crate) async fn discard(mut body: Body) {
    let mut bytes = 0;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARDED_BYTES_MAX {
                break;
            }
        }
    };
    // A client that is slower than this is cut off.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest).await;
}

async fn read(mut body: Body, bytes_max: usize, timeout: Duration) -> Result<Bytes, Problem> {
    let limited = Limited::new(&mut body, bytes_max);
    match tokio::time::timeout(timeout, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(body).await;
            Err(Problem::body_too_large(bytes_max))
        }
        Ok(Err(_)) => Err(Problem::unreadable_body()),
        Err(_) => Err(Problem::body_too_slow()),
    }
}

/// Returns the content type in lower case, without its parameters.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(essence) = content_type(headers) else { return false };
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}
