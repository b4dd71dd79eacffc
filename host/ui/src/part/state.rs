//! The state of a task: a shape and a word, never colour alone.

use maud::{Markup, html};

use crate::record::Task;

/// Shows a state.
pub fn badge(state: &str) -> Markup {
    let class = class(state);
    html! {
        span class={ "state " (class) } {
            svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" focusable="false" {
                path d=(shape(class)) {}
            }
            (super::text::brief(state, 20))
        }
    }
}

/// Draws the shape of a state alone, for places that say it in words elsewhere.
pub fn shape_of(state: &str) -> Markup {
    html! {
        svg.shape viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" focusable="false" {
            path d=(shape(class(state))) {}
        }
    }
}

/// Shows the state of a task, and that it was asked to stop.
pub fn of(task: &Task) -> Markup {
    html! {
        (badge(task.shown_state()))
        @if task.state == "running" && task.stop_requested_at.is_some() { " " span.note { "stopping" } }
    }
}

/// Returns the class of a state; that of an unknown one is `waiting`.
pub fn class(state: &str) -> &'static str {
    // What a delivery is looks like the task that ends so.
    let state = match state {
        "delivered" => "completed",
        "given-up" => "dead",
        other => other,
    };
    const KNOWN: [&str; 19] = [
        "completed",
        "failed",
        "cancelled",
        "running",
        "blocked",
        "scheduled",
        "suspended",
        "available",
        "waiting",
        "ready",
        "rejected",
        "compiling",
        "paused",
        "live",
        "draining",
        "dead",
        "good",
        "degraded",
        "broken",
    ];
    KNOWN.into_iter().find(|known| *known == state).unwrap_or("waiting")
}

/// Returns the outline of a state in a square of twelve: each differs without its colour.
fn shape(class: &str) -> &'static str {
    match class {
        "completed" | "ready" | "live" | "good" => "M1.5 6.5 4.5 9.5 10.5 2.5",
        "failed" | "rejected" | "dead" | "broken" => "M2 2 10 10M10 2 2 10",
        "cancelled" => "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1M2.5 9.5 9.5 2.5",
        "running" | "compiling" => "M3 1.5 10.5 6 3 10.5Z",
        "suspended" | "paused" | "degraded" => "M3.5 2V10M8.5 2V10",
        "scheduled" => "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1M6 3V6L8.5 7.5",
        "blocked" => "M2 2H10V10H2Z",
        _ => "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1",
    }
}

/// Shows how far a task is, or what became of it, in one line; the cause of a failure as a link if there is one.
pub fn outcome(task: &Task, cause_href: Option<&str>) -> Markup {
    if let Some(progress) = task.progress.as_ref().filter(|_| task.state == "running") {
        return html! { (bar(progress.fraction)) " " span.note { (super::text::brief(&progress.note, 80)) } };
    }
    match &task.error {
        Some(error) => html! {
            @if let Some(href) = cause_href { a.cause.add href=(href) { (super::text::brief(&error.cause, 40)) } }
            @else { span.cause { (super::text::brief(&error.cause, 40)) } }
            @if !error.message.is_empty() { " " (super::text::brief(&error.message, 120)) }
        },
        None => html! {},
    }
}

/// Shows a share of the whole.
pub fn bar(fraction: f64) -> Markup {
    let percent = if fraction.is_finite() { (fraction.clamp(0.0, 1.0) * 100.0).round() } else { 0.0 };
    html! { progress max="100" value=(percent) aria-label="progress" { (percent) " %" } " " span.num { (percent) " %" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_state_is_text() {
        let shown = badge("\"><script>").into_string();
        assert!(
            shown.contains("class=\"state waiting\"") && shown.ends_with("&quot;&gt;&lt;script&gt;</span>")
        );
    }

    #[test]
    fn a_fraction_of_nonsense_is_a_bar_all_the_same() {
        for (fraction, percent) in [(f64::NAN, 0), (-1.0, 0), (0.314, 31), (2.0, 100), (f64::INFINITY, 0)] {
            assert!(bar(fraction).into_string().contains(&format!("value=\"{percent}\"")), "{fraction}");
        }
    }
}
