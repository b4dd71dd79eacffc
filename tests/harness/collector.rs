//! A trace collector: receives OTLP in JSON and exposes the spans.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mock_server::{MockServer, Reply};

/// Deadline for spans to arrive.
const DEADLINE: Duration = Duration::from_secs(60);

/// A collector that lives as long as the process.
pub struct Collector(MockServer);

/// A received span.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    /// Trace id, in hexadecimal.
    pub trace: String,
    /// Span id, in hexadecimal.
    pub id: String,
    /// Id of the parent; empty without one.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// 1 for internal, 2 for server, 3 for client.
    pub kind: u64,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// Attributes; numbers are text, as in OTLP.
    pub facts: HashMap<String, String>,
    /// Error message.
    pub failure: Option<String>,
    /// The `tracestate`.
    pub state: Option<String>,
    /// Attributes of the resource.
    pub resource: HashMap<String, String>,
}

impl ReceivedSpan {
    /// Returns an attribute; empty if it is missing.
    pub fn attribute(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    /// Starts a collector that accepts everything.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start() -> Self {
        Self::start_with(|_| (200, json!({"partialSuccess": {}})))
    }

    /// Starts a collector that answers the n-th request like this.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start_with(answer: impl Fn(usize) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let count = std::sync::atomic::AtomicUsize::new(0);
        Self(MockServer::start(move |asked| {
            assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/traces"));
            assert!(asked.has_header("content-type: application/json"), "{asked:?}");
            let (status, answer) = answer(count.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
            Reply::Json(status, answer)
        }))
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Returns the number of requests so far.
    pub fn requests(&self) -> usize {
        self.0.requests().len()
    }

    /// Returns all spans so far, in order of arrival.
    ///
    /// # Panics
    ///
    /// If a request was not OTLP.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.0.requests().iter().flat_map(|asked| spans(&asked.body)).collect()
    }

    /// Waits until the spans fulfil this condition, and returns them.
    ///
    /// # Panics
    ///
    /// If they do not within a minute.
    pub async fn until(&self, what: &str, is_so: impl Fn(&[ReceivedSpan]) -> bool) -> Vec<ReceivedSpan> {
        let until = Instant::now() + DEADLINE;
        loop {
            let spans = self.spans();
            if is_so(&spans) {
                return spans;
            }
            assert!(Instant::now() < until, "not {what}: {spans:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for this many spans of a name, and returns all spans.
    ///
    /// # Panics
    ///
    /// If they do not within a minute.
    pub async fn until_named(&self, name: &str, count: usize) -> Vec<ReceivedSpan> {
        let is_so = |spans: &[ReceivedSpan]| spans.iter().filter(|span| span.name == name).count() >= count;
        self.until(&format!("{count} of '{name}'"), is_so).await
    }
}

fn spans(body: &str) -> Vec<ReceivedSpan> {
    let request: Value = serde_json::from_str(body).expect("JSON");
    let mut seen = Vec::new();
    for of_resource in request["resourceSpans"].as_array().expect("resourceSpans") {
        let resource = facts(&of_resource["resource"]["attributes"]);
        for of_scope in of_resource["scopeSpans"].as_array().expect("scopeSpans") {
            for span in of_scope["spans"].as_array().expect("spans") {
                seen.push(one(span, &resource));
            }
        }
    }
    seen
}

fn one(span: &Value, resource: &HashMap<String, String>) -> ReceivedSpan {
    let text = |name: &str| span[name].as_str().map(str::to_owned);
    let id = |name: &str, digits: usize| {
        let id = text(name).unwrap_or_default();
        assert!(id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}: {span}");
        id
    };
    let nanos = |name: &str| text(name).and_then(|nanos| nanos.parse().ok()).expect("nanoseconds, as text");
    let has_parent = !span["parentSpanId"].is_null();
    let failure = (span["status"]["code"] == 2).then(|| span["status"]["message"].as_str());
    let seen = ReceivedSpan {
        trace: id("traceId", 32),
        id: id("spanId", 16),
        parent: if has_parent { id("parentSpanId", 16) } else { String::new() },
        name: text("name").expect("a name"),
        kind: span["kind"].as_u64().expect("a kind"),
        start: nanos("startTimeUnixNano"),
        end: nanos("endTimeUnixNano"),
        facts: facts(&span["attributes"]),
        failure: failure.map(|message| message.unwrap_or_default().to_owned()),
        state: text("traceState"),
        resource: resource.clone(),
    };
    assert!(seen.start <= seen.end, "{seen:?}");
    seen
}

fn facts(attributes: &Value) -> HashMap<String, String> {
    let one = |attribute: &Value| {
        let value = &attribute["value"];
        let value = value["stringValue"].as_str().or_else(|| value["intValue"].as_str());
        let key = attribute["key"].as_str().expect("a key");
        (key.to_owned(), value.expect("text, or a number as text").to_owned())
    };
    attributes.as_array().expect("attributes").iter().map(one).collect()
}
