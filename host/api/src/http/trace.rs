//! Trace context of requests: reads `traceparent` and `tracestate`, and records a span per request.
//!
//! A layer around the operations that create tasks; it passes the context on as [`Caller`]. Invalid headers
//! are ignored (W3C Trace Context, section 3.2).

use std::convert::Infallible;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;
use wasmill_model::{Span, SpanId, SpanKind, Timestamp, TraceContext, Tracer};

use crate::openapi::Operation;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The routes that create tasks, all with POST.
pub(crate) const ROUTES: [&str; 4] = ["/task", "/task/batch", "/task/retry", "/task/{id}/retry"];

/// The span that the tasks of a request belong to, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(pub(crate) Option<TraceContext>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.remove::<Self>().unwrap_or_default())
    }
}

/// The layer.
pub(crate) async fn trace(State(tracer): State<Tracer>, mut request: Request, next: Next) -> Response {
    let Some(route) = route(&request) else { return next.run(request).await };
    let caller = read(request.headers());
    let (Some(context), Some(start)) = (tracer.begin(caller.as_ref()), tracer.now()) else {
        // No span is recorded here, but the tasks still belong to the caller's trace.
        if caller.is_some() {
            request.extensions_mut().insert(Caller(caller));
        }
        return next.run(request).await;
    };
    let mut answering = Answering {
        parent: caller.map(|caller| caller.span_id),
        start,
        status: None,
        context,
        route,
        tracer,
    };
    request.extensions_mut().insert(Caller(Some(answering.context.clone())));
    let response = next.run(request).await;
    answering.status = Some(response.status());
    response
}

fn route(request: &Request) -> Option<&'static str> {
    if request.method() != Method::POST {
        return None;
    }
    let matched = request.extensions().get::<MatchedPath>()?.as_str();
    ROUTES.into_iter().find(|route| *route == matched)
}

fn read(headers: &HeaderMap) -> Option<TraceContext> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let traceparent = given.next()?.to_str().ok()?;
    if given.next().is_some() {
        return None;
    }
    // Several headers are one list (W3C Trace Context, section 3.3.1).
    let states: Option<Vec<_>> =
        headers.get_all(TRACESTATE).iter().map(|state| state.to_str().ok()).collect();
    TraceContext::read(traceparent, states.map(|states| states.join(",")).as_deref())
}

/// A request in progress. Its span is recorded on drop, since the client may hang up.
struct Answering {
    context: TraceContext,
    parent: Option<SpanId>,
    route: &'static str,
    start: Timestamp,
    status: Option<StatusCode>,
    tracer: Tracer,
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.tracer.records(&self.context) {
            return;
        }
        let times = (self.start, self.tracer.now().unwrap_or(self.start));
        let mut span = Span::new(&self.context, self.parent, format!("POST {}", self.route), times)
            .with("http.request.method", "POST")
            .with("http.route", self.route);
        span.kind = SpanKind::Server;
        if let Some(status) = self.status {
            span = span.with("http.response.status_code", u64::from(status.as_u16()));
            if status.is_server_error() {
                span = span.failed(status.as_str());
            }
        }
        self.tracer.record([span]);
    }
}

/// Documents the headers.
pub(crate) fn add_headers(operation: Operation) -> Operation {
    let text = json!({"type": "string"});
    let example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    operation
        .header(
            "traceparent",
            "The calling span (W3C Trace Context). Invalid values are ignored.",
            &json!({"type": "string", "example": example}),
        )
        .header("tracestate", "State of the trace; propagated if it has at most 512 bytes.", &text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn several_traceparent_headers_are_ignored() {
        let context = read(&headers(&[(TRACEPARENT, GOOD), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")]));
        let context = context.expect("a context");
        assert_eq!((context.traceparent().as_str(), context.state.as_deref()), (GOOD, Some("a=1,b=2")));
        assert_eq!(read(&headers(&[(TRACEPARENT, GOOD), (TRACEPARENT, GOOD)])), None);
        assert_eq!(read(&headers(&[(TRACEPARENT, "nonsense"), (TRACESTATE, "a=1")])), None);
        assert_eq!(read(&headers(&[(TRACESTATE, "a=1")])), None);
    }
}
