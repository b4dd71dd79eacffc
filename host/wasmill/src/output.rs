//! What commands write: results and tables on stdout, remarks on stderr. The only way to either.
//!
//! Tables and messages are cleaned of what could drive a terminal or mislead its reader, whoever wrote the text
//! that they quote. Data (results, logs, JSON) is cleaned on a terminal alone, and stays byte for byte in files
//! and pipes. Neither ever panics because nobody reads it any more, as under `| head`.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

use crate::terminal::style::render;
use crate::terminal::text::sanitize;

/// Prints a line of a table or a message.
pub(crate) fn line(text: Arguments<'_>) {
    settle(writeln!(stdout().lock(), "{}", sanitized(&text.to_string())));
}

/// Prints a line of data.
pub(crate) fn data_line(text: Arguments<'_>) {
    settle(writeln!(stdout().lock(), "{}", as_data(&text.to_string())));
}

/// Prints a text of data; a line end is added where it has none.
pub(crate) fn text(text: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut out = stdout().lock();
    settle(write!(out, "{}{end}", as_data(text)).and_then(|()| out.flush()));
}

/// Prints a part of a line of data.
pub(crate) fn part(text: &str) {
    let mut out = stdout().lock();
    settle(write!(out, "{}", as_data(text)).and_then(|()| out.flush()));
}

/// Says something on stderr, if anybody listens.
pub(crate) fn remark(text: Arguments<'_>) {
    // Where could a failure be told?
    let _ = writeln!(stderr().lock(), "{}", sanitized(&text.to_string()));
}

/// Returns a text as tables and messages have it: clean, in the colours of this program.
pub(crate) fn sanitized(text: &str) -> Cow<'_, str> {
    render(text, sanitize)
}

/// Returns data as it goes to a terminal, or to where it is read by something else.
pub(crate) fn data_for(text: &str, is_terminal: bool) -> Cow<'_, str> {
    if is_terminal { sanitized(text) } else { render(text, |text| text.into()) }
}

fn as_data(text: &str) -> Cow<'_, str> {
    data_for(text, stdout().is_terminal())
}

fn settle(written: std::io::Result<()>) {
    let Err(error) = written else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    remark(format_args!("wasmill: failed to write to stdout: {error}"));
    std::process::exit(1);
}

/// Prints a line of a table or a message, formatted as by `println!`.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use out;

/// Prints a line of data, formatted as by `println!`.
macro_rules! data {
    ($($text:tt)*) => { $crate::output::data_line(format_args!($($text)*)) };
}
pub(crate) use data;

/// Says a line on stderr, formatted as by `eprintln!`.
macro_rules! note {
    ($($text:tt)*) => { $crate::output::remark(format_args!($($text)*)) };
}
pub(crate) use note;
