//! OTLP 1 encodings of spans, protobuf and JSON: <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>.
//!
//! One set of types has both: numbers of fields are those of `opentelemetry/proto/trace/v1/trace.proto`, and in JSON
//! ids are hexadecimal and 64-bit numbers are strings. It knows nothing of HTTP.

use std::fmt::Display;

use prost::Message;
use serde::{Deserialize, Serialize, Serializer};
use wasmill_model::{Span, SpanAttribute, SpanKind, Timestamp};

/// Attributes of this process, such as `service.name`.
pub(crate) type Resource = Vec<(String, String)>;

/// How requests and responses are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
}

impl Encoding {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceAttributes>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct ResourceAttributes {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(serialize_with = "hex")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(serialize_with = "hex")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(serialize_with = "hex", skip_serializing_if = "Vec::is_empty")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    #[serde(serialize_with = "decimal")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    #[serde(serialize_with = "decimal")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
    #[prost(message, optional, tag = "15")]
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    #[serde(flatten)]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof, Serialize)]
#[serde(rename_all = "camelCase")]
enum Value {
    #[prost(string, tag = "1")]
    StringValue(String),
    #[prost(int64, tag = "3")]
    #[serde(serialize_with = "decimal")]
    IntValue(i64),
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

/// The status code of a failed span.
const ERROR: i32 = 2;

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&digits)
}

fn decimal<S: Serializer>(number: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Returns the body of a request that exports these spans.
pub(crate) fn request(resource: &Resource, spans: &[Span], encoding: Encoding) -> Vec<u8> {
    let text = |(key, value): &(String, String)| attribute(key, Value::StringValue(value.clone()));
    let scope = Scope { name: "wasmill".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let request = ExportRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(ResourceAttributes { attributes: resource.iter().map(text).collect() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans: spans.iter().map(message).collect() }],
        }],
    };
    match encoding {
        Encoding::Json => serde_json::to_vec(&request).expect("text and numbers can be written as JSON"),
        Encoding::Protobuf => request.encode_to_vec(),
    }
}

fn message(span: &Span) -> SpanMessage {
    let value = |fact: &SpanAttribute| match fact {
        SpanAttribute::Text(text) => Value::StringValue(text.clone().into_owned()),
        SpanAttribute::Number(number) => Value::IntValue(*number),
    };
    SpanMessage {
        trace_id: span.trace_id.to_bytes().to_vec(),
        span_id: span.id.to_bytes().to_vec(),
        trace_state: span.state.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: span.parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        name: span.name.clone().into_owned(),
        kind: match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.end),
        attributes: span.attributes.iter().map(|(key, fact)| attribute(key, value(fact))).collect(),
        status: span.failure.clone().map(|message| Status { code: ERROR, message }),
    }
}

fn attribute(key: &str, value: Value) -> Attribute {
    Attribute { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn nanos(at: Timestamp) -> u64 {
    at.timestamp_nanos_opt().and_then(|nanos| nanos.try_into().ok()).unwrap_or_default()
}

/// A collector's response to an accepted request.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    #[serde(deserialize_with = "number")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// Reads a string, as the specification has it, or a number, as some collectors write it.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default())
}

/// Returns how many spans a collector rejected, and why.
pub(crate) fn rejected(body: &[u8], encoding: Encoding) -> (u64, String) {
    let response = match encoding {
        Encoding::Json => serde_json::from_slice(body).unwrap_or_default(),
        Encoding::Protobuf => ExportResponse::decode(body).unwrap_or_default(),
    };
    let PartialSuccess { rejected_spans, error_message } = response.partial_success.unwrap_or_default();
    (rejected_spans.try_into().unwrap_or_default(), error_message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wasmill_model::{SystemClock, TraceContext, Tracer};

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
        let written: Value =
            serde_json::from_slice(&request(&resource, &[span], Encoding::Json)).expect("JSON");
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
            assert_eq!(rejected(answer.as_bytes(), Encoding::Json), (count, why.to_owned()), "{answer}");
        }
    }

    /// What the classes of OpenTelemetry for Python write, in hexadecimal.
    const SPAN: &str = "0a100af7651916cd43dd8448eb211c80319c1208b7ad6b71692033311a03613d62220800f067aa0ba902b72a\
             03474554300339150c7b11e59bea184100c41a29e59bea184a1f0a0e7365727665722e61646472657373120d\
             0a0b6578616d706c652e636f6d4a120a0b7365727665722e706f7274120318bb037a0c12086e6f20726f7574\
             651802";
    const RESPONSE: &str = "0a0b08071207746f6f206f6c64";

    #[test]
    fn protobuf_is_that_of_opentelemetry() {
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 a=b".parse().expect("valid");
        let parent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01".parse::<TraceContext>();
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let times = (moment("2026-11-23T07:26:49.603656725Z"), moment("2026-11-23T07:26:50Z"));
        let mut span = Span::new(&context, Some(parent.expect("valid").span_id), "GET", times)
            .with("server.address", "example.com")
            .with("server.port", 443_u64)
            .failed("no route");
        span.kind = SpanKind::Client;
        let bytes = |text: &str| -> Vec<u8> {
            let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
            digits.map(|digits| u8::from_str_radix(digits, 16).expect("digits")).collect()
        };
        assert_eq!(message(&span).encode_to_vec(), bytes(SPAN));
        assert_eq!(rejected(&bytes(RESPONSE), Encoding::Protobuf), (7, "too old".to_owned()));
        assert_eq!(rejected(b"<html>", Encoding::Protobuf), (0, String::new()));
        // The rest of a request has the same types in both encodings.
        let request =
            request(&vec![("service.name".to_owned(), "mill".to_owned())], &[span], Encoding::Protobuf);
        let decoded = ExportRequest::decode(&*request).expect("a request");
        assert_eq!(decoded.resource_spans[0].scope_spans[0].spans[0].encode_to_vec(), bytes(SPAN));
    }
}
