//! Plugins: one file for each operation.

pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod schema;
mod sharing;
pub(crate) mod upload;

pub use self::sharing::PluginSharing;
