//! Reads request bodies within limits of size and time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use serde::de::IgnoredAny;
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::body_budget::{BodyBudget, Reservation, overloaded};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, truncated_quote};
use crate::problem::kind;

/// How long a body waits for the body budget.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client has to send of a body each second, once it has used up its patience.
const FLOOR_BYTES_PER_SEC: f64 = 1_024.0;

/// How long a client may send less than that.
const PATIENCE: Duration = Duration::from_secs(10);

/// UTF-8 byte order mark. JSON does not allow it, and parsers may ignore it (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Limits of request bodies.
#[derive(Clone, Debug)]
pub struct BodyConfig {
    /// Maximum size of a request body, in bytes.
    pub bytes_max: usize,
    /// Maximum size of a batch body, in bytes.
    pub batch_bytes_max: usize,
    /// How long a client may take to send a body.
    pub timeout: Duration,
    /// Budget for the bytes of all bodies in flight.
    pub budget: BodyBudget,
}

/// Maximum size of a body, and the setting that raises it.
#[derive(Clone, Copy)]
pub(crate) struct BodyMax {
    pub(crate) bytes: usize,
    pub(crate) setting: Option<&'static str>,
}

/// Maximum size of a plugin, the same as in the plugins folder.
pub(crate) const UPLOAD_MAX: BodyMax = BodyMax { bytes: 128 << 20, setting: None };

/// What a form may have beside the file.
const FORM_BYTES: usize = 16 << 10;

/// How long a client may take to send a plugin.
pub(crate) const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Reads a JSON body; an empty one needs no content type.
pub(crate) async fn read_json(
    config: &BodyConfig,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, Problem> {
    let max = BodyMax { bytes: config.bytes_max, setting: Some("body_max") };
    read_json_within(config, headers, body, max).await
}

/// Reads a JSON body of a smaller size; an empty one needs no content type.
pub(crate) async fn read_json_within(
    config: &BodyConfig,
    headers: &HeaderMap,
    body: Body,
    max: BodyMax,
) -> Result<Bytes, Problem> {
    let bytes = read_text(config, headers, body, max).await?;
    if !bytes.is_empty() && !is_json(headers) {
        return Err(unsupported_media_type());
    }
    Ok(bytes)
}

/// Requires an empty body, since ignoring one would do something else than the client meant. An empty object
/// is allowed: some clients always send one.
///
/// # Errors
///
/// Fails if the body is not empty.
pub(crate) async fn require_empty_body(
    config: &BodyConfig,
    parts: &Parts,
    body: Body,
) -> Result<Body, Problem> {
    if body.is_end_stream() {
        return Ok(body);
    }
    let bytes = read_json(config, &parts.headers, body).await;
    // Other methods document no body, so the only error is that there is one.
    let bytes = if parts.method == Method::POST { bytes? } else { bytes.map_err(|_| body_not_allowed())? };
    if is_empty_body(&bytes) { Ok(Body::empty()) } else { Err(body_not_allowed()) }
}

/// Returns true for an empty body and for an empty JSON object.
fn is_empty_body(body: &[u8]) -> bool {
    let object = || serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body);
    is_blank(body) || object().is_ok_and(|fields| fields.is_empty())
}

/// Returns true if a text is empty or all JSON whitespace, which excludes the form feed of ASCII whitespace.
pub(crate) fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| b" \t\r\n".contains(byte))
}

/// Whether a batch and its response are newline-delimited JSON rather than an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsNdjson(pub(crate) bool);

/// Reads a batch of task requests.
pub(crate) async fn read_batch(
    config: &BodyConfig,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, IsNdjson), Problem> {
    let max = BodyMax { bytes: config.batch_bytes_max, setting: Some("batch_body_max") };
    let bytes = read_text(config, headers, body, max).await?;
    let kind = content_type(headers);
    let is_ndjson = matches!(
        kind.as_deref(),
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines")
    );
    if is_ndjson || is_json(headers) { Ok((bytes, IsNdjson(is_ndjson))) } else { Err(not_a_batch()) }
}

