//! One live line at the bottom of stderr, with whole lines passing above it.
//!
//! Used by `run` and by whoever waits for a task. Where stderr is no terminal there is no live line,
//! and lines pass as they are.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use crate::output::{data_for, sanitized};
use crate::terminal::style::{Style, is_dumb};
use crate::terminal::text::{format_duration, truncated};
use crate::terminal::{BAR_COLUMNS, size};

/// How often the live line is drawn anew.
pub(crate) const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// What is being shown of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusView {
    /// What goes on: the name of a plugin, mostly.
    pub(crate) title: String,
    /// From 0.0 to 1.0, if it is known.
    pub(crate) fraction: Option<f64>,
    /// What is being done.
    pub(crate) note: String,
    /// How long it has taken so far.
    pub(crate) elapsed: Duration,
}

/// The bottom line of stderr.
#[derive(Debug)]
pub(crate) struct StatusLine {
    is_terminal: bool,
    is_quiet: bool,
    /// Whether a line is drawn at all.
    is_drawn: bool,
    is_shown: bool,
    style: Style,
    frames: usize,
}

impl StatusLine {
    /// Takes stderr; a quiet one draws nothing.
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

    /// Says whether anything is drawn.
    pub(crate) fn is_drawn(&self) -> bool {
        self.is_drawn
    }

    /// Lets a line of the guest's log pass, unless quiet was asked for.
    pub(crate) fn log(&mut self, line: &str) {
        if !self.is_quiet {
            self.line(line);
        }
    }

    /// Lets a line pass above the live one. On a terminal it can do no harm.
    pub(crate) fn line(&mut self, line: &str) {
        let line = data_for(line, self.is_terminal);
        self.write(&format!("{line}\n"));
    }

    /// Draws the live line.
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

    /// Takes the live line away.
    pub(crate) fn clear(&mut self) {
        self.write("");
    }

    /// Writes something in the place of the live line.
    fn write(&mut self, text: &str) {
        let clear = if std::mem::take(&mut self.is_shown) { "\r\x1b[2K" } else { "" };
        let mut err = stderr().lock();
        // Where could a failure be told?
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

/// Takes as much of a text as there is room, and the room with it.
fn take_columns(text: &str, room: &mut usize) -> String {
    let text = truncated(text, *room);
    *room -= text.width().min(*room);
    text
}

fn spaced(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("  {note}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::style::{Color, set_color};

    #[test]
    fn the_live_line_never_wraps() {
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
