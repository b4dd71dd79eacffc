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
mod kept;
mod registry;
mod request_span;
mod upload;
mod watcher;

mod cache;
mod compile;
mod compile_child;
mod folder;
mod kill_handle;
mod load_stats;
mod loader;
mod manifest;
mod plugin_config;
mod schema;

mod inspect;
mod linked_plugin;
mod name_list;
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

mod format;

pub use cache::CacheConfig;
pub use capacity::{SlotCapacity, slot_capacity};
pub use check::check;
pub use compile::CompilerConfig;
pub use compile_child::compile_child;
pub use files::descriptors::{CLIENT_DESCRIPTORS, OWN_DESCRIPTORS, guest_descriptors};
pub use files::grants::ProtectedPath;
pub use http_calls::HttpCall;
pub use instances::InstanceInfo;
pub use kind::PluginKind;
pub use load_stats::LoadStats;
pub use machine_memory::machine_memory_bytes;
pub use name_list::NameList;
pub use place::{HostCall, InstanceState};
pub use plugin::InputCheck;
pub use plugin_config::{
    DirRule, HttpRule, MaxLimits, OutputFormat, Permissions, PluginConfig, RetryPolicy, ScheduleConfig,
};
pub use pool::MemoryReset;
pub use registry::{NotReadyError, PluginDetails, PluginInfo, PluginSource, PluginState};
pub use runtime::{LoaderConfig, MemoryUsage, PoolUsage, Runtime, RuntimeConfig, RuntimeError};
pub use samples::{GuestSample, GuestSampler};
pub use schema::{InputBudget, InputSchema, Violation};
pub use upload::{RemoveOutcome, UploadError, UploadOutcome};
pub use watcher::{OnChange, WatchMode};
