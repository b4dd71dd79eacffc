//! The HTTP API of Wasmill, and the only crate that depends on axum.
//!
//! Each endpoint has its own file. It validates the request once, calls the store or the scheduler, and
//! returns errors as `application/problem+json`.

mod debug;
mod event;
mod http;
mod metrics;
mod openapi;
mod plugin;
mod problem;
mod queue;
mod router;
mod routes;
mod schedule;
mod server;
mod service;
mod state;
mod task;
mod tls;
mod ui;
mod view;
mod webhook;

pub use debug::{DebugState, debug_router};
pub use http::body::BodyConfig;
pub use http::body_budget::BodyBudget;
pub use http::check_pool::CheckPool;
pub use http::stream_limit::StreamLimit;
pub use http::upload_limits::UploadLimits;
pub use metrics::{LogEvents, Metrics};
pub use plugin::PluginSharing;
pub use queue::attention::{DISK_FREE_MIN, DISK_FREE_RECOMMENDED};
pub use queue::history::{History, sample_history};
pub use router::router;
pub use schedule::{sync_manifest_schedules, task_factory};
pub use server::{
    AccessPolicy, HostName, IdentityHeader, InvalidHostName, InvalidIdentityHeader, InvalidListen,
    InvalidNetwork, InvalidOrigin, Listen, Listener, Network, Origin, ProxyIdentity, Server, ServerConfig,
};
pub use service::check::{Check, CheckState};
pub use service::check_reports::{CheckFn, Doctor};
pub use service::identity_provider::{IdentityError, IdentityProvider};
pub use state::{Api, ApiConfig, ApiParts, AuditConfig, DashboardConfig};
pub use task::{child_factory, inbox_factory};
pub use tls::{Tls, TlsError, TlsFiles};
pub use view::task::usage_view;
pub use webhook::payload as webhook_payload;
