//! Streams of events.

pub(crate) mod stream;
