//! What commands write: results and tables on stdout, remarks on stderr.
//!
//! Neither ever panics because nobody reads it any more, as under `| head`.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};

/// Prints a line. When nobody reads it any more, as under `| head`, the process ends quietly.
pub(crate) fn line(text: Arguments<'_>) {
    settle(writeln!(stdout().lock(), "{text}"));
}

/// Prints a text as it is; a line end is added where it has none.
pub(crate) fn text(text: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut out = stdout().lock();
    settle(write!(out, "{text}{end}").and_then(|()| out.flush()));
}

/// Prints a part of a line.
pub(crate) fn part(text: &str) {
    let mut out = stdout().lock();
    settle(write!(out, "{text}").and_then(|()| out.flush()));
}

/// Says something on stderr, if anybody listens.
pub(crate) fn remark(text: Arguments<'_>) {
    // Where could a failure be told?
    let _ = writeln!(stderr().lock(), "{text}");
}

fn settle(written: std::io::Result<()>) {
    let Err(error) = written else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    remark(format_args!("wasmill: failed to write to stdout: {error}"));
    std::process::exit(1);
}

/// Prints a line, formatted as by `println!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Says a line on stderr, formatted as by `eprintln!`.
macro_rules! tell {
    ($($text:tt)*) => { $crate::output::remark(format_args!($($text)*)) };
}
pub(crate) use tell;
