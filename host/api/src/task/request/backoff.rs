//! Parses the field `backoff` of a task request: the delays between attempts.

use std::time::Duration;

use schemars::JsonSchema;
use serde_json::value::RawValue;
use wasmill_model::{Backoff, FACTOR_MAX, InvalidBackoff, parse_duration};

use crate::http::fields::{Fields, duration_error, text};
use crate::openapi::schema::DurationSchema;
use crate::problem::field_errors::{FieldError, FieldErrors};

/// A backoff; missing fields have their defaults.
// For the OpenAPI document only: the function `backoff` parses each field itself to report all errors.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Backoff")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct BackoffRequest {
    /// Delay after the first failed attempt, by default 1s.
    #[schemars(with = "Option<DurationSchema>")]
    first: Option<String>,
    /// Factor by which each further delay grows, by default 2.
    #[schemars(range(min = 1, max = FACTOR_MAX))]
    factor: Option<f64>,
    /// Maximum delay before jitter, by default 5m; at least `first` and at most 7 days.
    #[schemars(with = "Option<DurationSchema>")]
    max: Option<String>,
    /// Maximum fraction of itself by which each delay is randomly extended, by default 0.5; 0 for exact
    /// delays. No attempt starts before its delay is over.
    #[schemars(range(min = 0, max = 1))]
    jitter: Option<f64>,
}

/// Parses the backoff; `None` if there is none or it is invalid.
pub(crate) fn backoff(value: Option<&RawValue>, errors: &mut FieldErrors) -> Option<Backoff> {
    let Some(mut fields) = Fields::read(value?, &["first", "factor", "max", "jitter"]) else {
        let example = "{\"first\": \"1s\", \"factor\": 2, \"max\": \"5m\"}";
        errors.push(FieldError::field("backoff", format!("backoff must be an object such as {example}")));
        return None;
    };
    let mut wrong = FieldErrors::default();
    let (first, max) = (wait(&mut fields, "first", &mut wrong), wait(&mut fields, "max", &mut wrong));
    let factor = number(&mut fields, "factor", InvalidBackoff::Factor, &mut wrong);
    let jitter = number(&mut fields, "jitter", InvalidBackoff::Jitter, &mut wrong);
    fields.report("/backoff", &mut wrong);
    if !wrong.is_empty() {
        errors.extend_under("", wrong);
        return None;
    }
    let backoff = Backoff::of(first, factor, max, jitter);
    backoff.map_err(|error| errors.push(FieldError::field("backoff", format!("backoff: {error}")))).ok()
}

/// Parses a number of a backoff; `expected` is the error for an invalid one.
fn number(
    fields: &mut Fields<'_>,
    name: &str,
    must: InvalidBackoff,
    errors: &mut FieldErrors,
) -> Option<f64> {
    let number = serde_json::from_str::<f64>(fields.take(name)?.get()).ok();
    if number.is_none() {
        errors.push(FieldError::at(format!("/backoff/{name}"), format!("backoff: {must}")));
    }
    number
}

/// Parses a delay of a backoff.
fn wait(fields: &mut Fields<'_>, name: &str, errors: &mut FieldErrors) -> Option<Duration> {
    let text = text(fields.take(name)?);
    let parsed = text.as_deref().and_then(|text| parse_duration(text).ok());
    if parsed.is_none() {
        let detail = format!("backoff.{name} must be a duration such as \"5s\"");
        let detail = duration_error(detail, text.as_deref());
        errors.push(FieldError::at(format!("/backoff/{name}"), detail));
    }
    parsed
}
