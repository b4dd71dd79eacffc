//! The terminal while the table is shown: alternate screen, raw keys; everything is restored at the end.

use std::io::{IsTerminal, Write, stdin, stdout};

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::table::Table;
use crate::exit::{Exit, cli_error};
use crate::output::sanitized;
use crate::terminal::size;

/// Switches to the alternate screen and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A terminal in raw mode on its alternate screen, restored on drop.
pub(super) struct AltScreen {
    before: Termios,
}

impl AltScreen {
    /// Takes over the terminal.
    ///
    /// # Errors
    ///
    /// Fails if there is no terminal.
    pub(super) fn take() -> Result<Self> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Err(cli_error(
                Exit::Usage,
                "watch needs a terminal; use `wasmill list` for files and pipes",
            ));
        }
        let before = tcgetattr(stdin()).context("failed to read the terminal mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw).context("failed to set the terminal mode")?;
        // From here on `Drop` restores it, whatever fails.
        let terminal = Self { before };
        write(ENTER)?;
        Ok(terminal)
    }

    /// Draws the whole table in one write.
    pub(super) fn draw(&mut self, table: &Table) -> Result<()> {
        let (columns, rows) = size(stdout());
        let lines = table.lines(columns, rows);
        let mut frame = String::from("\x1b[H");
        for (at, line) in lines.iter().take(rows).enumerate() {
            frame.push_str(if at == 0 { "" } else { "\r\n" });
            frame.push_str(&sanitized(line));
            frame.push_str("\x1b[K");
        }
        frame.push_str("\x1b[J");
        write(&frame)
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        size(stdout()).1
    }
}

impl Drop for AltScreen {
    fn drop(&mut self) {
        // There is nowhere to report a failure.
        let _ = write(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

fn write(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("failed to write to the terminal")
}
