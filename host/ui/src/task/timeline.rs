//! The attempts of a task on one scale of time: waiting apart from running.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::part::text::brief;
use crate::part::time::{Show, parse, time};
use crate::part::unit;
use crate::record::{Attempt, Task};

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 14.0;
/// Attempts that are drawn; older ones are counted.
const ATTEMPTS_MAX: usize = 20;
/// What resumes a suspended task before its time, in words.
const EARLIER: [(&str, &str); 3] = [
    ("event", ", or with the next event that is posted to it"),
    ("any_child", ", or when a child has ended"),
    ("all_children", ", or when the last child has ended"),
];

/// One attempt, in milliseconds since the task was created.
struct Span {
    start: f64,
    end: f64,
    /// When it became able to start: when the task was created, or the attempt before ended.
    ready: f64,
}

/// Shows the attempts, if there is one.
pub(super) fn section(task: &Task) -> Markup {
    let attempts: Vec<_> = task.attempts.iter().filter(|attempt| attempt.attempt > 0).collect();
    let skipped = attempts.len().saturating_sub(ATTEMPTS_MAX);
    let shown = &attempts[skipped..];
    html! {
        section id="attempts" data-live aria-labelledby="attempts-title" {
            h2 id="attempts-title" { "Attempts" }
            @if shown.is_empty() {
                p.note {
                    "Has not started yet."
                    @if task.queue_state.as_deref() == Some("scheduled") { " Starts " (time(&task.ready_at, Show::Age)) "." }
                    @if task.pending_dependencies > 0 { " Waits for " (task.pending_dependencies) (if task.pending_dependencies == 1 { " other task." } else { " other tasks." }) }
                }
            } @else {
                @if skipped > 0 { p.note { (skipped) " earlier attempts are not drawn." } }
                ol.attempts {
                    @let spans = spans(task, shown);
                    @let total = spans.iter().flatten().map(|span| span.end).fold(0.0, f64::max);
                    @for (attempt, span) in shown.iter().zip(&spans) { (row(task, attempt, span.as_ref(), total)) }
                }
                p.note { "light: waiting · full: running" }
                @if matches!(task.queue_state.as_deref(), Some("scheduled" | "suspended")) {
                    p.note {
                        "Resumes " (time(&task.ready_at, Show::Age))
                        @for (wakes, words) in EARLIER { @if task.wake_on.iter().any(|on| on == wakes) { (words) } }
                        "."
                    }
                }
            }
        }
    }
}

fn row(task: &Task, attempt: &Attempt, span: Option<&Span>, total: f64) -> Markup {
    let outcome = attempt.outcome.as_deref();
    let class = match outcome {
        Some("completed") => "completed",
        Some("cancelled") => "cancelled",
        Some(_) => "failed",
        None => "running",
    };
    html! {
        li {
            span.name { (attempt.attempt) }
            @if let Some(span) = span {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" focusable="false" {
                    (rect("wait", span.ready, span.start, total))
                    (rect(class, span.start, span.end, total))
                }
            } @else { span {} }
            span {
                b class=(class) { (brief(outcome.unwrap_or(if task.state == "running" { "running" } else { "–" }), 40)) }
                @if let Some(span) = span {
                    span.note { " waited " (unit::millis((span.start - span.ready) as u64)) }
                    @if outcome.is_some() { span.note { ", ran " (unit::millis((span.end - span.start) as u64)) } }
                }
                @if let Some(message) = &attempt.message { " " (brief(message, 160)) }
            }
        }
    }
}

fn rect(class: &str, from: f64, until: f64, total: f64) -> Markup {
    let scale = |at: f64| if total > 0.0 { (at / total * WIDTH).clamp(0.0, WIDTH) } else { 0.0 };
    let (x, end) = (scale(from), scale(until));
    // What lasted is seen, and what is seen lies within the drawing.
    let width = if until > from || class != "wait" { (end - x).max(2.0) } else { 0.0 };
    let x = x.min(WIDTH - width);
    html! { rect class=(class) x={ (format!("{x:.1}")) } y="1" width={ (format!("{width:.1}")) } height=(HEIGHT - 2.0) {} }
}

fn spans(task: &Task, attempts: &[&Attempt]) -> Vec<Option<Span>> {
    let Some(created) = parse(&task.created_at) else { return attempts.iter().map(|_| None).collect() };
    let since = |time: DateTime<Utc>| time.signed_duration_since(created).num_milliseconds().max(0) as f64;
    let read = |text: &Option<String>| text.as_deref().and_then(parse).map(since);
    let mut ready = attempts
        .first()
        .filter(|attempt| attempt.attempt > 1)
        .and_then(|attempt| read(&attempt.started_at))
        .unwrap_or(0.0);
    let mut spans = Vec::new();
    for attempt in attempts {
        let start = read(&attempt.started_at);
        // One that runs is drawn as far as was measured, so that the page does not change every second.
        let end = read(&attempt.finished_at)
            .or_else(|| start.map(|start| start + task.duration_ms.min(1_000) as f64));
        spans.push(start.zip(end).map(|(start, end)| Span {
            start,
            end: end.max(start),
            ready: ready.min(start),
        }));
        ready = end.unwrap_or(ready);
    }
    spans
}
