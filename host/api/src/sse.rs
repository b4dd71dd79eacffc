//! Server-sent events: a body that asks its source for the next piece only when the client has taken the one
//! before. A slow client costs a place in the source, never a queue.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Serialize;
use wasmill_model::BoxFuture;
use wasmill_scheduler::Scheduler;

use crate::stream_limit::Place;

/// How often a stream that has nothing to tell shows that it is open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a client is told first: after how many milliseconds to come back when it is cut off.
const GREETING: &str = "retry: 1000\n\n";

/// How long the last piece may take once a drain is done.
const LAST_CALL: Duration = Duration::from_millis(250);

/// Where the pieces of a stream come from.
pub(crate) trait Source: Send + 'static {
    /// Waits for the next piece; `None` when there will be none. Nothing is lost if the future is dropped.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;
}

/// Answers with a stream that ends with its source, or shortly after a drain is done.
pub(crate) fn stream(source: impl Source, scheduler: Scheduler, place: Place) -> Response {
    let flow = Flow { source, scheduler, greeted: false, _place: place };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Asks proxies not to collect what is meant to be seen at once.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::new(EventBody { step: Some(Box::pin(advance(flow))) })).into_response()
}

/// Says whether the client asks for events.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepts.flat_map(|value| value.split(','));
    types.any(|accepted| {
        accepted.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// Returns the last event that the client says it has seen; what is no number of ours counts as one that is
/// not known any more.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    let id = headers.get("last-event-id")?;
    Some(id.to_str().ok().and_then(|id| id.trim().parse().ok()).unwrap_or(u64::MAX))
}

/// Writes one event.
pub(crate) fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // Data of ours has nothing that JSON cannot hold, and JSON has no line breaks.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\n{id}data: {data}\n\n")
}

struct Flow<S> {
    source: S,
    scheduler: Scheduler,
    greeted: bool,
    _place: Place,
}

impl<S: Source> Flow<S> {
    async fn next(&mut self) -> Option<String> {
        if !self.greeted {
            self.greeted = true;
            return Some(GREETING.to_owned());
        }
        tokio::select! {
            biased;
            piece = self.source.next() => piece,
            () = self.scheduler.drained() => {
                tokio::time::timeout(LAST_CALL, self.source.next()).await.unwrap_or_default()
            }
            () = tokio::time::sleep(HEARTBEAT) => Some(":\n\n".to_owned()),
        }
    }
}

async fn advance<S: Source>(mut flow: Flow<S>) -> (Option<String>, Flow<S>) {
    (flow.next().await, flow)
}

struct EventBody<S> {
    /// The way to the next piece; `None` after the last.
    step: Option<BoxFuture<'static, (Option<String>, Flow<S>)>>,
}

impl<S: Source> HttpBody for EventBody<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(step) = &mut self.step else { return Poll::Ready(None) };
        let (piece, flow) = std::task::ready!(step.as_mut().poll(context));
        self.step = piece.is_some().then(|| Box::pin(advance(flow)) as _);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sent_only_to_those_who_ask() {
        let wanted = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            is_wanted(&headers)
        };
        assert!(wanted("text/event-stream") && wanted("application/json, Text/Event-Stream;q=0.9"));
        assert!(!wanted("*/*") && !wanted("application/json") && !is_wanted(&HeaderMap::new()));
    }

    #[test]
    fn an_event_is_one_block_whatever_its_data() {
        let text = event("log", Some(7), &serde_json::json!({"text": "a\nb\r\n\n"}));
        assert_eq!(text, "event: log\nid: 7\ndata: {\"text\":\"a\\nb\\r\\n\\n\"}\n\n");
        assert_eq!(event("end", None, &1), "event: end\ndata: 1\n\n");
    }

    #[test]
    fn an_id_that_is_none_of_ours_is_an_unknown_one() {
        let last = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", header::HeaderValue::from_static(id));
            last_event_id(&headers)
        };
        assert_eq!((last("12"), last("abc"), last("-1")), (Some(12), Some(u64::MAX), Some(u64::MAX)));
        assert_eq!(last_event_id(&HeaderMap::new()), None);
    }
}
