//! The list of tasks, newest first, in pages. A cursor stays valid whatever is added or removed.

use std::fmt;
use std::str::FromStr;

use wasmill_model::Task;

use crate::Filter;

/// Selects a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Maximum tasks on the page. A page may be shorter, even empty, before the last: when results are large,
    /// or when few tasks match.
    pub limit: usize,
    /// Selects the tasks.
    pub filter: Filter,
    /// Cursor of the previous page; `None` for the first page.
    pub before: Option<Cursor>,
}

/// A page of tasks, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<Cursor>,
}

/// A position in the list, as the backend counts. Its text is opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub u128);

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
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidCursor)
    }
}

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor; use the cursor that the previous page returned")]
pub struct InvalidCursor;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_round_trips() {
        for place in [0, 1, 255, u128::MAX] {
            assert_eq!(Cursor(place).to_string().parse(), Ok(Cursor(place)));
        }
        for bad in ["", "-1", "+1", "x", "100000000000000000000000000000000", "1 "] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad:?}");
        }
    }
}