/// Reads a form as text.
pub(crate) async fn read_form(
    config: &BodyConfig,
    headers: &HeaderMap,
    body: Body,
    max: BodyMax,
) -> Result<Bytes, Problem> {
    if content_type(headers).as_deref() != Some("application/x-www-form-urlencoded") {
        return Err(not_a_form());
    }
    read_text(config, headers, body, max).await
}

/// Reads a WebAssembly file.
pub(crate) async fn read_wasm(
    config: &BodyConfig,
    headers: &HeaderMap,
    body: Body,
    max: BodyMax,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    if !matches!(content_type(headers).as_deref(), Some("application/wasm" | "application/octet-stream")) {
        return Err(not_wasm());
    }
    read(config, headers, body, max, timeout).await
}

/// Reads a form with a file, and returns its boundary as well. The limits are those of an upload.
pub(crate) async fn read_upload(
    config: &BodyConfig,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, String), Problem> {
    let boundary = boundary(headers).ok_or_else(not_a_form)?;
    let max = BodyMax { bytes: UPLOAD_MAX.bytes + FORM_BYTES, ..UPLOAD_MAX };
    Ok((read(config, headers, body, max, UPLOAD_TIMEOUT).await?, boundary))
}

/// Returns the boundary of a form with files (RFC 2046, section 5.1.1); `None` if the body is none.
pub(crate) fn boundary(headers: &HeaderMap) -> Option<String> {
    let (kind, parameters) = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let parameter = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let boundary = parameter.trim_matches('"');
    (1..=70).contains(&boundary.len()).then(|| boundary.to_owned())
}

async fn read_text(
    config: &BodyConfig,
    headers: &HeaderMap,
    body: Body,
    max: BodyMax,
) -> Result<Bytes, Problem> {
    let mut bytes = read(config, headers, body, max, config.timeout).await?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.advance(BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Reads a body. A refused body may stay unread: the connection discards the rest so that the client sees the
/// response.
async fn read(
    config: &BodyConfig,
    headers: &HeaderMap,
    body: Body,
    max: BodyMax,
    time_max: Duration,
) -> Result<Bytes, Problem> {
    check_encoding(headers)?;
    // Checked before the first read, so a client waiting for `100 Continue` never sends the body.
    if body.size_hint().lower() > max.bytes as u64 {
        return Err(too_large(max));
    }
    let reading = read_frames(config, body, max);
    timeout(time_max, reading).await.unwrap_or_else(|_| Err(too_slow()))
}

/// How long a client may still take to send the next bytes of a body.
///
/// Each byte earns it a share of a second, and no client has more than its patience. So one that sends at the floor is
/// never ended, however large the body, and one that stops is ended soon, however fast it was.
struct Pace {
    ends: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { ends: now + PATIENCE }
    }

    /// Notes bytes that arrived, and were taken in later: the wait for memory is not the client's.
    fn note(&mut self, bytes: usize, arrived: Instant, taken: Instant) {
        let earned = Duration::from_secs_f64(bytes as f64 / FLOOR_BYTES_PER_SEC);
        self.ends = (self.ends + earned + (taken - arrived)).min(taken + PATIENCE);
    }
}

/// Refuses a compressed body.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(encoded_body(&String::from_utf8_lossy(encoding.as_bytes())))
        }
        _ => Ok(()),
    }
}

/// Returns a reservation of these bytes.
pub(super) async fn reserve(config: &BodyConfig, bytes: u64) -> Result<Reservation, Problem> {
    let mut reservation = config.budget.reserve();
    grow(&mut reservation, bytes).await?;
    Ok(reservation)
}

/// Counts more bytes; waits a moment for others.
pub(super) async fn grow(reservation: &mut Reservation, bytes: u64) -> Result<(), Problem> {
    timeout(BUDGET_TIMEOUT, reservation.grow(bytes)).await.map_err(|_| overloaded())
}

