//! Output of commands: results and tables on stdout, messages on stderr. Nothing else writes to either.
//!
//! Tables and messages are stripped of control sequences and misleading characters, no matter who wrote the text they quote.
//! Data (results, logs, JSON) is stripped on a terminal only, and stays byte for byte in files and pipes. A closed
//! pipe, as under `| head`, never causes a panic.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

use data_encoding::BASE64;

use crate::terminal::style::render;
use crate::terminal::text::sanitize;

/// Prints a line of a table or a message.
pub(crate) fn line(text: Arguments<'_>) {
    end_on_closed_pipe(writeln!(stdout().lock(), "{}", sanitized(&text.to_string())));
}

/// Prints a line of data.
pub(crate) fn data_line(text: Arguments<'_>) {
    end_on_closed_pipe(writeln!(stdout().lock(), "{}", as_data(&text.to_string())));
}

/// Prints data as text, adding a missing newline at the end.
pub(crate) fn text(text: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut out = stdout().lock();
    end_on_closed_pipe(write!(out, "{}{end}", as_data(text)).and_then(|()| out.flush()));
}

/// Prints a result: text as [`text`] does, and bytes as they are. A terminal gets the base64 of bytes instead.
pub(crate) fn result(result: &str, is_base64: bool) {
    let decoded = Some(result).filter(|_| is_base64 && !stdout().is_terminal());
    match decoded.and_then(|encoded| BASE64.decode(encoded.as_bytes()).ok()) {
        Some(decoded) => bytes(&decoded),
        None => text(result),
    }
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = stdout().lock();
    end_on_closed_pipe(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Prints a part of a line of data.
pub(crate) fn part(text: &str) {
    let mut out = stdout().lock();
    end_on_closed_pipe(write!(out, "{}", as_data(text)).and_then(|()| out.flush()));
}

/// Prints a message on stderr, ignoring errors.
pub(crate) fn remark(text: Arguments<'_>) {
    // There is nowhere to report a failure.
    let _ = writeln!(stderr().lock(), "{}", sanitized(&text.to_string()));
}

/// Returns a text for tables and messages: sanitized, with this program's colors.
pub(crate) fn sanitized(text: &str) -> Cow<'_, str> {
    render(text, sanitize)
}

/// Returns data for a terminal (sanitized) or for a file or pipe (unchanged).
pub(crate) fn data_for(text: &str, is_terminal: bool) -> Cow<'_, str> {
    if is_terminal { sanitized(text) } else { render(text, |text| text.into()) }
}

fn as_data(text: &str) -> Cow<'_, str> {
    data_for(text, stdout().is_terminal())
}

fn end_on_closed_pipe(written: std::io::Result<()>) {
    let Err(error) = written else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    remark(format_args!("wasmill: failed to write to stdout: {error}"));
    std::process::exit(1);
}

/// Prints a line of a table or a message to stdout, formatted like `println!`.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use out;

/// Prints a line of data to stdout, formatted like `println!`.
macro_rules! data {
    ($($text:tt)*) => { $crate::output::data_line(format_args!($($text)*)) };
}
pub(crate) use data;

/// Prints a message to stderr, formatted like `eprintln!`.
macro_rules! note {
    ($($text:tt)*) => { $crate::output::remark(format_args!($($text)*)) };
}
pub(crate) use note;
