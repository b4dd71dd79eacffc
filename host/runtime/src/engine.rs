//! The wasmtime engines: their settings, their pools, and the thread that interrupts their guests.

pub(crate) mod capacity;
pub(crate) mod engines;
pub(crate) mod memory_reset;
pub(crate) mod pool;
pub(crate) mod profile;
pub(crate) mod swap;
pub(crate) mod ticker;
