//! Dependencies, stored with their dependents and resolved when a task ends.

pub(crate) mod children;
pub(crate) mod record;
pub(crate) mod resolution;
pub(crate) mod results;
