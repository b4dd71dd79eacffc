//! The kinds of files that can be plugins, and which engine each runs on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a plugin is, found out by looking inside its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PluginKind {
    /// A component for the world `wasmill:task/plugin`.
    Task,
    /// A component for the world `wasmill:task/suspendable-plugin`.
    Suspendable,
    /// A component that exports `wasi:cli/run`: a program with a main function.
    Command,
    /// A core module for WASI preview 1.
    Module,
}

impl PluginKind {
    /// Returns the word that machines read.
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

/// Which engine a plugin runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// Instances from pools, memories cleared page by page: for small guests, which most are.
    Pooled,
    /// Instances made on demand, images mapped copy-on-write, wasm exceptions: for interpreters and
    /// other guests that are too large or too demanding for the pools.
    OnDemand,
}

impl Profile {
    /// Returns the word that tells cached code of one profile from that of the other.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pooled => "pooled",
            Self::OnDemand => "on-demand",
        }
    }
}
