//! `GET /task/{id}/files/{file_name}`: the bytes of a file, as a stream.
//!
//! A file may be a page or a script, so browsers store it and open it nowhere.

use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use futures_util::stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use wasmill_model::{Content, FileDirection, FileName, TaskFile, TaskId};
use wasmill_store::{PART_BYTES, Store, StoreError};

use super::range;
use crate::http::params::Params;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, truncated_quote};
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};

/// The SHA-256 of the whole file (RFC 9530).
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What a name keeps in `Content-Disposition` (RFC 8187).
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

pub(crate) async fn get(
    State(api): State<Api>,
    Path((id, name)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parse_task_id(&id)?;
    let direction = direction(&params)?;
    let files = require_task(id, api.store.files(id).await)?;
    let file = find(files, &name, direction).ok_or_else(|| unknown_file(id, &name))?;
    let etag = format!("\"{}\"", file.content.digest());
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let size = file.content.bytes;
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    // A range of another version would be mixed up with this one.
    let asked = asked
        .filter(|_| headers.get(header::IF_RANGE).is_none_or(|range| range.as_bytes() == etag.as_bytes()));
    let range = match asked.map(|asked| range::parse(asked, size)).transpose() {
        Ok(range) => range.flatten(),
        Err(range::NoSuchRange) => return Ok(no_such_range(&name, size)),
    };
    let mut response =
        Body::from_stream(bytes(api.store.clone(), file.content, range.clone().unwrap_or(0..size)))
            .into_response();
    if let Some(range) = &range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let value = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        insert(&mut response, header::CONTENT_RANGE, &value);
    }
    let length = range.map_or(size, |range| range.end - range.start);
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    describe(&mut response, &file, &etag);
    Ok(response)
}

/// Streams a range of a file, part by part. A content that goes meanwhile ends the connection, so that no client takes
/// what it has got for the whole.
fn bytes(
    store: Store,
    content: Content,
    range: Range<u64>,
) -> impl stream::Stream<Item = Result<Bytes, StoreError>> + Send {
    stream::try_unfold((store, range), move |(store, mut range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let (part, skip) = (range.start / PART_BYTES as u64, range.start % PART_BYTES as u64);
        let part = store.read_part(content.id, part).await?.unwrap_or_default();
        let part = Bytes::from(part);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(part.len());
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(part.len() - skip);
        if length == 0 {
            return Err(StoreError::Unavailable { message: "the bytes of a file are gone".to_owned() });
        }
        range.start += length as u64;
        Ok(Some((part.slice(skip..skip + length), (store, range))))
    })
}

/// Adds the headers that describe the file.
fn describe(response: &mut Response, file: &TaskFile, etag: &str) {
    let media = file.media.as_str();
    let charset = if media.starts_with("text/") { "; charset=utf-8" } else { "" };
    insert(response, header::CONTENT_TYPE, &format!("{media}{charset}"));
    insert(response, header::ETAG, etag);
    insert(response, header::ACCEPT_RANGES, "bytes");
    insert(response, REPR_DIGEST, &format!("sha-256=:{}:", BASE64.encode(&file.content.sha256)));
    let name = utf8_percent_encode(file.name.last_part(), &KEPT);
    insert(response, header::CONTENT_DISPOSITION, &format!("attachment; filename*=UTF-8''{name}"));
    insert(response, header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
    insert(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Returns the file of this name, one that the task left rather than one that came with it.
fn find(files: Vec<TaskFile>, name: &str, direction: Option<FileDirection>) -> Option<TaskFile> {
    let name: FileName = name.parse().ok()?;
    let is_it =
        |file: &TaskFile| file.name == name && direction.is_none_or(|direction| file.direction == direction);
    // Outputs come last.
    files.into_iter().rfind(is_it)
}

fn direction(params: &Params) -> Result<Option<FileDirection>, Problem> {
    let Some((_, asked)) = params.iter().next() else { return Ok(None) };
    let found = FileDirection::ALL.into_iter().find(|direction| direction.as_str() == asked);
    let error = || FieldError::parameter("direction", "direction must be input or output");
    found.map(Some).ok_or_else(|| Problem::invalid_request(error()))
}

/// Returns true if the client has the file already.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag
    })
}

fn unknown_file(id: TaskId, name: &str) -> Problem {
    let detail = format!("task {id} has no file '{}'", truncated_quote(name));
    Problem::of(kind::UNKNOWN_FILE, detail)
}

fn no_such_range(name: &str, size: u64) -> Response {
    let detail = format!("the file '{}' has {size} bytes", truncated_quote(name));
    let mut response = Problem::of(kind::NO_SUCH_RANGE, detail).into_response();
    insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

pub(crate) fn spec() -> Operation {
    let whole = ResponseSpec::bytes("The file.")
        .or_bytes()
        .header("ETag", "The SHA-256 of the file.", "^\"[0-9a-f]{64}\"$")
        .header("Repr-Digest", "The same (RFC 9530).", "^sha-256=:[A-Za-z0-9+/]{43}=:$");
    let part = ResponseSpec::bytes("The range of the file that `Range` asks for.").or_bytes().header(
        "Content-Range",
        "Which bytes they are.",
        "^bytes [0-9]+-[0-9]+/[0-9]+$",
    );
    Operation::get("/task/{id}/files/{*file_name}", "getTaskFile", "Get a file of a task")
        .detail(
            "Returns the bytes. A `/` in the name may be written as it is or as `%2F`. With a name that the task has in \
             both directions, the file that it left.",
        )
        .query("direction", "Which way the file went.", &json!({"type": "string", "enum": ["input", "output"]}))
        .header("Range", "One range of bytes, such as `bytes=0-1023`.", &json!({"type": "string"}))
        .header("If-Range", "The `ETag` of the file that the range is of.", &json!({"type": "string"}))
        .header("If-None-Match", "An `ETag` that the client has.", &json!({"type": "string"}))
        .responds(200, whole)
        .responds(206, part)
        .responds(304, ResponseSpec::empty("The client has the file."))
        .problems(&[kind::UNKNOWN_FILE, kind::NO_SUCH_RANGE])
        .problems(&kind::TASK_ACCESS)
}
