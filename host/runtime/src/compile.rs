//! Compiles wasm in a child process, and caches the code.

pub(crate) mod cache;
pub(crate) mod child;
pub(crate) mod compiler;
pub(crate) mod config;
pub(crate) mod kill_handle;
