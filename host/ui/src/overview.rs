//! The first page: what runs, what waits, what failed.

mod attention;
pub(crate) mod history;

use std::collections::BTreeMap;

use maud::{Markup, html};

pub use self::history::SPANS;

use crate::filters::Filters;
use crate::part::chart::{Bar, bars};
use crate::part::state::{badge, bar};
use crate::part::time::{Show, optional, time};
use crate::part::{state, text, unit};
use crate::record::{Attention, History, Plugin, Stats, Task};
use crate::shell::{Page, Place, Site};

/// What the page shows.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// The statistics.
    pub stats: Stats,
    /// What needs a person.
    pub attention: Attention,
    /// The last steps.
    pub history: History,
    /// Name of the span that they cover, of [`SPANS`].
    pub span: String,
    /// The plugins.
    pub plugins: Vec<Plugin>,
    /// The last ten minutes of the busiest plugins, by name.
    pub plugin_history: BTreeMap<String, History>,
    /// Some running tasks, newest first.
    pub running: Vec<Task>,
    /// The newest failures.
    pub failed: Vec<Task>,
}

const ROOT: &str = "../";

/// Shows the page.
pub fn page(site: &Site, overview: &Overview) -> Page {
    let main = html! {
        h1 { "Overview" }
        (attention::section(&overview.attention))
        (tiles(&overview.stats))
        (history::section(&overview.history, &overview.span, overview.stats.slots.total, overview.stats.memory.total_bytes))
        (running(overview))
        (plugins(overview))
        (failures(site, &overview.failed))
    };
    Page {
        title: "Overview".to_owned(),
        place: Place::Overview,
        root: ROOT,
        scripts: &[],
        is_live: true,
        main,
    }
}

fn tiles(stats: &Stats) -> Markup {
    let Stats { slots, memory, stored, .. } = stats;
    let share = |used: u64, total: u64| if total == 0 { 0.0 } else { used as f64 / total as f64 };
    let tasks = |state: &str| Filters::default().with("state", state).href("tasks", &[]);
    let parts = [
        ("blocked", stored.blocked),
        ("scheduled", stored.scheduled),
        ("suspended", stored.suspended),
        ("available", stored.available),
    ];
    html! {
        section.tiles id="tiles" data-live aria-label="Now" {
            a.tile href=(tasks("waiting")) {
                span.label { "Waiting" }
                span.figure { (unit::count(stored.waiting)) }
                span.note {
                    @if stored.waiting == 0 { "no task waits" }
                    @else {
                        @for (index, (name, tasks)) in parts.iter().filter(|(_, tasks)| *tasks > 0).enumerate() {
                            @if index > 0 { " · " }
                            (unit::count(*tasks)) " " (name)
                        }
                    }
                }
            }
            a.tile href=(tasks("running")) {
                span.label { "Running" }
                span.figure { (unit::count(stats.running)) }
                span.note { (unit::count(slots.used)) " of " (unit::count(slots.total)) " slots " (bar(share(slots.used, slots.total))) }
            }
            a.tile href=(tasks("completed")) {
                span.label { "Completed" }
                span.figure { (unit::count(stats.finished.completed)) }
                span.note { (unit::count(stored.completed)) " stored" }
            }
            a.tile.bad[stored.failed > 0] href=(tasks("failed")) {
                span.label { "Failed" }
                span.figure { (unit::count(stats.finished.failed)) }
                span.note { (unit::count(stored.failed)) " stored" }
            }
            a.tile href=(tasks("cancelled")) {
                span.label { "Cancelled" }
                span.figure { (unit::count(stats.finished.cancelled)) }
                span.note { (unit::count(stored.cancelled)) " stored" }
            }
            div.tile {
                span.label { "Memory of guests" }
                span.figure { (unit::bytes(memory.used_bytes)) }
                span.note {
                    "of " (unit::bytes(memory.total_bytes)) " " (bar(share(memory.used_bytes, memory.total_bytes)))
                    @if memory.blocks_queue { " · the next task waits for memory" }
                }
            }
        }
    }
}

