//! How tasks look: the lines of `status`, and how a task that ended is told.

use std::time::Duration;

use crate::client::{Task, until};
use crate::exit::Exit;
use crate::output::{self, say, tell};
use crate::screen::BAR_COLUMNS;
use crate::screen::paint::Paint;
use crate::screen::text::{bytes, clipped, time};

/// Prints where a task stands, for people.
pub(crate) fn status(task: &Task) {
    let paint = Paint::stdout();
    line("task", &task.id);
    line("status", &paint.state(&task.state, &task.status));
    line("plugin", &task.plugin);
    line("attempt", &attempt(task));
    line("age", &time(task.age()));
    let starts_in = until(&task.ready_at);
    if task.state == "waiting" && !starts_in.is_zero() {
        line("starts in", &time(starts_in));
    }
    if task.waits_for > 0 {
        line(
            "waits for",
            &format!("{} other task{}", task.waits_for, if task.waits_for == 1 { "" } else { "s" }),
        );
    }
    if task.priority != 0 {
        line("priority", &task.priority.to_string());
    }
    if !task.tags.is_empty() {
        line("tags", &task.tags.join(", "));
    }
    if let Some(group) = &task.group {
        line("group", group);
    }
    if task.started_at.is_some() {
        let timeout = time(Duration::from_millis(task.timeout_ms));
        line("ran", &format!("{} of at most {timeout}", time(task.duration())));
    }
    if let Some(progress) = &task.progress {
        let bar = paint.bar(progress.fraction, BAR_COLUMNS);
        line("progress", &format!("{bar} {} %  {}", progress.percent(), clipped(&progress.note, 200)));
    }
    if let Some(error) = &task.error {
        let error = format!("{}: {}", error.cause, error.message);
        line("error", &paint.red(error.replace('\n', "\n            ")));
    }
    if let Some(of) = &task.retry_of {
        line("retry of", of);
    }
    if let Some(trace) = &task.trace_id {
        line("trace", trace);
    }
    if let Some(usage) = &task.usage {
        line("used", &used(usage));
    }
}

fn attempt(task: &Task) -> String {
    let attempt = format!("{} of {}", task.attempt, task.last_attempt());
    match task.host_crashes {
        0 => attempt,
        1 => format!("{attempt}, 1 ended by a crash of the host"),
        crashes => format!("{attempt}, {crashes} ended by crashes of the host"),
    }
}

fn line(name: &str, value: &str) {
    say!("{name:<9} {value}");
}

/// Words what an attempt used, as far as the server tells and there is anything to tell.
fn used(usage: &serde_json::Map<String, serde_json::Value>) -> String {
    let number = |name: &str| usage.get(name).and_then(serde_json::Value::as_u64);
    let mut words = Vec::new();
    for (name, word) in [("cpu_ms", "computing"), ("queue_ms", "waiting to start")] {
        words.extend(number(name).map(|ms| format!("{} {word}", time(Duration::from_millis(ms)))));
    }
    words.extend(number("peak_memory_bytes").map(|peak| format!("{} memory", bytes(peak))));
    let counts = [
        ("http_requests", "HTTP requests"),
        ("checkpoints", "checkpoints"),
        ("files_created", "files created"),
    ];
    for (name, word) in counts {
        words.extend(number(name).filter(|&count| count > 0).map(|count| format!("{count} {word}")));
    }
    let written = number("disk_written_bytes").filter(|&written| written > 0);
    words.extend(written.map(|written| format!("{} written to disk", bytes(written))));
    words.join(", ")
}

/// Tells how a task that ended did: its result on stdout, or why there is none on stderr.
pub(crate) fn end(task: &Task) -> Exit {
    match task.state.as_str() {
        "completed" => {
            output::text(task.result.as_deref().unwrap_or_default());
            Exit::Done
        }
        "cancelled" => {
            let why = task.error.as_ref().filter(|error| error.cause == "dependency");
            let why = why.map(|error| format!(": {}", error.message));
            tell!("wasmill: task {} was cancelled{}", task.id, why.unwrap_or_default());
            Exit::Cancelled
        }
        _ => {
            let paint = Paint::stderr();
            let why = task.error.as_ref().map(|error| format!(": {}", error.message));
            tell!("wasmill: {}{}", paint.red(&task.status), why.unwrap_or_default());
            Exit::Failed
        }
    }
}
