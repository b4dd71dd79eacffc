//! One live line at the bottom of stderr, with whole lines passing above it.
//!
//! Used by `run` and by whoever waits for a task. Where stderr is no terminal there is no live line,
//! and lines pass as they are.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use crate::output::{cleaned, data_for};
use crate::screen::paint::{Paint, is_dumb};
use crate::screen::text::{clipped, time};
use crate::screen::{BAR_COLUMNS, size};

/// How often the live line is drawn anew.
pub(crate) const REDRAW: Duration = Duration::from_millis(100);

/// What is being shown of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moment {
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
pub(crate) struct Live {
    is_terminal: bool,
    is_quiet: bool,
    /// Whether a line is drawn at all.
    is_drawn: bool,
    is_shown: bool,
    paint: Paint,
    turns: usize,
}

impl Live {
    /// Takes stderr; a quiet one draws nothing.
    pub(crate) fn new(is_quiet: bool) -> Self {
        let is_terminal = stderr().is_terminal();
        Self {
            is_terminal,
            is_quiet,
            is_drawn: is_terminal && !is_dumb() && !is_quiet,
            is_shown: false,
            paint: Paint::stderr(),
            turns: 0,
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
    pub(crate) fn draw(&mut self, moment: &Moment) {
        if !self.is_drawn {
            return;
        }
        self.turns += 1;
        let (columns, _) = size(stderr());
        let line = self.words(moment, columns);
        self.write(&cleaned(&line));
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

    fn words(&self, moment: &Moment, columns: usize) -> String {
        let Moment { title, fraction, note, elapsed } = moment;
        // The last column stays free: a full line would wrap.
        let mut room = columns.saturating_sub(1);
        let title = take(title, &mut room);
        let elapsed = take(&format!("  {}", time(*elapsed)), &mut room);
        let Some(fraction) = *fraction else {
            let wheel = take(["  |", "  /", "  -", "  \\"][self.turns % 4], &mut room);
            let note = take(&spaced(note), &mut room);
            return format!("{}{}{note}{}", self.paint.bold(title), wheel, self.paint.dim(elapsed));
        };
        let percent = take(&format!(" {:>3.0} %", (fraction * 100.0).floor()), &mut room);
        let bar_columns = BAR_COLUMNS.min(room / 3);
        let bar = self.paint.bar(fraction, bar_columns);
        room = room.saturating_sub(bar_columns);
        let gap = take("  ", &mut room);
        let note = take(&spaced(note), &mut room);
        format!("{}{gap}{bar}{percent}{note}{}", self.paint.bold(title), self.paint.dim(elapsed))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Takes as much of a text as there is room, and the room with it.
fn take(text: &str, room: &mut usize) -> String {
    let text = clipped(text, *room);
    *room -= text.width().min(*room);
    text
}

fn spaced(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("  {note}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::paint::{Color, choose};

    #[test]
    fn the_live_line_never_wraps() {
        choose(Color::Never);
        let live = Live::new(false);
        let moments = [
            Moment { title: "io-stub".to_owned(), fraction: Some(0.5), ..Moment::default() },
            Moment { title: "x".repeat(64), note: "漢字".repeat(99), ..Moment::default() },
            Moment {
                title: "hello".to_owned(),
                fraction: Some(1.0),
                note: "a\nnote\x1b[2J".repeat(30),
                elapsed: Duration::from_secs(4_000),
            },
        ];
        for moment in moments {
            for columns in [1, 10, 40, 80, 200] {
                let line = live.words(&moment, columns);
                assert!(!line.contains(['\n', '\x1b']), "{line:?}");
                assert!(line.width() < columns, "{columns}: {line:?}");
            }
        }
    }
}
