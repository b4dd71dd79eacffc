//! Lines for people on stdout. Logs and errors go to stderr instead.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stdout};

/// Prints a line. When nobody reads it any more, as under `| head`, the process ends quietly.
pub(crate) fn line(text: Arguments<'_>) {
    let Err(error) = writeln!(stdout().lock(), "{text}") else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("wasmill: failed to write to stdout: {error}");
    std::process::exit(1);
}

/// Prints a line, formatted as by `println!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;
