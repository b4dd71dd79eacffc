//! The webhook of a task: one file for each operation, and the payload of a delivery.

pub(crate) mod get;
mod payload;

pub use self::payload::payload;
pub(crate) use self::payload::spec as callback_spec;
