//! `GET /metrics`: metrics in the text format of Prometheus (OpenMetrics 1.0).
//!
//! Each crate counts; this module collects and names the metrics. Nothing here scans all tasks, and clients
//! choose no label: HTTP requests are labelled by route, tasks by plugin.

mod counters;
mod exposition;
mod gather;
pub(crate) mod get;
mod hosts;
mod http;
pub(crate) mod layer;
mod process;

pub use self::counters::{LogEvents, Metrics};
