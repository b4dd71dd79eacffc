//! Plugins: load them, compile them, and run one instance per task in wasmtime.
//!
//! The binary makes a [`Runtime`] and hands it to the scheduler, which knows it as a
//! [`wasmill_model::Runner`]. The only crate that knows wasmtime. It never decides when a task runs,
//! never looks at a timeout, and stores nothing.

mod runtime;

mod capacity;
mod pool;
mod swap;

mod engine;
mod kind;
mod threads;
mod ticker;

mod check;
mod keeper;
mod kept;
mod registry;
mod request_span;
mod upload;

mod cache;
mod compile;
mod compile_child;
mod figures;
mod folder;
mod leash;
mod loader;
mod manifest;
mod schema;
mod terms;

mod code;
mod inspect;
mod names;
mod plugin;
mod survey;

mod backtrace;
mod bindings;
mod calls;
mod cpu;
mod files;
mod guest;
mod guest_log;
mod handed;
mod host;
mod instance;
mod instances;
mod limiter;
mod machine_memory;
mod memory;
mod outcome;
mod place;
mod program;
mod samples;
mod surroundings;

mod counted;
mod denials;
mod fetch;
mod gate;
mod http_calls;

mod words;

pub use cache::CacheConfig;
pub use capacity::{Affordable, affordable_slots};
pub use check::check;
pub use compile::CompilerConfig;
pub use compile_child::compile_child;
pub use figures::LoadFigures;
pub use files::descriptors::{CLIENT_DESCRIPTORS, OWN_DESCRIPTORS, guest_descriptors};
pub use files::grants::ProtectedPath;
pub use http_calls::HttpCall;
pub use instances::InstanceInfo;
pub use keeper::{OnChange, Watch};
pub use kind::PluginKind;
pub use machine_memory::machine_memory_bytes;
pub use names::Names;
pub use place::{HostCall, InstanceState};
pub use plugin::InputCheck;
pub use pool::{MemoryReset, guests_bytes_max};
pub use registry::{NotReady, PluginFacts, PluginInfo, PluginSource, PluginState};
pub use runtime::{MemoryUsage, PluginsConfig, PoolUsage, Runtime, RuntimeConfig, RuntimeError};
pub use samples::{GuestSample, GuestSampling};
pub use schema::{InputBudget, InputSchema, Violation};
pub use terms::{Ceilings, DirRule, HttpRule, OutputFormat, Permissions, Retry, ScheduleTerms, Terms};
pub use upload::{Removed, UploadError, Uploaded};
