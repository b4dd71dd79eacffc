//! The names with which plugins start.

/// The interface of a plugin that runs a task in one call.
pub(crate) const JOB: &str = "wasmill:task/job@0.2.0";
/// The interface of a suspendable plugin.
pub(crate) const RESUMABLE_JOB: &str = "wasmill:task/resumable-job@0.2.0";
/// The interface of a main function.
pub(crate) const MAIN: &str = "wasi:cli/run@0.2.0";
/// The entry point of a core module.
pub(crate) const START: &str = "_start";
