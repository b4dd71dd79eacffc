//! Outgoing HTTP of guests: the policy, the client, and the hooks of wasmtime-wasi-http.

pub(crate) mod client;
pub(crate) mod hooks;
pub(crate) mod policy;
pub(crate) mod request_span;
pub(crate) mod roots;
