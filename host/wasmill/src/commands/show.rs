//! Formats tasks: the lines of `status`, and the outcome of a finished task.

use std::time::Duration;

use crate::client::{Task, time_until};
use crate::exit::Exit;
use crate::output::{self, note, out};
use crate::terminal::BAR_COLUMNS;
use crate::terminal::style::Style;
use crate::terminal::text::{format_bytes, format_duration, truncated};

/// Prints the status of a task.
pub(crate) fn status(task: &Task) {
    let style = Style::stdout();
    line("task", &task.id);
    line("status", &style.state(&task.state, &task.status));
    line("state", task.full_state());
    line("plugin", &task.plugin);
    line("attempt", &attempt(task));
    line("age", &format_duration(task.age()));
    let starts_in = time_until(&task.ready_at);
    if task.state == "waiting" && !starts_in.is_zero() {
        line("starts in", &format_duration(starts_in));
    }
    if task.pending_dependencies > 0 {
        line(
            "waits for",
            &format!(
                "{} other task{}",
                task.pending_dependencies,
                if task.pending_dependencies == 1 { "" } else { "s" }
            ),
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
        let timeout = format_duration(Duration::from_millis(task.timeout_ms));
        line("ran", &format!("{} of at most {timeout}", format_duration(task.duration())));
    }
    if let Some(progress) = &task.progress {
        let bar = style.bar(progress.fraction, BAR_COLUMNS);
        line("progress", &format!("{bar} {} %  {}", progress.percent(), truncated(&progress.note, 200)));
    }
    if let Some(code) = task.exit_code {
        line("exit code", &code.to_string());
    }
    if let Some(error) = &task.error {
        let error = format!("{}: {}", error.cause, error.message);
        line("error", &style.red(error.replace('\n', "\n            ")));
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

pub(super) fn line(name: &str, value: &str) {
    out!("{name:<9} {value}");
}

/// Formats the resource usage of an attempt, as far as the server reports it.
fn used(usage: &serde_json::Map<String, serde_json::Value>) -> String {
    let number = |name: &str| usage.get(name).and_then(serde_json::Value::as_u64);
    let mut words = Vec::new();
    for (name, word) in [("cpu_ms", "computing"), ("queue_ms", "waiting to start")] {
        words.extend(number(name).map(|ms| format!("{} {word}", format_duration(Duration::from_millis(ms)))));
    }
    words.extend(number("peak_memory_bytes").map(|peak| format!("{} memory", format_bytes(peak))));
    let counts = [
        ("http_requests", "HTTP requests"),
        ("tcp_connections", "TCP connections"),
        ("checkpoints", "checkpoints"),
        ("files_created", "files created"),
    ];
    for (name, word) in counts {
        words.extend(number(name).filter(|&count| count > 0).map(|count| format!("{count} {word}")));
    }
    let written = number("disk_written_bytes").filter(|&written| written > 0);
    words.extend(written.map(|written| format!("{} written to disk", format_bytes(written))));
    words.join(", ")
}

/// Prints the outcome of a finished task: its result on stdout, or an error on stderr.
pub(crate) fn outcome(task: &Task) -> Exit {
    match task.state.as_str() {
        "completed" => {
            output::result(task.result.as_deref().unwrap_or_default(), task.result_encoding.is_some());
            Exit::Done
        }
        "cancelled" => {
            let why = task.error.as_ref().filter(|error| error.cause == "dependency");
            let why = why.map(|error| format!(": {}", error.message));
            note!("wasmill: task {} was cancelled{}", task.id, why.unwrap_or_default());
            Exit::Cancelled
        }
        _ => {
            let style = Style::stderr();
            let why = task.error.as_ref().map(|error| format!(": {}", error.message));
            note!("wasmill: {}{}", style.red(&task.status), why.unwrap_or_default());
            Exit::Failed
        }
    }
}