fn running(overview: &Overview) -> Markup {
    html! {
        section id="running" data-live aria-labelledby="running-title" {
            div.row { h2 id="running-title" { "Running now" } a href="tasks?state=running" { "all running" } }
            @if overview.running.is_empty() { p.empty { "No task runs." } }
            @else {
                table.records {
                    thead { tr { th scope="col" { "Task" } th scope="col" { "Plugin" } th.num scope="col" { "For" } th scope="col" { "Progress" } } }
                    tbody {
                        @for task in &overview.running {
                            tr {
                                td data-label="Task" { a.mono.open href={ "task/" (task.id) } title=(task.id) { "…" (task.short_id()) } }
                                td data-label="Plugin" { (text::brief(&task.plugin, 64)) }
                                td.num data-label="For" { (optional(task.started_at.as_deref(), Show::Age)) }
                                td data-label="Progress" { (state::outcome(task, None)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn plugins(overview: &Overview) -> Markup {
    let counted = overview.plugins.iter().filter_map(|plugin| Some((plugin, plugin.tasks?)));
    let queues: Vec<_> = counted
        .filter(|(_, tasks)| tasks.waiting + tasks.running > 0)
        .take(12)
        .map(|(plugin, tasks)| Bar {
            label: plugin.name.clone(),
            parts: vec![("running", tasks.running as f64), ("waiting", tasks.waiting as f64)],
        })
        .collect();
    html! {
        section id="plugins" data-live aria-labelledby="plugins-title" {
            div.row { h2 id="plugins-title" { "Plugins" } a href="plugins" { "all plugins" } }
            @if !queues.is_empty() { (bars("Tasks that run and wait, by plugin", &queues)) }
            @if overview.plugins.is_empty() { p.empty { "No plugin yet. Put a .wasm file into the plugins folder." } }
            @else {
                table.records {
                    thead {
                        tr {
                            th scope="col" { "Plugin" } th scope="col" { "State" } th.num scope="col" { "Waiting" }
                            th.num scope="col" { "Running" } th.num scope="col" { "Completed" } th.num scope="col" { "Failed" }
                            th scope="col" { "Last 10 min" }
                        }
                    }
                    tbody { @for plugin in &overview.plugins { (plugin_row(plugin, overview.plugin_history.get(&plugin.name))) } }
                }
            }
        }
    }
}

fn plugin_row(plugin: &Plugin, history: Option<&History>) -> Markup {
    let tasks =
        |state: &str| Filters::default().with("plugin", &plugin.name).with("state", state).href("tasks", &[]);
    let counts = plugin.tasks.unwrap_or_default();
    let at_least = if counts.waiting_is_at_least { "+" } else { "" };
    html! {
        tr {
            th scope="row" data-label="Plugin" { a href=(Filters::default().href("plugin", &[("name", &plugin.name)])) { (text::brief(&plugin.name, 64)) } }
            td data-label="State" { (badge(&plugin.state)) @if plugin.paused { " " (badge("paused")) } }
            td.num data-label="Waiting" { a href=(tasks("waiting")) { (unit::count(counts.waiting)) (at_least) } }
            td.num data-label="Running" { a href=(tasks("running")) { (unit::count(counts.running)) } }
            td.num data-label="Completed" { a href=(tasks("completed")) { (unit::count(counts.completed)) } }
            td.num data-label="Failed" { a href=(tasks("failed")) { (unit::count(counts.failed)) } }
            td data-label="Last 10 min" { @if let Some(history) = history { (history::spark_of_plugin(history)) } @else { span.none { "–" } } }
        }
    }
}

fn failures(site: &Site, failed: &[Task]) -> Markup {
    html! {
        section id="failures" data-live aria-labelledby="failures-title" {
            div.row { h2 id="failures-title" { "Newest failures" } a href="tasks?state=failed" { "all failed" } }
            @if failed.is_empty() { p.empty { "No stored task has failed." } }
            @else {
                table.records {
                    thead { tr { th scope="col" { "Task" } th scope="col" { "Plugin" } th scope="col" { "Why" } th scope="col" { "When" } @if site.rights.submit { th scope="col" { span.sr { "Action" } } } } }
                    tbody {
                        @for task in failed {
                            tr {
                                td data-label="Task" { a.mono.open href={ "task/" (task.id) } title=(task.id) { "…" (task.short_id()) } }
                                td data-label="Plugin" { (text::brief(&task.plugin, 64)) }
                                td data-label="Why" { (state::outcome(task, None)) }
                                td data-label="When" { (time(task.finished_at.as_deref().unwrap_or_default(), Show::Age)) }
                                @if site.rights.submit {
                                    td { a.button.small href={ "act?action=retry&id=" (task.id) } data-dialog { "Retry" span.sr { " …" (task.short_id()) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_server_has_an_overview() {
        let shown = page(&Site::default(), &Overview::default()).whole(&Site::default());
        assert!(shown.contains("No task runs.") && shown.contains("no task waits"));
        assert!(!shown.contains("style=") && !shown.contains("onclick"));
    }
}
