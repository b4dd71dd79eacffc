//! Specifies what an operation accepts.

use std::collections::HashMap;

/// What an operation accepts.
#[derive(Debug)]
pub(crate) struct RequestSpec {
    pub(crate) params: Vec<Param>,
    /// Whether a body is read; otherwise it must be empty.
    pub(crate) has_body: bool,
}

/// A parameter of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) name: String,
    /// Whether it may be repeated.
    pub(crate) is_list: bool,
}

impl Param {
    /// Creates a parameter that appears at most once.
    pub(crate) fn single(name: &str) -> Self {
        Self { name: name.to_owned(), is_list: false }
    }
}

/// What each operation accepts, by path and method.
pub(crate) type RequestSpecs = HashMap<&'static str, HashMap<&'static str, RequestSpec>>;
