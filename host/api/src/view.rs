//! JSON views: what responses show of tasks, plugins and schedules.
//!
//! Endpoints create them from values of the store and the runtime. They ask nobody for more.

pub(crate) mod activity;
pub(crate) mod attempt;
pub(crate) mod dependency;
pub(crate) mod file;
pub(crate) mod plugin;
pub(crate) mod plugin_changes;
pub(crate) mod schedule;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod webhook;
