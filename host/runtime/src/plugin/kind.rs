//! The kinds of plugins.

use std::fmt;

/// The kind of a plugin, detected from its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PluginKind {
    /// A component that exports `wasmill:task/job`.
    Task,
    /// A component that exports `wasmill:task/resumable-job`.
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
