//! A bounded list of names from a file.

use crate::error::format;

/// Names kept per file.
const NAMES_MAX: usize = 100;
/// Bytes kept per name.
const NAME_BYTES_MAX: usize = 200;

/// The names of a file's imports or exports: the first hundred, and the total. A file can have a million.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    /// The first names, each truncated if it is too long.
    pub first: Vec<String>,
    /// The total number of names.
    pub count: usize,
}

impl NameList {
    pub(crate) fn of(names: Vec<String>) -> Self {
        let count = names.len();
        let first =
            names.into_iter().take(NAMES_MAX).map(|name| format::truncate(name, NAME_BYTES_MAX)).collect();
        Self { first, count }
    }
}
