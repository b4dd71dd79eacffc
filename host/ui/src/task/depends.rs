//! What a task depends on, and what depends on it: a drawing whose boxes are lists, so that it is read as it is seen.

use maud::{Markup, html};

use crate::part::state::badge;
use crate::part::text::{brief, visible};
use crate::record::Task;

/// Height of a row of both lists, in pixels, as `ui.css` has it.
const ROW: usize = 42;

/// Shows the dependencies on the left and the dependents on the right; each is a link.
pub(super) fn section(task: &Task, tasks: &[Task], dependents: &[Task], root: &str) -> Markup {
    let left_out = task.depends_on.len().saturating_sub(tasks.len());
    html! {
        section id="depends" data-live aria-labelledby="depends-title" {
            h2 id="depends-title" { "Dependencies" }
            @if !task.depends_on.is_empty() {
                p.note {
                    (task.pending_dependencies) " of " (task.depends_on.len()) " have not ended."
                    @if let Some(on_failure) = &task.on_failure { " If one fails: " (visible(on_failure)) "." }
                    @if task.input_from.is_some() { " It gets their results." }
                    @if task.files_from.is_some() { " It gets their files." }
                    @if left_out > 0 { " " (left_out) " are not shown." }
                }
            }
            div.graph {
                h3.from { "Depends on" }
                @if tasks.is_empty() { p.from.empty { "No other task." } }
                @else { ul.from { @for task in tasks { li { (other(task, root)) } } } (edges("in", tasks)) }
                p.self { (badge(task.shown_state())) " " (brief(&task.plugin, 40)) }
                h3.to { "Depend on it" }
                @if dependents.is_empty() { p.to.empty { "No other task." } }
                @else { (edges("out", dependents)) ul.to { @for task in dependents { li { (other(task, root)) } } } }
            }
        }
    }
}

/// Shows the state of another task as a link to it.
fn other(task: &Task, root: &str) -> Markup {
    html! {
        a.mono href={ (root) "ui/task/" (task.id) } title=(task.id) { "…" (task.short_id()) } " "
        @if task.state.is_empty() { span.note { "deleted" } } @else { (badge(task.shown_state())) " " (brief(&task.plugin, 40)) }
    }
}

/// Draws a line between this task and each row of a list.
fn edges(class: &str, tasks: &[Task]) -> Markup {
    let height = tasks.len() * ROW;
    let (from, to) = if class == "in" { (0, 100) } else { (100, 0) };
    html! {
        svg class=(class) viewBox={ "0 0 100 " (height) } height=(height) preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for (row, task) in tasks.iter().enumerate() {
                // The end of a task is known by its line, too.
                line class=(if task.is_final() { "ended" } else { "open" }) x1=(from) y1=(row * ROW + ROW / 2) x2=(to) y2=(height / 2) {}
            }
        }
    }
}
