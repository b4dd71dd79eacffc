//! The size of the runtime, which the binary decides, and sizes that several layers agree on.

use wasmill_model::Limits;

/// The maximum size of a plugin file.
pub const FILE_BYTES_MAX: u64 = 128 << 20;
/// The maximum size of a compiled plugin.
pub(crate) const ARTIFACT_BYTES_MAX: u64 = 1 << 30;

/// The size of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// The maximum number of concurrent guests. Address space and memory mappings are reserved for each; see
    /// [`slot_capacity`](crate::slot_capacity).
    pub slots: u32,
    /// The limits of each run. The scheduler enforces its timeout and log limit.
    pub limits: Limits,
    /// Bytes of memory for all runs together, including what pools keep for reuse; `None` to bound only each run.
    pub memory_total_bytes: Option<u64>,
}
