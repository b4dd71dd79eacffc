//! `GET /metrics`: metrics in the text format of Prometheus (OpenMetrics 1.0).
//!
//! Each crate counts; this module collects and names the metrics. Nothing here scans all tasks, and clients
//! choose no label: HTTP requests are labelled by route, tasks by plugin.

mod exposition;
mod gather;
mod http;
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use wasmill_model::Timestamp;

use self::exposition::Exposition;
use self::http::HttpMetrics;
pub(crate) use self::http::count;
use crate::app::Api;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;

/// Counters of the API and the process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: HttpMetrics,
    log: Arc<LogEvents>,
    started_at: Timestamp,
}

/// Counts log events at `error` and `warn`.
#[derive(Debug, Default)]
pub struct LogEvents {
    errors: AtomicU64,
    warnings: AtomicU64,
}

impl LogEvents {
    /// Counts an error.
    pub fn add_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a warning.
    pub fn add_warning(&self) {
        self.warnings.fetch_add(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Creates the counters of a process with this start time and these log events.
    pub fn new(log: Arc<LogEvents>, started_at: Timestamp) -> Self {
        Self { shared: Arc::new(Shared { http: HttpMetrics::default(), log, started_at }) }
    }
}

pub(crate) fn spec() -> Operation {
    Operation::get("/metrics", "getMetrics", "Get metrics for Prometheus")
        .responds(200, ResponseSpec::text("OpenMetrics 1.0.", "application/openmetrics-text"))
}

pub(crate) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let metrics = gather::gather(&api).await;
    let text = Exposition::new(metrics).text();
    let text = text.map_err(|_| Problem::internal_error("failed to encode the metrics"))?;
    Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text))
}
