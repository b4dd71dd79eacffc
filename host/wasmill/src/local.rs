//! Commands that work on the files or the database of a server, and not through it.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod migrate;
