//! The REST interface of Wasmill. The only crate that knows axum and the words of HTTP.
//!
//! One endpoint, one file. Each checks what it is given, once, and asks the store or the scheduler;
//! what leaves as an error leaves as `application/problem+json`.

mod app;
mod attempts;
mod batch;
mod body;
mod cancel;
mod cancel_many;
mod debug;
mod depends;
mod docs;
mod drain;
mod events;
mod filter;
mod followers;
mod health;
mod list;
mod logs;
mod metrics;
mod openapi;
mod options;
mod pause;
mod plugins;
mod problem;
mod problem_kind;
mod record;
mod request_key;
mod result;
mod retry;
mod retry_many;
mod routes;
mod schedules;
mod server;
mod sse;
mod stats;
mod status;
mod submit;
mod task;
mod trace;
mod upload;
mod wait;
mod webhook;

pub use app::{Api, ApiConfig, router};
pub use debug::{Debug, debug_router};
pub use followers::Followers;
pub use metrics::{LogEvents, Metrics};
pub use schedules::{follow_manifests, prepare};
pub use server::{Server, ServerConfig};
pub use upload::Uploads;
pub use wasmill_outside::{Allowed, InvalidAllowed};
pub use webhook::{InvalidSecret, Secrets, WebhookConfig, Webhooks};
