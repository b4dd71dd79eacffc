//! How the memory of a pooled instance is reset.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the memory of an instance is reset for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryReset {
    /// The kernel reports the touched pages (`PAGEMAP_SCAN`, Linux 6.7), and only those are cleared. Several times
    /// faster than decommitting.
    ClearTouched,
    /// Memory is returned to the kernel, because it does not report touched pages, or because there is swap: pages
    /// that were swapped out would not be reported.
    Decommit,
}

impl MemoryReset {
    /// Returns true if initial memories are mapped copy-on-write rather than copied.
    pub(crate) fn maps_images(self) -> bool {
        self == Self::Decommit
    }
}

/// Formats the sentence that `wasmill doctor` shows.
impl fmt::Display for MemoryReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClearTouched => "only pages touched by a guest are cleared after it",
            Self::Decommit => {
                "memory is returned to the kernel after each guest, which more than halves the throughput: \
                 there is swap, or the kernel is older than Linux 6.7"
            }
        })
    }
}
