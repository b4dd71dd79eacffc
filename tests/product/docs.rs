//! The book and the examples are true.

pub(crate) mod book;
mod examples;
mod reference;
mod sessions;
