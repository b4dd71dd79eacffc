//! Plugins: load them, compile them, and run one instance per task in wasmtime.
//!
//! The binary makes a [`Runtime`] and hands it to the scheduler, which knows it as a
//! [`wasmill_model::Runner`]. The only crate that knows wasmtime. It never decides when a task runs,
//! never looks at a timeout, and stores nothing.

mod runtime;

mod capacity;
mod pool;

mod engine;
mod ticker;

mod inspect;
mod loader;
mod registry;

mod bindings;
mod guest;
mod guest_log;
mod host;
mod instance;
mod limiter;
mod outcome;
mod words;

pub use capacity::{Affordable, affordable_slots};
pub use pool::MemoryReset;
pub use registry::{PluginInfo, PluginSource, PluginState};
pub use runtime::{PoolUsage, Runtime, RuntimeConfig, RuntimeError};
