//! `GET /metrics`: all metrics, in the OpenMetrics format of Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::exposition;
use super::gather;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::state::Api;

pub(crate) fn spec() -> Operation {
    Operation::get("/metrics", "getMetrics", "Get metrics for Prometheus")
        .responds(200, ResponseSpec::text("OpenMetrics 1.0.", "application/openmetrics-text"))
}

pub(crate) async fn get(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let text = exposition::encode(gather::gather(&api).await);
    let text = text.map_err(|_| Problem::internal_error("failed to encode the metrics"))?;
    Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text))
}
