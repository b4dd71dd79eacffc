//! The book and the examples are true.

pub(crate) mod bindings;
mod book;
mod examples;
mod reference;
mod sessions;
