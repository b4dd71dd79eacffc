//! The queue as a whole: one file for each operation.

pub(crate) mod attention;
pub(crate) mod drain;
pub(crate) mod history;
pub(crate) mod hosts;
pub(crate) mod pause;
pub(crate) mod stats;
