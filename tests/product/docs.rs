//! The book and the examples are true.

mod bindings;
pub(crate) mod book;
mod examples;
mod reference;
mod sessions;
