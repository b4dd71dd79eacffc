//! One run: a fresh instance, its polls, its outcome, and its place in the list of instances.

mod input_files;
pub(crate) mod instance;
pub(crate) mod instances;
pub(crate) mod outcome;
mod output_files;
mod result;
pub(crate) mod started_run;
