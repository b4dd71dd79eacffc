//! Tasks: one file for each operation.

pub(crate) mod activity;
pub(crate) mod batch;
pub(crate) mod cancel;
pub(crate) mod checkpoint;
pub(crate) mod dependents;
mod factory;
pub(crate) mod files;
pub(crate) mod get;
pub(crate) mod input;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod lookup;
pub(crate) mod many;
pub(crate) mod post_event;
pub(crate) mod request;
pub(crate) mod result;
pub(crate) mod retry;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod why;

pub use self::factory::{child_factory, inbox_factory};
