//! The folders that plugins are granted: opening and checking them, their file descriptors, and the threads of
//! their calls.

pub(crate) mod descriptors;
pub(crate) mod executor;
pub(crate) mod granted;
pub(crate) mod rule;
pub(crate) mod scratch;
pub(crate) mod traversal;
