//! The log of a task: text, whatever a guest has written.

use maud::{Markup, html};

use crate::part::ansi::coloured;
use crate::part::command;
use crate::part::text::visible;
use crate::record::{LogLine, Task};

/// Shows the newest lines. `log.js` follows the log from there.
pub(super) fn section(task: &Task, lines: &[LogLine], has_older: bool, root: &str) -> Markup {
    let last = lines.last().map_or(0, |line| line.seq);
    let logs = format!("{root}task/{}/logs", task.id);
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
            @if has_older { p.note { "The newest lines are shown; the download has the earlier ones." } }
            div.log id="log" role="log" aria-live="off" aria-labelledby="log-title" tabindex="0"
                data-logs=(logs) data-last=(last) data-done[task.is_final()] {
                @for lines in lines.chunks(100) {
                    div.block { @for line in lines { (text(line)) "\n" } }
                }
            }
            @if lines.is_empty() { p.empty id="log-empty" { @if task.is_final() { "The guest has written nothing." } @else { "Nothing yet." } } }
            button.small.primary id="log-end" type="button" hidden { "new lines ↓" }
            (command::lines("GET", &format!("/task/{}/logs", task.id), None, Some(&format!("wasmill logs -f {}", task.id))))
        }
    }
}

/// Writes a line as `log.js` does: time of day, attempt, stream, and the text.
fn text(line: &LogLine) -> Markup {
    let time = line.time.get(11..23).unwrap_or(&line.time);
    let stream = if line.stream == "stderr" { "err" } else { "out" };
    html! { (visible(time)) " " (line.attempt) " " (stream) "  " (coloured(&line.text)) @if line.cut { " …" } }
}
