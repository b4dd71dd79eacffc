//! What a text finds: tasks by id, key, tag and group, plugins and schedules by name.

use maud::{Markup, html};

use crate::filters::Filters;
use crate::part::state;
use crate::part::text::brief;
use crate::part::time::{Show, time};
use crate::record::{Plugin, Schedule, Task};
use crate::shell::{Page, Place};

const ROOT: &str = "../";

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The text.
    pub text: String,
    /// Tasks, by what they were found by.
    pub tasks: Vec<FoundTasks>,
    /// Plugins whose name contains the text.
    pub plugins: Vec<Plugin>,
    /// Schedules whose name contains the text.
    pub schedules: Vec<Schedule>,
}

/// Tasks that one filter finds.
#[derive(Clone, Debug)]
pub struct FoundTasks {
    /// The filter.
    pub filters: Filters,
    /// The newest of them.
    pub tasks: Vec<Task>,
    /// Whether there may be more.
    pub has_more: bool,
}

impl Found {
    /// Returns the page of the only thing that was found.
    pub fn only(&self) -> Option<String> {
        let mut ids: Vec<_> = self.tasks.iter().flat_map(|found| &found.tasks).map(|task| &task.id).collect();
        ids.dedup();
        let has_more = self.tasks.iter().any(|found| found.has_more);
        match (ids.as_slice(), self.plugins.as_slice(), self.schedules.as_slice()) {
            ([id], [], []) if !has_more => Some(format!("task/{id}")),
            ([], [plugin], []) if !has_more => Some(of_plugin(plugin)),
            ([], [], [schedule]) if !has_more => Some(format!("schedules#s-{}", schedule.name)),
            _ => None,
        }
    }

    fn is_nothing(&self) -> bool {
        self.tasks.is_empty() && self.plugins.is_empty() && self.schedules.is_empty()
    }
}

fn of_plugin(plugin: &Plugin) -> String {
    Filters::default().href("plugin", &[("name", &plugin.name)])
}

/// Shows the page.
pub fn page(found: &Found) -> Page {
    let title =
        if found.text.is_empty() { "Find".to_owned() } else { format!("Find {}", brief(&found.text, 60)) };
    let main = html! {
        h1 { (title) }
        @if found.is_nothing() {
            section {
                @if !found.text.is_empty() { p role="status" { "Nothing was found." } }
                p { "A task is found by the first or last four or more digits of its id, and by a whole tag, unique key or group; plugins and schedules by a part of their name." }
                p { "Inputs, logs and results are not searched: give tasks a tag that you can search for." }
            }
        }
        @for found in &found.tasks { (tasks(found)) }
        @if !found.plugins.is_empty() {
            section aria-labelledby="plugins-title" {
                h2 id="plugins-title" { "Plugins" }
                ul.found {
                    @for plugin in &found.plugins {
                        li {
                            a href=(of_plugin(plugin)) { (brief(&plugin.name, 64)) } " " (state::badge(&plugin.state))
                            " " a href=(Filters::default().with("plugin", &plugin.name).href("tasks", &[])) { "tasks" span.sr { " of " (brief(&plugin.name, 64)) } }
                        }
                    }
                }
            }
        }
        @if !found.schedules.is_empty() {
            section aria-labelledby="schedules-title" {
                h2 id="schedules-title" { "Schedules" }
                ul.found {
                    @for schedule in &found.schedules {
                        li {
                            a href={ "schedules#s-" (schedule.name) } { (brief(&schedule.name, 64)) } " " code { (brief(&schedule.cron, 64)) }
                            " " a href=(Filters::default().with("schedule", &schedule.name).href("tasks", &[])) { "tasks" span.sr { " of " (brief(&schedule.name, 64)) } }
                        }
                    }
                }
            }
        }
    };
    Page { title, place: Place::None, root: ROOT, scripts: &[], is_live: false, main }
}

fn tasks(found: &FoundTasks) -> Markup {
    let words = found.filters.words();
    let title = format!("Tasks: {}", brief(&words, 80));
    html! {
        section aria-label=(title) {
            div.row {
                h2 { (title) }
                a href=(found.filters.href("tasks", &[])) { @if found.tasks.is_empty() { "search older tasks" } @else if found.has_more { "all of them" } @else { "as a list" } }
            }
            @if found.tasks.is_empty() { p.note { "None among the newest tasks." } }
            @else {
                table.records {
                    caption.sr { (title) ", newest first" }
                    thead { tr { th scope="col" { "Task" } th scope="col" { "State" } th scope="col" { "Plugin" } th scope="col" { "Created" } th scope="col" { "What" } } }
                    tbody {
                        @for task in &found.tasks {
                            tr {
                                td data-label="Task" { a.mono.open href={ "task/" (task.id) } title=(task.id) { "…" (task.short_id()) } }
                                td data-label="State" { (state::of(task)) }
                                td data-label="Plugin" { (brief(&task.plugin, 40)) }
                                td data-label="Created" { (time(&task.created_at, Show::Age)) }
                                td.what data-label="What" { (state::outcome(task, None)) }
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
    use crate::Site;

    const HOSTILE: &str = "\"'><script>alert(1)</script>\u{202e}\0";

    fn task(id: &str) -> Task {
        Task {
            id: id.to_owned(),
            plugin: HOSTILE.to_owned(),
            created_at: HOSTILE.to_owned(),
            ..Task::default()
        }
    }

    fn by(name: &str, tasks: Vec<Task>, has_more: bool) -> FoundTasks {
        FoundTasks { filters: Filters::default().with(name, HOSTILE), tasks, has_more }
    }

    #[test]
    fn text_of_strangers_is_text() {
        let found = Found {
            text: HOSTILE.to_owned(),
            tasks: vec![by("tag", vec![task(HOSTILE)], true), by("id_end", Vec::new(), true)],
            plugins: vec![Plugin { name: HOSTILE.to_owned(), ..Plugin::default() }],
            schedules: vec![Schedule {
                name: HOSTILE.to_owned(),
                cron: HOSTILE.to_owned(),
                ..Schedule::default()
            }],
        };
        let shown = page(&found).whole(&Site::default());
        assert!(!shown.contains("<script>alert") && !shown.contains("\u{202e}<"), "{shown}");
        assert!(shown.contains("all of them") && shown.contains("search older tasks"));
        assert!(page(&Found::default()).whole(&Site::default()).contains("A task is found by"));
    }

    #[test]
    fn what_is_alone_is_opened() {
        let plugin = || Plugin { name: "noop".to_owned(), ..Plugin::default() };
        let schedule = Schedule { name: "nightly".to_owned(), ..Schedule::default() };
        let found = |tasks, plugins, schedules| Found { text: String::new(), tasks, plugins, schedules };
        for (found, page) in [
            (found(vec![by("q", vec![task("a")], false)], vec![], vec![]), Some("task/a")),
            // Once by its id, once by its key.
            (
                found(
                    vec![by("q", vec![task("a")], false), by("unique_key", vec![task("a")], false)],
                    vec![],
                    vec![],
                ),
                Some("task/a"),
            ),
            (found(vec![by("q", vec![task("a"), task("b")], false)], vec![], vec![]), None),
            (found(vec![by("id_end", vec![task("a")], true)], vec![], vec![]), None),
            (found(vec![by("tag", vec![task("a")], false)], vec![plugin()], vec![]), None),
            (found(vec![], vec![plugin()], vec![]), Some("plugin?name=noop")),
            (found(vec![], vec![], vec![schedule]), Some("schedules#s-nightly")),
            (found(vec![], vec![], vec![]), None),
        ] {
            assert_eq!(found.only().as_deref(), page);
        }
    }
}
