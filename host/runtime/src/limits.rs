//! Sizes that several layers agree on.

/// The maximum size of a plugin file.
pub const FILE_BYTES_MAX: u64 = 128 << 20;
/// The maximum size of a compiled plugin.
pub(crate) const ARTIFACT_BYTES_MAX: u64 = 1 << 30;
