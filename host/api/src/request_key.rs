//! The header `Idempotency-Key`: a request that is sent again under it does nothing twice.
//!
//! Every route that makes tasks calls it; the others do the same when they are done twice, and pass it over. The
//! store decides; this only reads the header and words the answer.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use sha2::{Digest, Sha256};
use wasmill_store::RequestKey;

use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;

const HEADER: &str = "idempotency-key";
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Bytes of the longest key.
const KEY_BYTES_MAX: usize = 255;

/// Reads the key, if there is one, and what the request asks for: `kind` tells apart requests whose bodies
/// mean different things.
pub(crate) fn read(headers: &HeaderMap, kind: &str, body: &[u8]) -> Result<Option<RequestKey>, Problem> {
    let mut keys = headers.get_all(HEADER).iter();
    let Some(value) = keys.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| is_key(key));
    match key {
        Some(key) if keys.next().is_none() => {
            let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(body).finalize();
            Ok(Some(RequestKey { key: key.to_owned(), digest: digest.into() }))
        }
        _ => Err(Problem::invalid_request_key(KEY_BYTES_MAX)),
    }
}

/// Says whether this is a key, by the pattern that the API document gives.
fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the header that marks an answer that was given before.
pub(crate) fn mark(replayed: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    headers
}

/// Says in the API document that an operation takes the header.
pub(crate) fn about(operation: Operation) -> Operation {
    let key = json!({"type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[!-~]+$"});
    operation
        .header("Idempotency-Key", "The same request under the same key within 24 hours is done once.", &key)
        .problems(&[kind::INVALID_REQUEST_KEY, kind::REQUEST_KEY_REUSED])
}

/// Says in the API document that an answer tells whether it was given before.
pub(crate) fn marked(answer: Answer) -> Answer {
    answer.optional_header("Idempotent-Replayed", "Whether this was answered before.", "^true$")
}
