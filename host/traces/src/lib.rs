//! Exports the recorded spans to a collector: OTLP over HTTP.
//!
//! `serve` starts it if a collector is configured, and closes it last. Nothing waits for the collector: when the
//! tracer's queue is full, new spans are dropped there and counted.

mod collector;
mod otlp;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use wasmill_egress::{self as egress, Connector, Route};
use wasmill_model::{BoxFuture, Clock, Span, Tracer};

use self::collector::Collector;

/// The first and the longest wait before a request is retried, and the longest that a collector may ask for.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// How long the shutdown waits for the collector.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of a response that are read.
const RESPONSE_BYTES_MAX: usize = 64 << 10;

/// An exporter, and its loop to spawn.
pub type Export = (Exporter, BoxFuture<'static, ()>);

/// Closes the export.
pub struct Exporter {
    closing: CancellationToken,
    ended: oneshot::Receiver<()>,
}

/// Creates the tracer, and the exporter with its loop for the collector that the setting or the environment names;
/// without one, the tracer is off. `connect` creates a connector that also trusts the certificates of a file.
///
/// # Errors
///
/// Fails if the collector's address or certificates are invalid.
pub fn prepare(
    endpoint: Option<&str>,
    clock: &Arc<dyn Clock>,
    connect: impl FnOnce(Option<&Path>) -> Result<Connector, String>,
) -> Result<(Tracer, Option<Export>)> {
    let Some(collector) = collector::find(endpoint, &|name| std::env::var(name).ok())? else {
        return Ok((Tracer::default(), None));
    };
    let roots = collector.certificate.as_deref().filter(|_| collector.endpoint.tls);
    let connector =
        connect(roots).map_err(|why| anyhow!("failed to read OTEL_EXPORTER_OTLP_CERTIFICATE: {why}"))?;
    let (spans_ready, batch_full) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notify = (Arc::clone(&spans_ready), Arc::clone(&batch_full));
    let batch_max = collector.batch_max;
    let tracer = Tracer::new(collector.sampler, Arc::clone(clock), move |kept| {
        notify.0.notify_one();
        if kept >= batch_max {
            notify.1.notify_one();
        }
    });
    tracing::info!(collector = collector.url(), "exporting traces");
    let closing = CancellationToken::new();
    let sender = Sender {
        tracer: tracer.clone(),
        connector,
        collector,
        spans_ready,
        batch_full,
        closing: closing.clone(),
        is_failing: false,
    };
    let (ending, ended) = oneshot::channel::<()>();
    let send = Box::pin(async move {
        sender.send().await;
        drop(ending);
    });
    Ok((tracer, Some((Exporter { closing, ended }, send))))
}

impl Exporter {
    /// Exports the remaining spans, if the collector accepts them in time.
    pub async fn close(mut self) {
        self.closing.cancel();
        if timeout(CLOSE_TIMEOUT, &mut self.ended).await.is_err() {
            tracing::warn!("dropped the last spans: the collector did not respond within {CLOSE_TIMEOUT:?}");
        }
    }
}

/// Exports spans, one request at a time.
struct Sender {
    tracer: Tracer,
    connector: Connector,
    collector: Collector,
    /// Signalled when there are spans.
    spans_ready: Arc<Notify>,
    /// Signalled when there are enough spans for a request.
    batch_full: Arc<Notify>,
    closing: CancellationToken,
    /// True if the last request failed.
    is_failing: bool,
}

/// The outcome of a request.
enum ExportOutcome {
    /// The collector accepted the request, except for some spans.
    Accepted { rejected: u64, why: String },
    /// The collector rejected the request.
    Rejected(String),
    /// The request failed and may be retried, after this wait if the collector asks for one.
    Failed(String, Option<Duration>),
}

impl Sender {
    async fn send(mut self) {
        while !self.closing.is_cancelled() {
            tokio::select! {
                () = self.spans_ready.notified() => {}
                () = self.closing.cancelled() => {}
            }
            tokio::select! {
                () = sleep(self.collector.batch_delay) => {}
                () = self.batch_full.notified() => {}
                () = self.closing.cancelled() => {}
            }
            loop {
                let spans = self.tracer.fetch(self.collector.batch_max);
                if spans.is_empty() {
                    break;
                }
                self.deliver(&spans).await;
            }
        }
    }

    /// Exports these spans, retrying until the collector answers; only the shutdown gives up.
    async fn deliver(&mut self, spans: &[Span]) {
        let body = otlp::request(&self.collector.resource, spans, self.collector.encoding);
        let body = Bytes::from(if self.collector.is_gzipped { gzip(&body) } else { body });
        let count = spans.len() as u64;
        let mut pause = RETRY_FIRST;
        loop {
            let is_last = self.closing.is_cancelled();
            let mut asked = None;
            match timeout(self.collector.timeout, self.post(body.clone())).await {
                Ok(ExportOutcome::Accepted { rejected, why }) => {
                    let rejected = rejected.min(count);
                    self.tracer.sent(count - rejected, rejected);
                    return self.log_change(if rejected > 0 { Err(why) } else { Ok(()) });
                }
                Ok(ExportOutcome::Rejected(why)) => {
                    self.tracer.sent(0, count);
                    return self.log_change(Err(why));
                }
                Ok(ExportOutcome::Failed(why, wait)) => {
                    asked = wait;
                    self.log_change(Err(why));
                }
                Err(_) => self.log_change(Err(format!("no response within {:?}", self.collector.timeout))),
            }
            if is_last {
                return;
            }
            tokio::select! {
                () = sleep(pause.max(asked.unwrap_or_default())) => {}
                () = self.closing.cancelled() => {}
            }
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    async fn post(&self, body: Bytes) -> ExportOutcome {
        let Collector { endpoint, path, headers, timeout, encoding, .. } = &self.collector;
        let mut request = Request::post(path)
            .header(USER_AGENT, egress::USER_AGENT)
            .header(CONTENT_TYPE, encoding.content_type());
        if self.collector.is_gzipped {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let mut request = match request.body(Full::new(body)) {
            Ok(request) => request,
            Err(error) => return ExportOutcome::Rejected(error.to_string()),
        };
        request.headers_mut().extend(headers.clone());
        let route = Route {
            endpoint,
            is_allowed: &|_| true,
            connect_timeout: *timeout,
            head_timeout: *timeout,
            meter: None,
            finish_headers: None,
        };
        let (response, _driver) = match self.connector.send(route, request).await {
            Ok(sent) => sent,
            Err(error) => return ExportOutcome::Failed(error.to_string(), None),
        };
        let status = response.status();
        let waits = response.headers().get(RETRY_AFTER).map(|value| {
            let seconds = value.to_str().ok().and_then(|seconds| seconds.trim().parse().ok());
            seconds.map_or(RETRY_FIRST, Duration::from_secs).min(RETRY_AFTER_MAX)
        });
        // The body is only used in the log.
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if status.is_success() {
            let (rejected, why) = otlp::rejected(&body, *encoding);
            return ExportOutcome::Accepted { rejected, why };
        }
        let may_pass = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        // Any other status is final, whatever it says of a later attempt (OTLP, "Retryable response codes").
        if may_pass.contains(&status) {
            return ExportOutcome::Failed(format!("the collector answered {status}"), waits);
        }
        let said = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        ExportOutcome::Rejected(format!("the collector answered {status}: {said}"))
    }

    /// Logs when exports start to fail and when they recover, not each failure.
    fn log_change(&mut self, sent: Result<(), String>) {
        let was_failing = std::mem::replace(&mut self.is_failing, sent.is_err());
        match sent {
            Err(why) if !was_failing => {
                let collector = self.collector.url();
                tracing::warn!(collector, why, "failed to export traces; tasks are not affected");
            }
            Err(why) => tracing::debug!(why, "failed to export traces again"),
            Ok(()) if was_failing => tracing::info!("exporting traces again"),
            Ok(()) => {}
        }
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body).and_then(|()| gzip.finish()).expect("memory takes every byte")
}
