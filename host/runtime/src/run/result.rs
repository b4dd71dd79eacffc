//! The result of a run, in the form that the manifest declares. Bytes are never altered: what is no text is kept as
//! base64, with a mark.
//!
//! Called by `instance`.

use data_encoding::BASE64;
use wasmill_model::{Cause, Failure, MediaType, ResultType, TaskResult};

use crate::plugin::config::ResultFormat;

/// Returns the stdout of a program as its result.
///
/// # Errors
///
/// Fails if the manifest declares text or JSON, and it is something else.
pub(crate) fn of_bytes(bytes: Vec<u8>, format: &ResultFormat) -> Result<TaskResult, Failure> {
    let declared = format.media();
    if declared.as_ref().is_some_and(|media| !media.is_text()) {
        return Ok(encoded(&bytes, declared.unwrap_or_else(MediaType::bytes)));
    }
    match (String::from_utf8(bytes), declared) {
        (Ok(text), declared) => text_of(text, declared),
        (Err(error), None) => Ok(encoded(error.as_bytes(), MediaType::bytes())),
        (Err(error), Some(media)) => Err(failure(format!(
            "the manifest declares a result of the type {media}, but its byte {} is no UTF-8; `output = \"bytes\"` keeps any \
             bytes",
            error.utf8_error().valid_up_to()
        ))),
    }
}

/// Returns the text that a plugin returned as its result. For a type that is no text, the text is base64.
///
/// # Errors
///
/// Fails if it is not what the manifest declares.
pub(crate) fn of_text(text: String, format: &ResultFormat) -> Result<TaskResult, Failure> {
    match format.media() {
        Some(media) if !media.is_text() => match BASE64.decode(text.as_bytes()) {
            Ok(_) => Ok(TaskResult { text, r#type: Some(ResultType { media, is_base64: true }) }),
            Err(error) => Err(failure(format!(
                "the manifest declares a result of the type {media}, which a plugin returns as base64, but it is not: {error}"
            ))),
        },
        declared => text_of(text, declared),
    }
}

fn text_of(text: String, declared: Option<MediaType>) -> Result<TaskResult, Failure> {
    if declared.as_ref().is_some_and(MediaType::is_json)
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text)
    {
        return Err(failure(format!(
            "the manifest declares a JSON result, but it is not valid JSON: {error}"
        )));
    }
    Ok(TaskResult { text, r#type: declared.map(|media| ResultType { media, is_base64: false }) })
}

fn encoded(bytes: &[u8], media: MediaType) -> TaskResult {
    TaskResult { text: BASE64.encode(bytes), r#type: Some(ResultType { media, is_base64: true }) }
}

fn failure(message: String) -> Failure {
    Failure::new(Cause::Plugin, message)
}

/// Returns the bytes of a result, for a program that reads it.
pub(crate) fn bytes_of(result: TaskResult) -> Vec<u8> {
    let TaskResult { text, r#type } = result;
    let decoded = r#type.filter(|result| result.is_base64).and_then(|_| BASE64.decode(text.as_bytes()).ok());
    decoded.unwrap_or_else(|| text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(name: &str) -> ResultFormat {
        ResultFormat::Media(name.parse().unwrap())
    }

    fn kind(result: Result<TaskResult, Failure>) -> (String, Option<String>) {
        let TaskResult { text, r#type } = result.unwrap();
        (text, r#type.map(|result| result.to_string()))
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        let bytes: Vec<u8> = (0..=255).collect();
        for format in [ResultFormat::Any, media("image/png"), media("application/octet-stream")] {
            assert_eq!(bytes_of(of_bytes(bytes.clone(), &format).unwrap()), bytes);
        }
        assert_eq!(bytes_of(of_bytes(b"text".to_vec(), &ResultFormat::Text).unwrap()), b"text");
    }

    #[test]
    fn a_result_says_what_it_is() {
        let of = |bytes: &[u8], format| kind(of_bytes(bytes.to_vec(), &format));
        let typed = |text: &str, kind: &str| (text.to_owned(), Some(kind.to_owned()));
        assert_eq!(of(b"a", ResultFormat::Any), ("a".to_owned(), None));
        assert_eq!(of(b"\xff", ResultFormat::Any), typed("/w==", "application/octet-stream;base64"));
        assert_eq!(of(b"a", ResultFormat::Text), typed("a", "text/plain"));
        assert_eq!(of(b"{}", ResultFormat::Json), typed("{}", "application/json"));
        assert_eq!(of(b"a", media("image/png")), typed("YQ==", "image/png;base64"));
        assert_eq!(of(b"a,b", media("text/csv")), typed("a,b", "text/csv"));
        assert_eq!(kind(of_text("YQ==".to_owned(), &media("image/png"))), typed("YQ==", "image/png;base64"));
    }

    #[test]
    fn a_result_of_another_kind_than_declared_is_a_failure() {
        let refused = |result: Result<TaskResult, Failure>| {
            let failure = result.unwrap_err();
            assert_eq!(failure.cause, Cause::Plugin);
            failure.message
        };
        assert!(refused(of_bytes(b"a\xff".to_vec(), &ResultFormat::Text)).contains("its byte 1 is no UTF-8"));
        assert!(refused(of_bytes(b"\xff".to_vec(), &media("text/csv"))).contains("text/csv"));
        assert!(refused(of_bytes(b"{".to_vec(), &ResultFormat::Json)).contains("not valid JSON"));
        assert!(refused(of_bytes(b"{".to_vec(), &media("application/geo+json"))).contains("not valid JSON"));
        assert!(refused(of_text("no base64".to_owned(), &media("image/png"))).contains("returns as base64"));
    }
}
