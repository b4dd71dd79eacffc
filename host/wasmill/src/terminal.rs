//! Terminal output: colors, bars, safe text and one status line.
//!
//! Used by commands with output for people. Knows neither servers nor tasks.

pub(crate) mod hidden;
pub(crate) mod status_line;
pub(crate) mod style;
pub(crate) mod text;

use std::os::fd::AsFd;

/// Columns of a bar on a line of its own.
pub(crate) const BAR_COLUMNS: usize = 24;

/// Assumed size of a terminal that does not report it.
const DEFAULT_SIZE: (usize, usize) = (80, 24);

/// Returns the columns and rows of a terminal.
pub(crate) fn size(terminal: impl AsFd) -> (usize, usize) {
    let Ok(size) = rustix::termios::tcgetwinsize(terminal) else { return DEFAULT_SIZE };
    match (usize::from(size.ws_col), usize::from(size.ws_row)) {
        (0, _) | (_, 0) => DEFAULT_SIZE,
        size => size,
    }
}
