//! What endpoints of all resources share: bodies, parameters, streams, limits and headers.

pub(crate) mod accept;
pub(crate) mod audited;
pub(crate) mod authorize;
pub(crate) mod body;
pub(crate) mod body_budget;
pub(crate) mod browser;
pub(crate) mod check_pool;
pub(crate) mod fields;
pub(crate) mod form_stream;
pub(crate) mod idempotency_key;
pub(crate) mod multipart;
pub(crate) mod params;
pub(crate) mod session_cookie;
pub(crate) mod signature;
pub(crate) mod sse;
pub(crate) mod stream_limit;
pub(crate) mod trace;
pub(crate) mod undocumented;
pub(crate) mod upload_limits;
