//! The parts of the benchmark.

pub(crate) mod access;
pub(crate) mod batch;
pub(crate) mod cancel;
pub(crate) mod cluster;
pub(crate) mod computing;
pub(crate) mod fairness;
pub(crate) mod files;
pub(crate) mod kinds;
pub(crate) mod large;
pub(crate) mod latency;
pub(crate) mod live;
pub(crate) mod many;
pub(crate) mod plugins;
pub(crate) mod restart;
pub(crate) mod suspended;
pub(crate) mod throughput;
pub(crate) mod ui;
pub(crate) mod watched;
