//! The newest-first list of tasks, page by page. A cursor stays valid whatever is added or removed.

use std::fmt;
use std::str::FromStr;

use wasmill_model::Task;

use crate::Filter;

/// Which page to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The most tasks on the page. It may end after fewer, also after none: when results are large, or
    /// when few of many tasks fit the filter.
    pub limit: usize,
    /// Which tasks are wanted.
    pub filter: Filter,
    /// Where the page before this one ended; `None` for the first.
    pub before: Option<Cursor>,
}

/// Some tasks, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<Cursor>,
}

/// A place between two tasks of the list. Its text is opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub(crate) i64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidCursor);
        }
        i64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidCursor)
    }
}

/// The text is no cursor of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is the text that came with the page before")]
pub struct InvalidCursor;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for seq in [0, 1, 255, i64::MAX] {
            assert_eq!(Cursor(seq).to_string().parse(), Ok(Cursor(seq)));
        }
        for bad in ["", "-1", "+1", "x", "8000000000000000", "1 "] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad:?}");
        }
    }
}
