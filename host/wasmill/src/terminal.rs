//! What a terminal is given: colours, bars, clean text, one live line.
//!
//! Used by the commands for people. Knows no server and no task.

pub(crate) mod status_line;
pub(crate) mod style;
pub(crate) mod text;

use std::os::fd::AsFd;

/// Columns of a bar that has a line to itself.
pub(crate) const BAR_COLUMNS: usize = 24;

/// The size of a terminal that does not tell.
const DEFAULT_SIZE: (usize, usize) = (80, 24);

/// Returns the columns and rows of a terminal.
pub(crate) fn size(terminal: impl AsFd) -> (usize, usize) {
    let Ok(size) = rustix::termios::tcgetwinsize(terminal) else { return DEFAULT_SIZE };
    match (usize::from(size.ws_col), usize::from(size.ws_row)) {
        (0, _) | (_, 0) => DEFAULT_SIZE,
        size => size,
    }
}
