//! Server-sent events. The body pulls a chunk from its source only when the client has taken the previous
//! one, so a slow client costs a position in the source instead of a queue.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use wasmill_scheduler::Scheduler;

use crate::http::stream_limit::StreamPermit;

/// The content type of a stream.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// Interval of keep-alive comments on an idle stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// First field of a stream: the reconnection delay in milliseconds.
const RETRY_FIELD: &str = "retry: 1000\n\n";

/// How long the last chunk may take once a drain is done.
const FINAL_CHUNK_TIMEOUT: Duration = Duration::from_millis(250);

/// Produces the chunks of a stream.
pub(crate) trait ChunkSource: Send + 'static {
    /// Waits for the next chunk; `None` at the end. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;
}

/// Responds with a stream that ends with its source, or shortly after a drain is done.
pub(crate) fn stream(source: impl ChunkSource, scheduler: Scheduler, permit: StreamPermit) -> Response {
    let chunks = stream::unfold((source, scheduler, permit), |mut state| async {
        let (source, scheduler, _) = &mut state;
        let chunk = tokio::select! {
            biased;
            chunk = source.next() => chunk,
            () = scheduler.drained() => {
                tokio::time::timeout(FINAL_CHUNK_TIMEOUT, source.next()).await.unwrap_or_default()
            }
            () = tokio::time::sleep(HEARTBEAT) => Some(":\n\n".to_owned()),
        };
        Some((chunk?, state))
    });
    let greeting = stream::iter([RETRY_FIELD.to_owned()]);
    let headers = [
        (header::CONTENT_TYPE, EVENT_STREAM),
        // Tells proxies not to buffer.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(greeting.chain(chunks).map(Ok::<_, Infallible>))).into_response()
}

/// Returns true if the client accepts an event stream.
pub(crate) fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepts.flat_map(|value| value.split(','));
    types.any(|accepted| {
        accepted.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(EVENT_STREAM)
    })
}

/// Returns the `Last-Event-ID`; an unparsable one counts as expired (`u64::MAX`).
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    let id = headers.get("last-event-id")?;
    Some(id.to_str().ok().and_then(|id| id.trim().parse().ok()).unwrap_or(u64::MAX))
}

/// Formats one event.
pub(crate) fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // Serialization of our types cannot fail, and JSON on one line has no line breaks.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\n{id}data: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_accept_header_with_event_stream_opens_a_stream() {
        let accepts = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            accepts_event_stream(&headers)
        };
        assert!(accepts("text/event-stream") && accepts("application/json, Text/Event-Stream;q=0.9"));
        assert!(!accepts("*/*") && !accepts("application/json") && !accepts_event_stream(&HeaderMap::new()));
    }

    #[test]
    fn an_event_is_one_block_whatever_its_data() {
        let text = event("log", Some(7), &serde_json::json!({"text": "a\nb\r\n\n"}));
        assert_eq!(text, "event: log\nid: 7\ndata: {\"text\":\"a\\nb\\r\\n\\n\"}\n\n");
        assert_eq!(event("end", None, &1), "event: end\ndata: 1\n\n");
    }

    #[test]
    fn a_foreign_last_event_id_counts_as_expired() {
        let last = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", header::HeaderValue::from_static(id));
            last_event_id(&headers)
        };
        assert_eq!((last("12"), last("abc"), last("-1")), (Some(12), Some(u64::MAX), Some(u64::MAX)));
        assert_eq!(last_event_id(&HeaderMap::new()), None);
    }
}
