//! What clients read of tasks.

pub mod events;
pub mod log;
pub mod read;
pub mod search;
pub mod tags;
pub mod traces;
