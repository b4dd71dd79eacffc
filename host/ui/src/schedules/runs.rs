//! The newest runs of a schedule as bars: the height is how long one ran, colour and shape what became of it.

use maud::{Markup, html};

use crate::part::text::{brief, visible};
use crate::part::{state, unit};
use crate::record::Task;

/// Height of a bar at most, and at least.
const HEIGHT: u64 = 28;
const HEIGHT_MIN: u64 = 2;
/// Width of a bar.
const WIDTH: u64 = 14;

/// Draws the runs, oldest first; each leads to its task.
pub(super) fn bars(schedule: &str, newest: &[Task]) -> Markup {
    let longest = newest.iter().map(|task| task.duration_ms).max().unwrap_or(0);
    html! {
        ol.runs aria-label={ "Newest runs of " (brief(schedule, 64)) } {
            @for task in newest.iter().rev() {
                li {
                    a class=(state::class(task.shown_state())) href={ "task/" (task.id) } aria-label=(said(task)) title=(said(task)) {
                        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) aria-hidden="true" focusable="false" {
                            rect x="0" y=(HEIGHT - height(task, longest)) width=(WIDTH) height=(height(task, longest)) {}
                        }
                        (state::shape_of(task.shown_state()))
                    }
                }
            }
        }
        p.note { "The longest of the last " (newest.len()) " runs took " (unit::millis(longest)) "." }
    }
}

fn height(task: &Task, longest: u64) -> u64 {
    // One that still runs is drawn whole: how long it takes is not known, and a page must not change each second.
    if task.state == "running" {
        return HEIGHT;
    }
    let share = (task.duration_ms as f64 / longest.max(1) as f64).clamp(0.0, 1.0);
    (share * HEIGHT as f64).round().max(HEIGHT_MIN as f64) as u64
}

fn said(task: &Task) -> String {
    let state = brief(task.shown_state(), 20);
    let created = task
        .created_at
        .get(..16)
        .map_or_else(|| visible(&task.created_at).into_owned(), |time| time.replace('T', " "));
    let ran = if task.is_final() && task.attempt > 0 {
        format!(", ran {}", unit::millis(task.duration_ms))
    } else {
        String::new()
    };
    let cause = task.error.as_ref().map(|error| format!(", {}", brief(&error.cause, 40))).unwrap_or_default();
    format!("{state}{cause}{ran}, {created} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Failure;

    fn task(state: &str, duration_ms: u64) -> Task {
        Task {
            id: state.to_owned(),
            state: state.to_owned(),
            attempt: 1,
            duration_ms,
            created_at: "2026-11-23T07:26:49.603656725Z".to_owned(),
            ..Task::default()
        }
    }

    #[test]
    fn runs_are_drawn_oldest_first_on_one_scale_and_say_what_became_of_them() {
        let error = Some(Failure { cause: "io".to_owned(), message: String::new() });
        let newest = [task("running", 0), Task { error, ..task("failed", 50) }, task("completed", 100)];
        let html = bars("nightly", &newest).into_string();
        let places =
            ["task/completed", "task/failed", "task/running"].map(|href| html.find(href).expect("drawn"));
        assert!(places.is_sorted(), "{html}");
        assert!(html.contains("aria-label=\"failed, io, ran 50 ms, 2026-11-23 07:26 UTC\""), "{html}");
        assert!(html.contains("aria-label=\"running, 2026-11-23 07:26 UTC\""), "{html}");
        assert_eq!(newest.each_ref().map(|task| height(task, 100)), [28, 14, 28]);
    }

    #[test]
    fn odd_durations_stay_within_the_box() {
        for (duration, longest) in [(0, 0), (0, u64::MAX), (u64::MAX, u64::MAX), (7, 0)] {
            let height = height(&task("completed", duration), longest);
            assert!((HEIGHT_MIN..=HEIGHT).contains(&height), "{duration} of {longest}: {height}");
        }
    }
}
