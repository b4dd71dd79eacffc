//! The writer thread, its transactions, and what it keeps from one to the next.

pub(crate) mod batch;
pub(crate) mod batcher;
pub(crate) mod clock_skew;
pub(crate) mod events;
pub(crate) mod key_usage;
pub(crate) mod plugin_counts;
pub(crate) mod probe;
pub(crate) mod quarantine;
pub(crate) mod thread;
