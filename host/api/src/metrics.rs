//! `GET /metrics`: what the server does, in figures, in the text format of Prometheus (OpenMetrics 1.0).
//!
//! The rooms count; this asks them and names what they say. Nothing here looks at all tasks, and nothing is
//! labelled with what clients choose: an HTTP request by its route, a task by its plugin.

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
use self::http::Http;
pub(crate) use self::http::count;
use crate::app::Api;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;

/// What only the API and the process know. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Http,
    log: Arc<LogEvents>,
    started_at: Timestamp,
}

/// Counts the lines of the log that tell of trouble.
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
    /// Makes those of a process that started then and logs through `log`.
    pub fn new(log: Arc<LogEvents>, started_at: Timestamp) -> Self {
        Self { inner: Arc::new(Inner { http: Http::default(), log, started_at }) }
    }
}

pub(crate) fn about() -> Operation {
    Operation::get("/metrics", "getMetrics", "Figures for Prometheus")
        .answers(200, Answer::text("OpenMetrics 1.0.", "application/openmetrics-text"))
}

pub(crate) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let metrics = gather::gather(&api).await;
    let text = Exposition::new(metrics).text();
    let text = text.map_err(|_| Problem::internal_fault("writing the metrics failed"))?;
    Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text))
}
