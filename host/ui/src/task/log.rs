//! The log of a task: text, whatever a guest has written.

use maud::{Markup, html};

use crate::part::ansi::{Needle, coloured};
use crate::part::text::visible;
use crate::part::{command, unit};
use crate::record::{LogLine, Task};

/// Streams of a guest.
pub const STREAMS: [&str; 2] = ["stdout", "stderr"];
/// Longest text to look for in a log.
pub const FIND_CHARS_MAX: usize = 200;
/// Attempts to choose from, the newest.
const ATTEMPTS_SHOWN: u32 = 100;

/// Which lines of a log are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Only lines of this stream.
    pub stream: Option<&'static str>,
    /// Only lines of this attempt.
    pub attempt: Option<u32>,
    /// Only lines that have this text.
    pub find: String,
}

impl LogFilter {
    /// Returns the lines that are to be shown, newest last.
    pub fn apply(&self, lines: &mut Vec<LogLine>) {
        let find = Needle::new(&self.find);
        lines.retain(|line| {
            self.stream.is_none_or(|stream| line.stream == stream)
                && self.attempt.is_none_or(|attempt| line.attempt == attempt)
                && (find.is_empty() || find.is_in(&line.text))
        });
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The end of a log.
#[derive(Clone, Debug, Default)]
pub struct LogTail {
    /// The newest lines that the filter lets through, oldest first.
    pub lines: Vec<LogLine>,
    /// How many it lets through, and how many there are.
    pub found: u64,
    /// How many lines are stored.
    pub stored: u64,
    /// Number of the newest line, whether it is shown or not.
    pub last: u64,
    /// Which lines are shown.
    pub filter: LogFilter,
}

/// Shows the newest lines. `log.js` follows the log from there.
pub(super) fn section(task: &Task, tail: &LogTail, root: &str) -> Markup {
    let LogTail { lines, found, stored, last, filter } = tail;
    let logs = format!("{root}task/{}/logs", task.id);
    let find = Needle::new(&filter.find);
    let has_older = *found > lines.len() as u64;
    html! {
        section.logs aria-labelledby="log-title" {
            div.row {
                h2 id="log-title" { "Log" }
                div.buttons {
                    label.check.script { input type="checkbox" id="log-wrap" checked; span { "Wrap" } }
                    button.quiet.script type="button" id="log-read" aria-pressed="false" { "Read new lines aloud" }
                    a href={ (logs) "?limit=10000" } download={ "log-" (task.short_id()) ".json" } { "Download" }
                }
            }
            (choose(task, filter, root))
            p.note id="log-count" {
                @if !filter.is_empty() { (unit::count(*found)) " of " (unit::count(*stored)) " lines" }
            }
            @if has_older { p.note id="log-older" { "The newest lines are shown; the download has the earlier ones." } }
            div.log id="log" role="log" aria-live="off" aria-labelledby="log-title" tabindex="0"
                data-logs=(logs) data-last=(last) data-stored=(stored) data-found=(found) data-done[task.is_final()] {
                @for lines in lines.chunks(100) {
                    div.block data-lines=(lines.len()) { @for line in lines { (text(line, &find)) "\n" } }
                }
            }
            p.empty id="log-empty" hidden[!lines.is_empty()] {
                @if !filter.is_empty() { "No line is like that." }
                @else if task.is_final() { "The guest has written nothing." }
                @else { "Nothing yet." }
            }
            button.small.primary id="log-end" type="button" hidden { "new lines ↓" }
            (command::lines("GET", &format!("/task/{}/logs", task.id), None, Some(&format!("wasmill logs -f {}", task.id))))
        }
    }
}

/// The fields that choose lines; script applies them while they are filled in.
fn choose(task: &Task, filter: &LogFilter, root: &str) -> Markup {
    let page = format!("{root}ui/task/{}", task.id);
    let oldest = task.attempt.saturating_sub(ATTEMPTS_SHOWN) + 1;
    html! {
        form.choose id="log-filter" method="get" action=(page) role="search" aria-label="Lines of the log" {
            label {
                span { "Stream" }
                select name="stream" {
                    option value="" { "all" }
                    @for stream in STREAMS { option value=(stream) selected[filter.stream == Some(stream)] { (stream) } }
                }
            }
            @if task.attempt > 1 || filter.attempt.is_some() {
                label {
                    span { "Attempt" }
                    select name="attempt" {
                        option value="" { "all" }
                        @for attempt in (oldest..=task.attempt).rev() { option value=(attempt) selected[filter.attempt == Some(attempt)] { (attempt) } }
                    }
                }
            }
            label.grow { span { "Find" } input type="search" name="find" value=(filter.find) maxlength=(FIND_CHARS_MAX) autocomplete="off" spellcheck="false"; }
            button type="submit" { "Filter" }
            a.button id="log-clear" href=(page) hidden[filter.is_empty()] { "Clear" }
        }
    }
}

/// Writes a line as `log.js` does: time of day, attempt, stream, and the text.
fn text(line: &LogLine, find: &Needle) -> Markup {
    let time = line.time.get(11..23).unwrap_or(&line.time);
    let stream = if line.stream == "stderr" { "err" } else { "out" };
    html! { (visible(time)) " " (line.attempt) " " (stream) "  " (coloured(&line.text, find)) @if line.cut { " …" } }
}
