//! Retention of finished tasks.

pub(crate) mod prune;
