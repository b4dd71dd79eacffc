//! Loads and compiles plugins, and runs one wasmtime instance per task.
//!
//! The binary creates a [`Runtime`] and passes it to the scheduler as a [`wasmill_model::Runner`]. This is the only
//! crate that depends on wasmtime. It never decides when a task runs, enforces no timeouts, and stores nothing.
//!
//! The folders are layers: each uses only those below it in this list.

mod runtime;

mod load;
mod run;

mod link;

mod guest;

mod compile;
mod files;
mod tcp;

mod http;
mod manifest;

mod trust;

mod plugin;

mod secrets;

mod folders;
mod memory;

mod observe;

mod engine;

mod config;
mod error;

pub use compile::cache::CacheConfig;
pub use compile::child::compile_child;
pub use compile::config::CompilerConfig;
pub use config::{FILE_BYTES_MAX, RuntimeConfig};
pub use engine::capacity::{SlotCapacity, slot_capacity};
pub use engine::memory_reset::MemoryReset;
pub use engine::pool::guests_bytes_max;
pub use error::RuntimeError;
pub use files::regular_file::{open as open_file, read_bounded, read_file, read_text};
pub use folders::descriptors::{CLIENT_DESCRIPTORS, OWN_DESCRIPTORS, guest_descriptors};
pub use folders::rule::{DirRule, ScratchRule};
pub use http::roots::connector;
pub use load::bundle::{BundleScanner, BundleSignatures, PluginBundle};
pub use load::check::check;
pub use load::config::{LoaderConfig, OnChange, WatchMode};
pub use load::grants::ProtectedPath;
pub use load::published::SharedVersions;
pub use load::registry::{InService, NotReadyError};
pub use load::trusted::trust_file;
pub use load::upload::{RemoveOutcome, UploadError, UploadOutcome, UploadPreview};
pub use memory::machine::machine_memory_bytes;
pub use observe::http_calls::HttpCall;
pub use observe::instance_status::{HostCall, InstanceState};
pub use observe::load_stats::LoadStats;
pub use observe::samples::{GuestSample, GuestSampler};
pub use observe::tcp_sockets::{TcpSocketInfo, TcpSocketState};
pub use plugin::config::{
    HttpRule, InputCheck, MaxLimits, Permissions, PluginConfig, ResultFormat, RetryPolicy, ScheduleConfig,
};
pub use plugin::info::{PluginDetails, PluginInfo, PluginSource, PluginState};
pub use plugin::kind::PluginKind;
pub use plugin::name_list::NameList;
pub use plugin::output_pattern::{InvalidOutputPattern, OutputPattern};
pub use plugin::schema::{InputBudget, InputSchema, Violation};
pub use plugin::tcp_rule::TcpRule;
pub use run::instances::InstanceInfo;
pub use runtime::{MemoryUsage, PoolUsage, Runtime};
pub use secrets::{SecretConfig, SecretForm, SecretRule, SecretSource, Secrets, is_secret_name};
pub use trust::{ListError, PluginTrust, SIGNATURE_BYTES_MAX, SignedTrust, SigningKeys, SigningKeysError};
