//! What is done to all tasks that match a filter.

pub(crate) mod cancel;
pub(crate) mod delete;
pub(crate) mod retry;
mod selection;
