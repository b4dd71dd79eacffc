//! The kinds of plugins, and the engine that each runs on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a plugin, detected from its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PluginKind {
    /// A component of the world `wasmill:task/plugin`.
    Task,
    /// A component of the world `wasmill:task/suspendable-plugin`.
    Suspendable,
    /// A component that exports `wasi:cli/run`: a program with a main function.
    Command,
    /// A core module for WASI preview 1.
    Module,
}

impl PluginKind {
    /// Returns the machine-readable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Suspendable => "suspendable",
            Self::Command => "command",
            Self::Module => "module",
        }
    }
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
