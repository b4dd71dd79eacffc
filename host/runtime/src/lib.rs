//! Loads and compiles plugins, and runs one wasmtime instance per task.
//!
//! The binary creates a [`Runtime`] and passes it to the scheduler as a [`wasmill_model::Runner`]. This is the only
//! crate that depends on wasmtime. It never decides when a task runs, enforces no timeouts, and stores nothing.

mod config;
mod error;
mod run;
mod runtime;

mod capacity;
mod memory_reset;
mod pool;
mod swap;

mod engine;
mod kind;
mod profile;
mod thread_monitor;
mod ticker;

mod check;
mod handle_bytes;
mod registry;
mod request_span;
mod upload;
mod watcher;

mod cache;
mod compile;
mod compile_child;
mod compiler_config;
mod dir_rule;
mod folder;
mod kill_handle;
mod load_stats;
mod loader;
mod loader_config;
mod manifest;
mod plugin_config;
mod regular_file;
mod schema;

mod inspect;
mod linked_plugin;
mod name_list;
mod plugin;
mod plugin_context;
mod plugin_info;
mod wasm_summary;

mod backtrace;
mod bindings;
mod call_error;
mod cpu;
mod dependency_results;
mod entry_points;
mod files;
mod guest;
mod guest_log;
mod host_imports;
mod instance;
mod instance_status;
mod instances;
mod limiter;
mod machine_memory;
mod memory;
mod outcome;
mod program;
mod samples;
mod wasi_ctx;
mod wasi_overrides;

mod denial_log;
mod http_calls;
mod http_client;
mod http_hooks;
mod http_policy;
mod metered_stream;

mod format;
mod limits;

pub use cache::CacheConfig;
pub use capacity::{SlotCapacity, slot_capacity};
pub use check::check;
pub use compile_child::compile_child;
pub use compiler_config::CompilerConfig;
pub use config::RuntimeConfig;
pub use dir_rule::DirRule;
pub use error::RuntimeError;
pub use files::descriptors::{CLIENT_DESCRIPTORS, OWN_DESCRIPTORS, guest_descriptors};
pub use files::grants::ProtectedPath;
pub use http_calls::HttpCall;
pub use instance_status::{HostCall, InstanceState};
pub use instances::InstanceInfo;
pub use kind::PluginKind;
pub use load_stats::LoadStats;
pub use loader_config::{LoaderConfig, OnChange, WatchMode};
pub use machine_memory::machine_memory_bytes;
pub use memory_reset::MemoryReset;
pub use name_list::NameList;
pub use plugin_config::{
    HttpRule, InputCheck, MaxLimits, OutputFormat, Permissions, PluginConfig, RetryPolicy, ScheduleConfig,
};
pub use plugin_info::{PluginDetails, PluginInfo, PluginSource, PluginState};
pub use pool::guests_bytes_max;
pub use registry::NotReadyError;
pub use runtime::{MemoryUsage, PoolUsage, Runtime};
pub use samples::{GuestSample, GuestSampler};
pub use schema::{InputBudget, InputSchema, Violation};
pub use upload::{RemoveOutcome, UploadError, UploadOutcome};
