//! Names that stand in a file, as many as are kept of it.

use crate::format;

/// Names that are kept of one file.
const NAMES_MAX: usize = 100;
/// Bytes kept of each.
const NAME_BYTES_MAX: usize = 200;

/// The names of what a file imports or exports: the first hundred, and how many there are. A file can have a
/// million.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    /// The first ones, each cut where it gets too long.
    pub first: Vec<String>,
    /// How many there are in all.
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
