//! The plugins that all hosts run.

pub(crate) mod published;
