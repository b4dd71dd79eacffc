//! An outgoing HTTP request as a part of the trace that its run is part of.
//!
//! Made by `gate` for each request that goes out. Hands the trace on in `traceparent`, unless the guest does
//! so itself, and tells of the request as a span where the trace is recorded. A run without a trace pays a
//! comparison.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use wasmill_model::{RunHost, Span, SpanKind, Timestamp, TraceContext};
use wasmtime_wasi_http::{Error, WasiBody};

use wasmill_egress::Endpoint;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A request that is on its way, until the head of its response is here.
pub(crate) struct RequestSpan(Option<Box<Begun>>);

struct Begun {
    host: Arc<dyn RunHost>,
    context: TraceContext,
    start: Timestamp,
    method: Method,
    endpoint: Endpoint,
    status: Option<StatusCode>,
    error: Option<String>,
}

impl RequestSpan {
    /// Begins it, and adds the trace to the headers of the request.
    pub(crate) fn begin(
        host: &Arc<dyn RunHost>,
        request: &mut Request<WasiBody>,
        endpoint: &Endpoint,
    ) -> Self {
        let Some(trace) = host.trace() else { return Self(None) };
        let Some((context, start)) = trace.begin() else {
            hand_on(trace.context(), request.headers_mut());
            return Self(None);
        };
        hand_on(&context, request.headers_mut());
        Self(Some(Box::new(Begun {
            host: Arc::clone(host),
            context,
            start,
            method: request.method().clone(),
            endpoint: endpoint.clone(),
            status: None,
            error: None,
        })))
    }

    /// Ends it with the status of the response, or with what went wrong.
    pub(crate) fn end(mut self, sent: Result<StatusCode, &Error>) {
        if let Some(begun) = &mut self.0 {
            begun.status = sent.ok();
            begun.error = sent.err().map(ToString::to_string);
        }
    }
}

/// Adds a trace to headers that have none.
fn hand_on(context: &TraceContext, headers: &mut HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    let Ok(traceparent) = HeaderValue::try_from(context.traceparent()) else { return };
    headers.insert(TRACEPARENT, traceparent);
    // That of a guest would be of another trace.
    headers.remove(TRACESTATE);
    if let Some(Ok(state)) = context.state.as_deref().map(HeaderValue::try_from) {
        headers.insert(TRACESTATE, state);
    }
}

/// Told when it is dropped: a guest may be gone before it has its answer.
impl Drop for Begun {
    fn drop(&mut self) {
        let Some(trace) = self.host.trace() else { return };
        let end = trace.tracer().now().unwrap_or(self.start);
        // Guests may make methods up, and spans have few names.
        let known = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::HEAD,
            Method::OPTIONS,
            Method::PATCH,
        ];
        let (name, method) = match known.contains(&self.method) {
            true => (self.method.to_string(), self.method.to_string()),
            false => ("HTTP".to_owned(), "_OTHER".to_owned()),
        };
        let parent = Some(trace.context().span_id);
        let mut span = Span::new(&self.context, parent, name, (self.start, end))
            .with("http.request.method", method)
            .with("url.scheme", self.endpoint.scheme())
            .with("server.address", self.endpoint.host.clone())
            .with("server.port", u64::from(self.endpoint.port));
        span.kind = SpanKind::Client;
        if let Some(status) = self.status {
            span = span.with("http.response.status_code", u64::from(status.as_u16()));
        }
        let error = match (&self.error, &self.status) {
            (Some(error), _) => Some(error.as_str()),
            (None, Some(status)) if status.is_client_error() || status.is_server_error() => {
                Some(status.as_str())
            }
            (None, Some(_)) => None,
            (None, None) => Some("the run ended before there was an answer"),
        };
        trace.tracer().record([match error {
            Some(error) => span.failed(error),
            None => span,
        }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
        headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn a_guest_that_hands_on_a_trace_itself_is_left_alone() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::read(text, Some("a=1")).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("of=another"));
        hand_on(&context, &mut headers);
        assert_eq!(
            (header(&headers, &TRACEPARENT), header(&headers, &TRACESTATE)),
            (Some(text), Some("a=1"))
        );

        headers.insert(TRACEPARENT, HeaderValue::from_static("its own"));
        headers.remove(TRACESTATE);
        hand_on(&context, &mut headers);
        assert_eq!((header(&headers, &TRACEPARENT), header(&headers, &TRACESTATE)), (Some("its own"), None));
    }
}
