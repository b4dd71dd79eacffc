//! Files of tasks: as a request or a form gives them, on their way to the store, and as clients get them.

pub(crate) mod get;
pub(crate) mod given;
pub(crate) mod list;
mod range;
pub(crate) mod stage;
pub(crate) mod upload;
