//! What requests about tasks may say: each file parses a part, or reports what is expected.

pub(crate) mod backoff;
pub(crate) mod dependencies;
pub(crate) mod filter;
pub(crate) mod options;
pub(crate) mod schema;
pub(crate) mod wait;
pub(crate) mod webhook;
