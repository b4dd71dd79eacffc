//! The REST API: requests, answers, connections.

mod access;
mod access_policy;
mod agreement;
mod audit;
mod bodies;
mod browser;
mod contract;
mod dashboard;
mod debug;
mod filters;
mod floods;
mod follow;
mod hang_up;
mod input_checks;
mod limits;
pub(crate) mod metrics;
mod openapi;
mod overview;
mod problems;
mod raw_requests;
mod requests;
mod sessions;
mod tenants;
mod tls;
mod traces;
