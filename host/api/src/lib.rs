//! The HTTP API of Wasmill, and the only crate that depends on axum.
//!
//! Each endpoint has its own file. It validates the request once, calls the store or the scheduler, and
//! returns errors as `application/problem+json`.

mod access_policy;
mod batch;
mod body;
mod body_budget;
mod cancel;
mod cancel_many;
mod check_pool;
mod connection;
mod debug;
mod dependencies;
mod docs;
mod document_page;
mod drain;
mod events;
mod field_errors;
mod fields;
mod filter;
mod health;
mod idempotency_key;
mod index;
mod input;
mod list;
mod logs;
mod metrics;
mod openapi;
mod options;
mod params;
mod pause;
mod plugin_lookup;
mod plugins;
mod problem;
mod problem_kind;
mod problem_layer;
mod result;
mod retry;
mod retry_many;
mod router;
mod routes;
mod schedules;
mod schema;
mod server;
mod sse;
mod state;
mod stats;
mod status;
mod store_problem;
mod stream_limit;
mod submit;
mod task;
mod task_lookup;
mod trace;
mod undocumented;
mod upload;
mod upload_limits;
mod view;
mod wait;
mod webhook;

pub use access_policy::{
    AccessPolicy, HostName, InvalidHostName, InvalidNetwork, InvalidOrigin, Network, Origin,
};
pub use body::BodyConfig;
pub use body_budget::BodyBudget;
pub use check_pool::CheckPool;
pub use debug::{DebugState, debug_router};
pub use metrics::{LogEvents, Metrics};
pub use router::router;
pub use schedules::{sync_manifest_schedules, task_factory};
pub use server::{Server, ServerConfig, listen};
pub use state::{Api, ApiConfig, ApiParts};
pub use stream_limit::StreamLimit;
pub use upload_limits::UploadLimits;
pub use webhook::payload as webhook_payload;
