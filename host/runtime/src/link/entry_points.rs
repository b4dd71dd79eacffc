//! The names of the main functions of programs.

/// The interface of a main function, in any minor version.
pub(crate) const MAIN: &str = "wasi:cli/run@0.2.";
/// The entry point of a core module.
pub(crate) const START: &str = "_start";
