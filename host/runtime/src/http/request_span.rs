//! The trace span of an outgoing HTTP request.
//!
//! Created by `hooks` for each request. Propagates the trace context in `traceparent`, unless the guest does
//! so itself, and records a span if the trace is sampled. A run without a trace pays one comparison.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use wasmill_model::{RunHost, Span, SpanKind, Timestamp, TraceContext};
use wasmtime_wasi_http::{Error, WasiBody};

use wasmill_egress::Endpoint;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A request in flight, until its response head arrives.
pub(crate) struct RequestSpan(Option<Box<OpenSpan>>);

struct OpenSpan {
    host: Arc<dyn RunHost>,
    context: TraceContext,
    start: Timestamp,
    method: Method,
    endpoint: Endpoint,
    status: Option<StatusCode>,
    error: Option<String>,
}

impl RequestSpan {
    /// Starts a span, and adds the trace context to the request headers.
    pub(crate) fn start(
        host: &Arc<dyn RunHost>,
        request: &mut Request<WasiBody>,
        endpoint: Endpoint,
    ) -> Self {
        let Some(trace) = host.trace() else { return Self(None) };
        let Some((context, start)) = trace.begin() else {
            inject(trace.context(), request.headers_mut());
            return Self(None);
        };
        inject(&context, request.headers_mut());
        Self(Some(Box::new(OpenSpan {
            host: Arc::clone(host),
            context,
            start,
            method: request.method().clone(),
            endpoint,
            status: None,
            error: None,
        })))
    }

    /// Finishes the span with the status of the response, or with the error.
    pub(crate) fn finish(mut self, sent: Result<StatusCode, &Error>) {
        if let Some(open) = &mut self.0 {
            open.status = sent.ok();
            open.error = sent.err().map(ToString::to_string);
        }
    }
}

/// Adds a trace context to headers that have none.
fn inject(context: &TraceContext, headers: &mut HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    let Ok(traceparent) = HeaderValue::try_from(context.traceparent()) else { return };
    headers.insert(TRACEPARENT, traceparent);
    // The guest's value would belong to another trace.
    headers.remove(TRACESTATE);
    if let Some(Ok(state)) = context.state.as_deref().map(HeaderValue::try_from) {
        headers.insert(TRACESTATE, state);
    }
}

/// Recorded on drop: the guest may end before the response arrives.
impl Drop for OpenSpan {
    fn drop(&mut self) {
        let Some(trace) = self.host.trace() else { return };
        let end = trace.tracer().now().unwrap_or(self.start);
        // Guests can invent methods, but span names must be few.
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
            (None, None) => Some("the run ended before the response"),
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
    fn a_guest_that_propagates_a_trace_itself_is_left_alone() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::read(text, Some("a=1")).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("of=another"));
        inject(&context, &mut headers);
        assert_eq!(
            (header(&headers, &TRACEPARENT), header(&headers, &TRACESTATE)),
            (Some(text), Some("a=1"))
        );

        headers.insert(TRACEPARENT, HeaderValue::from_static("its own"));
        headers.remove(TRACESTATE);
        inject(&context, &mut headers);
        assert_eq!((header(&headers, &TRACEPARENT), header(&headers, &TRACESTATE)), (Some("its own"), None));
    }
}
