//! The header `Idempotency-Key`: repeating a request with the same key has no further effect.
//!
//! All operations that create tasks use it; the others are idempotent anyway, and ignore it. The store
//! decides whether a request is a repetition; this module parses the header and marks the response.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use sha2::{Digest, Sha256};
use wasmill_access::Identity;
use wasmill_store::IdempotencyKey;

use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;

const HEADER: &str = "idempotency-key";
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Maximum length of a key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// Parses the key of this sender, if there is one, and hashes the request; `kind` distinguishes operations whose bodies mean
/// different things.
pub(crate) fn read(
    headers: &HeaderMap,
    sender: &Identity,
    kind: &str,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    let mut keys = headers.get_all(HEADER).iter();
    let Some(value) = keys.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| is_key(key));
    match key {
        Some(key) if keys.next().is_none() => {
            let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(body).finalize();
            Ok(Some(IdempotencyKey::new(&sender.space(), key, digest.into())))
        }
        _ => Err(invalid_idempotency_key(KEY_BYTES_MAX)),
    }
}

/// Returns true if a text matches the pattern of a key in the OpenAPI document.
fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the header that marks a replayed response.
pub(crate) fn replayed_header(replayed: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    headers
}

/// Documents the request header.
pub(crate) fn add_header(operation: Operation) -> Operation {
    let key = json!({"type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[!-~]+$"});
    operation
        .header(
            "Idempotency-Key",
            "Repeating the request with the same key within 24 hours has no further effect.",
            &key,
        )
        .problems(&[kind::INVALID_IDEMPOTENCY_KEY, kind::IDEMPOTENCY_KEY_REUSED])
}

/// Documents the response header.
pub(crate) fn add_replayed_header(answer: ResponseSpec) -> ResponseSpec {
    answer.optional_header(
        "Idempotent-Replayed",
        "Set if this is the replayed response of an earlier request.",
        "^true$",
    )
}

fn invalid_idempotency_key(bytes_max: usize) -> Problem {
    let detail =
        format!("Idempotency-Key must appear once and have 1 to {bytes_max} visible ASCII characters");
    Problem::of(kind::INVALID_IDEMPOTENCY_KEY, detail)
}
