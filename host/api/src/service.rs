//! The server itself: its version, health and documentation.

pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod index;
pub(crate) mod openapi;
