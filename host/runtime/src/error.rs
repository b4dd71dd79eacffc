//! Why the runtime cannot start, or cannot read a file, and how sizes and names are written in messages.

pub(crate) mod format;

use std::io;
use std::path::PathBuf;

/// Why the runtime could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is not enough memory or address space for the slots, or wasmtime does not work on this machine.
    #[error("failed to reserve resources for {slots} slots: {reason}")]
    Engine {
        /// The number of slots.
        slots: u32,
        /// The error of wasmtime.
        reason: String,
    },
    /// The epoch thread could not be started.
    #[error("failed to start the thread that interrupts guests")]
    Ticker(#[source] io::Error),
    /// The threads that load plugins could not be started.
    #[error("failed to start the threads that load plugins")]
    Watcher(#[source] io::Error),
    /// A file cannot be read.
    #[error("failed to read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificates for outgoing HTTPS cannot be loaded.
    #[error("failed to load the certificates for outgoing HTTPS from {path}: {reason}")]
    HttpRoots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The plugins folder exists but cannot be read.
    #[error("failed to read plugins folder {path}")]
    PluginsFolder {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}
