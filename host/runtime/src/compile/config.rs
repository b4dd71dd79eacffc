//! The compiler program and its limits, as the binary configures them.

use std::path::PathBuf;
use std::time::Duration;

/// The compiler program, and the limits of each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerConfig {
    /// A program that calls `compile_child` with its second argument if the first is
    /// `compile`.
    pub program: PathBuf,
    /// The limit of address space, in bytes.
    pub memory_bytes: u64,
    /// The limit of CPU time of all threads, in whole seconds and at least one.
    pub cpu: Duration,
    /// The limit of wall-clock time.
    pub wall: Duration,
}

impl CompilerConfig {
    /// Creates a config with limits for the largest files: one of 69 MB takes about 100 s of CPU time.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            memory_bytes: 4 << 30,
            cpu: Duration::from_secs(600),
            wall: Duration::from_secs(600),
        }
    }
}
