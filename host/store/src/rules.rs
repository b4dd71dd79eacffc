//! Rules that every backend shares, as pure functions and values: no database, no clock.

pub mod children;
pub mod dependency;
pub mod fair_queue;
pub mod finish;
pub mod group_limits;
pub mod key_usage;
pub mod plugin_counts;
pub mod post_event;
pub mod prune;
pub mod submit;
