//! The engine that a plugin runs on.

use serde::{Deserialize, Serialize};

/// The engine of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// Pooled instances, whose memories are reset page by page: for small guests, as most are.
    Pooled,
    /// Instances allocated on demand, copy-on-write images, wasm exceptions: for interpreters and other guests that
    /// are too large or too demanding for the pools.
    OnDemand,
}

impl Profile {
    /// Returns the name that distinguishes cached code by profile.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pooled => "pooled",
            Self::OnDemand => "on-demand",
        }
    }
}
