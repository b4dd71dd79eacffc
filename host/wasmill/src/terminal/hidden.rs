//! Reads a line from the terminal without showing it.

use std::io::{self, Write, stderr, stdin};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Shows what is typed again on drop.
struct Hidden(Termios);

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nothing left to do if the terminal is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Asks on stderr, and returns the line, with its end.
///
/// # Errors
///
/// Fails if stdin is no terminal.
pub(crate) fn read_hidden(prompt: &str) -> io::Result<String> {
    let before = tcgetattr(stdin())?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let restored = Hidden(before);
    // Before the question: what is typed after it is never shown.
    tcsetattr(stdin(), OptionalActions::Drain, &hidden)?;
    write!(stderr(), "{prompt}")?;
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    drop(restored);
    writeln!(stderr())?;
    Ok(line)
}
