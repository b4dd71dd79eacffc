//! Reads a request body within its bounds of size and time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use serde::de::IgnoredAny;

use crate::app::ApiConfig;
use crate::problem::Problem;

/// How long a body waits for room beside those of others.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// What some editors and shells put before a text. JSON has no place for it, and readers may pass over it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The largest body of a kind, and the setting that raises it.
#[derive(Clone, Copy)]
pub(crate) struct BodyMax {
    pub(crate) bytes: usize,
    pub(crate) setting: Option<&'static str>,
}

/// Reads a JSON body; empty is fine, and then needs no content type.
pub(crate) async fn read_json(config: &ApiConfig, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let max = BodyMax { bytes: config.body_bytes_max, setting: Some("body_max") };
    let bytes = read_text(config, headers, body, max).await?;
    if !bytes.is_empty() && !is_json(headers) {
        return Err(Problem::unsupported_media_type());
    }
    Ok(bytes)
}

/// Makes sure that a request brings no body where none is taken: what stands in it would be passed over, and
/// something else be done than was meant. An object without fields is none, since some clients send it always.
///
/// # Errors
///
/// Fails if there is something in it.
pub(crate) async fn read_nothing(config: &ApiConfig, parts: &Parts, body: Body) -> Result<Body, Problem> {
    if body.is_end_stream() {
        return Ok(body);
    }
    let bytes = read_json(config, &parts.headers, body).await;
    // No body is documented for the others, so only that there is one is wrong with it.
    let bytes = if parts.method == Method::POST { bytes? } else { bytes.map_err(|_| Problem::no_body())? };
    if is_nothing(&bytes) { Ok(Body::empty()) } else { Err(Problem::no_body()) }
}

/// Whether a body is empty, or an object that is.
fn is_nothing(body: &[u8]) -> bool {
    let object = || serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body);
    is_blank(body) || object().is_ok_and(|fields| fields.is_empty())
}

/// Whether there is nothing but what JSON takes for white space; other white space of ASCII is none there.
pub(crate) fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| b" \t\r\n".contains(byte))
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
    let max = BodyMax { bytes: config.batch_bytes_max, setting: Some("batch_body_max") };
    let bytes = read_text(config, headers, body, max).await?;
    let kind = content_type(headers);
    let lines = matches!(
        kind.as_deref(),
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines")
    );
    if lines || is_json(headers) { Ok((bytes, Lines(lines))) } else { Err(Problem::not_a_batch()) }
}

/// Reads a body of WebAssembly.
pub(crate) async fn read_wasm(
    config: &ApiConfig,
    headers: &HeaderMap,
    body: Body,
    max: BodyMax,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    if !matches!(content_type(headers).as_deref(), Some("application/wasm" | "application/octet-stream")) {
        return Err(Problem::not_wasm());
    }
    read(config, headers, body, max, timeout).await
}

async fn read_text(
    config: &ApiConfig,
    headers: &HeaderMap,
    body: Body,
    max: BodyMax,
) -> Result<Bytes, Problem> {
    let mut bytes = read(config, headers, body, max, config.body_timeout).await?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.advance(BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Reads a body. What is refused need not be read to its end: the connection sees to it that the client gets
/// to read why.
async fn read(
    config: &ApiConfig,
    headers: &HeaderMap,
    body: Body,
    max: BodyMax,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(Problem::encoded_body(&String::from_utf8_lossy(encoding.as_bytes())));
    }
    // A client that waits for 100 Continue is spared the sending: nothing has been asked of the body yet.
    if body.size_hint().lower() > max.bytes as u64 {
        return Err(Problem::body_too_large(max));
    }
    let reading = read_frames(config, body, max);
    tokio::time::timeout(timeout, reading).await.unwrap_or_else(|_| Err(Problem::body_too_slow()))
}

async fn read_frames(config: &ApiConfig, mut body: Body, max: BodyMax) -> Result<Bytes, Problem> {
    let mut reservation = config.bodies.begin();
    let expected = body.size_hint().lower();
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::unreadable_body())?.into_data() else { continue };
        if first.len() + joined.len() + data.len() > max.bytes {
            return Err(Problem::body_too_large(max));
        }
        let growing = reservation.grow(data.len() as u64);
        tokio::time::timeout(ROOM_TIMEOUT, growing).await.map_err(|_| Problem::overloaded())?;
        // Most bodies come in one piece, which need not be copied.
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                // What was announced is no larger than allowed, and takes no memory until it comes.
                joined.reserve(usize::try_from(expected).unwrap_or_default());
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
    }
    let bytes = if joined.is_empty() { first } else { joined.freeze() };
    Ok(reservation.attach(bytes))
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
