//! OTLP 1 JSON encoding of spans: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.
//!
//! Ids are hexadecimal and 64-bit numbers are strings. It knows nothing of HTTP.

use serde::{Deserialize, Serialize};
use wasmill_model::{Span, SpanAttribute, SpanKind, Timestamp};

/// Attributes of this process, such as `service.name`.
pub(super) type Resource = Vec<(String, String)>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: ResourceJson<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct ResourceJson<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<SpanJson<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanJson<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_state: Option<&'a str>,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Value<'a> {
    StringValue(&'a str),
    IntValue(String),
}

#[derive(Serialize)]
struct Status<'a> {
    code: u8,
    message: &'a str,
}

/// The status code of a failed span.
const ERROR: u8 = 2;

/// Returns the body of a request that exports these spans.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let attributes = resource.iter().map(|(key, value)| Attribute { key, value: Value::StringValue(value) });
    let request = Request {
        resource_spans: [ResourceSpans {
            resource: ResourceJson { attributes: attributes.collect() },
            scope_spans: [ScopeSpans {
                scope: Scope { name: "wasmill", version: env!("CARGO_PKG_VERSION") },
                spans: spans.iter().map(span_json).collect(),
            }],
        }],
    };
    serde_json::to_vec(&request).expect("text and numbers can be written as JSON")
}

fn span_json(span: &Span) -> SpanJson<'_> {
    SpanJson {
        trace_id: span.trace_id.to_string(),
        span_id: span.id.to_string(),
        parent_span_id: span.parent.map(|parent| parent.to_string()),
        trace_state: span.state.as_deref(),
        name: &span.name,
        kind: match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.end),
        attributes: span.attributes.iter().map(attribute).collect(),
        status: span.failure.as_deref().map(|message| Status { code: ERROR, message }),
    }
}

fn attribute<'a>((key, fact): &'a (&'static str, SpanAttribute)) -> Attribute<'a> {
    let value = match fact {
        SpanAttribute::Text(text) => Value::StringValue(text),
        SpanAttribute::Number(number) => Value::IntValue(number.to_string()),
    };
    Attribute { key, value }
}

fn nanos(at: Timestamp) -> String {
    at.timestamp_nanos_opt().unwrap_or_default().to_string()
}

/// A collector's response to an accepted request.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExportResponse {
    partial_success: Option<PartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    /// A string by the specification; some collectors write a number.
    rejected_spans: serde_json::Value,
    error_message: String,
}

/// Returns how many spans a collector rejected, and why.
pub(super) fn rejected(body: &[u8]) -> (u64, String) {
    let answer: ExportResponse = serde_json::from_slice(body).unwrap_or_default();
    let Some(PartialSuccess { rejected_spans, error_message }) = answer.partial_success else {
        return (0, String::new());
    };
    let rejected = rejected_spans.as_u64().or_else(|| rejected_spans.as_str()?.parse().ok());
    (rejected.unwrap_or(0), error_message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wasmill_model::{SystemClock, Tracer};

    use super::*;

    #[test]
    fn spans_are_encoded_as_specified() {
        let tracer = Tracer::new(wasmill_model::Sampler::default(), std::sync::Arc::new(SystemClock), |_| {});
        let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 a=b".parse().expect("valid");
        let at = tracer.begin(Some(&caller)).expect("it is on");
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let times = (moment("2026-11-23T07:26:49.603656725Z"), moment("2026-11-23T07:26:50Z"));
        let mut span = Span::new(&at, Some(caller.span_id), "GET", times)
            .with("server.address", "example.com")
            .with("server.port", 443_u64)
            .failed("no route");
        span.kind = SpanKind::Client;
        let resource = vec![("service.name".to_owned(), "mill".to_owned())];
        let written: Value = serde_json::from_slice(&request(&resource, &[span])).expect("JSON");
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "mill"}}]},
            "scopeSpans": [{
                "scope": {"name": "wasmill", "version": env!("CARGO_PKG_VERSION")},
                "spans": [{
                    "traceId": "0af7651916cd43dd8448eb211c80319c",
                    "spanId": at.span_id.to_string(),
                    "parentSpanId": "b7ad6b7169203331",
                    "traceState": "a=b",
                    "name": "GET",
                    "kind": 3,
                    "startTimeUnixNano": "1795418809603656725",
                    "endTimeUnixNano": "1795418810000000000",
                    "attributes": [
                        {"key": "server.address", "value": {"stringValue": "example.com"}},
                        {"key": "server.port", "value": {"intValue": "443"}},
                    ],
                    "status": {"code": 2, "message": "no route"},
                }],
            }],
        }]});
        assert_eq!(written, expected);
    }

    #[test]
    fn rejected_spans_are_counted() {
        for (answer, count, why) in [
            ("", 0, ""),
            ("{}", 0, ""),
            ("<html>", 0, ""),
            (r#"{"partialSuccess": {}}"#, 0, ""),
            (r#"{"partialSuccess": {"rejectedSpans": "7", "errorMessage": "too old"}}"#, 7, "too old"),
            (r#"{"partialSuccess": {"rejectedSpans": 3}}"#, 3, ""),
        ] {
            assert_eq!(rejected(answer.as_bytes()), (count, why.to_owned()), "{answer}");
        }
    }
}
