//! Streams of events.

mod message;
mod sampled;
pub(crate) mod stream;
mod within;
