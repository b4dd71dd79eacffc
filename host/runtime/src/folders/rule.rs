//! The grant of one folder, as a manifest writes it.

use std::path::PathBuf;

/// A folder of the host that a guest can access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirRule {
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path in the guest, such as `/in`.
    pub guest: String,
    /// Whether the guest may write to it.
    pub write: bool,
}
