//! What a task depends on, and what depends on it.

use maud::{Markup, html};

use crate::part::state::badge;
use crate::part::text::{brief, visible};
use crate::record::Task;

/// Shows the dependencies as a list; each is a link.
pub(super) fn section(task: &Task, tasks: &[Task], dependents: &[Task], root: &str) -> Markup {
    html! {
        section id="depends" data-live aria-labelledby="depends-title" {
            h2 id="depends-title" { "Depends on" }
            @if task.depends_on.is_empty() { p.empty { "It depends on no other task." } }
            @else {
                p.note {
                    (task.pending_dependencies) " of " (task.depends_on.len()) " have not ended."
                    @if let Some(on_failure) = &task.on_failure { " If one fails: " (visible(on_failure)) "." }
                    @if task.input_from.is_some() { " It gets their results." }
                }
                ul.tasks { @for task in tasks { li { (other(task, root)) } } }
                @if tasks.len() < task.depends_on.len() { p.note { "and " (task.depends_on.len() - tasks.len()) " more" } }
            }
        }
        section id="dependents" data-live aria-labelledby="dependents-title" {
            h2 id="dependents-title" { "Depend on it" }
            @if dependents.is_empty() { p.empty { "No other task depends on it." } }
            @else { ul.tasks { @for task in dependents { li { (other(task, root)) } } } }
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
