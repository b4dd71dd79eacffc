//! Schedules and their due runs.

pub(crate) mod due_runs;
pub(crate) mod schedules;
