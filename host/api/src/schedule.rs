//! Cron schedules: one file for each operation.

pub(crate) mod actions;
pub(crate) mod list;
mod lookup;
mod manifests;
pub(crate) mod put;

pub use self::list::task_factory;
pub use self::manifests::sync_manifest_schedules;