async fn read_frames(config: &BodyConfig, mut body: Body, max: BodyMax) -> Result<Bytes, Problem> {
    let mut reservation = config.budget.reserve();
    let expected = body.size_hint().lower();
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    let mut pace = Pace::new(Instant::now());
    while let Some(frame) = timeout_at(pace.ends, body.frame()).await.map_err(|_| body_below_floor())? {
        let arrived = Instant::now();
        let Ok(data) = frame.map_err(|_| unreadable())?.into_data() else { continue };
        if first.len() + joined.len() + data.len() > max.bytes {
            return Err(too_large(max));
        }
        grow(&mut reservation, data.len() as u64).await?;
        pace.note(data.len(), arrived, Instant::now());
        // Most bodies arrive in one frame, which needs no copy.
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                // The announced size is within the limit, and pages are not resident before data arrives.
                joined.reserve(usize::try_from(expected).unwrap_or_default());
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
    }
    let bytes = if joined.is_empty() { first } else { joined.freeze() };
    Ok(reservation.attach(bytes))
}

/// Returns the media type in lower case, without parameters.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(essence) = content_type(headers) else { return false };
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn encoded_body(encoding: &str) -> Problem {
    let detail =
        format!("send the body uncompressed, without 'Content-Encoding: {}'", truncated_quote(encoding));
    Problem::of(kind::ENCODED_BODY, detail)
}

pub(super) fn unreadable() -> Problem {
    let detail = "the connection failed before the whole body had arrived";
    Problem::of(kind::UNREADABLE_BODY, detail)
}

/// The request has a body, but the operation takes none.
fn body_not_allowed() -> Problem {
    let detail = "the body must be empty: this operation takes its parameters from path and query only";
    Problem::invalid_request(FieldError::body(detail))
}

pub(super) fn too_large(max: BodyMax) -> Problem {
    let BodyMax { bytes, setting } = max;
    let setting =
        setting.map(|name| format!("; raise the setting `{name}` to allow more")).unwrap_or_default();
    let detail = format!("the body exceeds the maximum of {bytes} bytes{setting}");
    Problem::of(kind::BODY_TOO_LARGE, detail)
}

pub(super) fn too_slow() -> Problem {
    let detail = "the body did not arrive within the time limit";
    Problem::of(kind::BODY_TOO_SLOW, detail)
}

fn body_below_floor() -> Problem {
    let detail = format!(
        "the body arrived at less than {FLOOR_BYTES_PER_SEC} bytes a second for {} s",
        PATIENCE.as_secs()
    );
    Problem::of(kind::BODY_TOO_SLOW, detail)
}

fn unsupported_media_type() -> Problem {
    let detail = "send the body as JSON, with the header 'Content-Type: application/json'";
    Problem::of(kind::NOT_JSON, detail)
}

fn not_a_batch() -> Problem {
    let detail = "send the body as an array with 'Content-Type: application/json', or as lines of JSON \
                  with 'Content-Type: application/x-ndjson'";
    Problem::of(kind::NOT_JSON, detail)
}

fn not_a_form() -> Problem {
    let detail = "send the form with the header 'Content-Type: application/x-www-form-urlencoded'";
    Problem::of(kind::NOT_A_FORM, detail)
}

fn not_wasm() -> Problem {
    let detail = "send the plugin file with the header 'Content-Type: application/wasm'";
    Problem::of(kind::NOT_WASM, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns when a client is ended that sends so many bytes at each of so many seconds.
    fn ended_after(pieces: impl IntoIterator<Item = (u64, usize)>) -> Option<u64> {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for (second, bytes) in pieces {
            let now = start + Duration::from_secs(second);
            if now > pace.ends {
                return Some((pace.ends - start).as_secs());
            }
            pace.note(bytes, now, now);
        }
        None
    }

    #[test]
    fn a_body_may_be_large_but_not_slower_than_the_floor() {
        assert_eq!(ended_after((1..100_000).map(|second| (second, 1_024))), None, "at the floor");
        assert_eq!(ended_after((1..100_000).map(|second| (second * 9, 9 << 10))), None, "in bursts");
        assert_eq!(ended_after((1..1_000).map(|second| (second, 1))), Some(10), "byte by byte");
        assert_eq!(
            ended_after((1..1_000).map(|second| (second, 512))),
            Some(19),
            "at half of it, after 19.5 s"
        );
        assert_eq!(ended_after([(1, 100 << 20), (30, 1)]), Some(11), "it has stopped");
    }

    #[test]
    fn waiting_for_memory_does_not_count() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.note(0, start + Duration::from_secs(8), start + Duration::from_secs(13));
        assert_eq!(pace.ends, start + Duration::from_secs(15));
    }
}
