//! A status line at the bottom of stderr, with whole lines scrolling above it.
//!
//! Used by `run` and by commands that wait for a task. If stderr is not a terminal, there is no status line, and lines
//! are written as they are.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use crate::output::{data_for, sanitized};
use crate::terminal::style::{Style, is_dumb};
use crate::terminal::text::{format_duration, truncated};
use crate::terminal::{BAR_COLUMNS, size};

/// How often the status line is redrawn.
pub(crate) const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// What the status line shows of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusView {
    /// Usually the name of a plugin.
    pub(crate) title: String,
    /// From 0.0 to 1.0, if known.
    pub(crate) fraction: Option<f64>,
    /// The current activity.
    pub(crate) note: String,
    /// Time elapsed so far.
    pub(crate) elapsed: Duration,
}

/// The status line on stderr.
#[derive(Debug)]
pub(crate) struct StatusLine {
    is_terminal: bool,
    is_quiet: bool,
    /// Whether the status line is drawn at all.
    is_drawn: bool,
    is_shown: bool,
    style: Style,
    frames: usize,
}

impl StatusLine {
    /// Creates a status line on stderr; a quiet one draws nothing.
    pub(crate) fn new(is_quiet: bool) -> Self {
        let is_terminal = stderr().is_terminal();
        Self {
            is_terminal,
            is_quiet,
            is_drawn: is_terminal && !is_dumb() && !is_quiet,
            is_shown: false,
            style: Style::stderr(),
            frames: 0,
        }
    }

    /// Returns true if the status line is drawn.
    pub(crate) fn is_drawn(&self) -> bool {
        self.is_drawn
    }

    /// Prints a line of the guest's log above, unless quiet.
    pub(crate) fn log(&mut self, line: &str) {
        if !self.is_quiet {
            self.line(line);
        }
    }

    /// Prints a line above the status line, sanitized on a terminal.
    pub(crate) fn line(&mut self, line: &str) {
        let line = data_for(line, self.is_terminal);
        self.write(&format!("{line}\n"));
    }

    pub(crate) fn draw(&mut self, view: &StatusView) {
        if !self.is_drawn {
            return;
        }
        self.frames += 1;
        let (columns, _) = size(stderr());
        let line = self.format_line(view, columns);
        self.write(&sanitized(&line));
        self.is_shown = true;
    }

    pub(crate) fn clear(&mut self) {
        self.write("");
    }

    /// Writes text in place of the status line.
    fn write(&mut self, text: &str) {
        let clear = if std::mem::take(&mut self.is_shown) { "\r\x1b[2K" } else { "" };
        let mut err = stderr().lock();
        // There is nowhere to report a failure.
        let _ = err.write_all(format!("{clear}{text}").as_bytes()).and_then(|()| err.flush());
    }

    fn format_line(&self, view: &StatusView, columns: usize) -> String {
        let StatusView { title, fraction, note, elapsed } = view;
        // The last column stays free: a full line would wrap.
        let mut room = columns.saturating_sub(1);
        let title = take_columns(title, &mut room);
        let elapsed = take_columns(&format!("  {}", format_duration(*elapsed)), &mut room);
        let Some(fraction) = *fraction else {
            let wheel = take_columns(["  |", "  /", "  -", "  \\"][self.frames % 4], &mut room);
            let note = take_columns(&spaced(note), &mut room);
            return format!("{}{}{note}{}", self.style.bold(title), wheel, self.style.dim(elapsed));
        };
        let percent = take_columns(&format!(" {:>3.0} %", (fraction * 100.0).floor()), &mut room);
        let bar_columns = BAR_COLUMNS.min(room / 3);
        let bar = self.style.bar(fraction, bar_columns);
        room = room.saturating_sub(bar_columns);
        let gap = take_columns("  ", &mut room);
        let note = take_columns(&spaced(note), &mut room);
        format!("{}{gap}{bar}{percent}{note}{}", self.style.bold(title), self.style.dim(elapsed))
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Takes as much of a text as fits, and reduces the columns left.
fn take_columns(text: &str, room: &mut usize) -> String {
    let text = truncated(text, *room);
    *room -= text.width().min(*room);
    text
}

fn spaced(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("  {note}") }
}

/// A status line that several tasks write to.
#[derive(Clone)]
pub(crate) struct SharedStatusLine(Arc<Mutex<StatusLine>>);

impl SharedStatusLine {
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self(Arc::new(Mutex::new(StatusLine::new(is_quiet))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, StatusLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::style::{Color, set_color};

    #[test]
    fn the_status_line_never_wraps() {
        set_color(Color::Never);
        let status_line = StatusLine::new(false);
        let views = [
            StatusView { title: "io-stub".to_owned(), fraction: Some(0.5), ..StatusView::default() },
            StatusView { title: "x".repeat(64), note: "漢字".repeat(99), ..StatusView::default() },
            StatusView {
                title: "hello".to_owned(),
                fraction: Some(1.0),
                note: "a\nnote\x1b[2J".repeat(30),
                elapsed: Duration::from_secs(4_000),
            },
        ];
        for view in views {
            for columns in [1, 10, 40, 80, 200] {
                let line = status_line.format_line(&view, columns);
                assert!(!line.contains(['\n', '\x1b']), "{line:?}");
                assert!(line.width() < columns, "{columns}: {line:?}");
            }
        }
    }
}
