//! The header `Wasmill-Signature`: the signature of an uploaded plugin, as minisign writes it, in base64.

use axum::http::{HeaderMap, HeaderValue};
use data_encoding::BASE64;
use serde_json::json;
use wasmill_runtime::SIGNATURE_BYTES_MAX;

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::field_errors::FieldError;

const HEADER: &str = "wasmill-signature";

/// Parses the signature, if there is one. Whether it counts, the runtime decides.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let signature = BASE64.decode(value.as_bytes()).ok();
    let is_valid =
        |signature: &Vec<u8>| !signature.is_empty() && signature.len() as u64 <= SIGNATURE_BYTES_MAX;
    match signature.filter(is_valid) {
        Some(signature) if values.next().is_none() => Ok(Some(signature)),
        _ => Err(invalid_signature()),
    }
}

/// Returns the header for a signature.
pub(crate) fn header(signature: &[u8]) -> Option<(&'static str, HeaderValue)> {
    let value = HeaderValue::try_from(BASE64.encode(signature)).ok()?;
    Some((HEADER, value))
}

/// Documents the header.
pub(crate) fn add_header(operation: Operation) -> Operation {
    let schema = json!({"type": "string", "format": "byte"});
    operation.header(
        "Wasmill-Signature",
        "The signature of the file, its `.minisig` in base64, for a server with `--plugin-trust signed`; without it, \
         the one beside the file counts.",
        &schema,
    )
}

fn invalid_signature() -> Problem {
    Problem::invalid_request(FieldError::parameter(
        "Wasmill-Signature",
        format!(
            "the header must appear once and have a .minisig file in base64, of at most {SIGNATURE_BYTES_MAX} bytes"
        ),
    ))
}
