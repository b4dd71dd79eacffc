//! The REST API: requests, answers, connections.

mod agreement;
mod bodies;
mod browser;
mod bulk;
mod contract;
mod dashboard;
mod debug;
mod filters;
mod floods;
mod follow;
mod hang_up;
mod input_checks;
pub(crate) mod metrics;
mod openapi;
mod overview;
mod problems;
mod raw_requests;
mod requests;
mod traces;
