//! Plugins: one file for each operation.

pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod schema;
pub(crate) mod upload;
