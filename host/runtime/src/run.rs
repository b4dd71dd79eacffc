//! One run: a fresh instance, its polls, its outcome, and its place in the list of instances.

pub(crate) mod instance;
pub(crate) mod instances;
pub(crate) mod outcome;
mod result;
pub(crate) mod started_run;
