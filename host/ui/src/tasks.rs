//! The task list: filters, rows that are patched in place, and what can be done with them.

use maud::{Markup, html};

use crate::filters::Filters;
use crate::part::confirm::{ask, hidden};
use crate::part::time::{Show, time};
use crate::part::{command, state, text, unit};
use crate::problem::{Problem, alert};
use crate::record::{Counts, Task};
use crate::shell::{Page, Place, Site};

/// What the page shows.
#[derive(Clone, Debug, Default)]
pub struct TaskList {
    /// The filter.
    pub filters: Filters,
    /// The tasks of this page, newest first.
    pub tasks: Vec<Task>,
    /// Cursor of the next, older page.
    pub next: Option<String>,
    /// Cursor of this page; `None` for the newest.
    pub cursor: Option<String>,
    /// Time before which the tasks of the newest page were created: newer ones do not push them away.
    pub anchor: String,
    /// Number of newer tasks, and whether there are more than that.
    pub newer: (usize, bool),
    /// Stored tasks by state, of the filtered plugin if there is one; `None` if the filter says more.
    pub counts: Option<Counts>,
    /// Names of plugins, for completion.
    pub plugins: Vec<String>,
    /// Causes of failure, for completion.
    pub causes: Vec<&'static str>,
    /// Why the filter was refused.
    pub problem: Option<Problem>,
}

const ROOT: &str = "../";
const STATES: [&str; 5] = ["waiting", "running", "completed", "failed", "cancelled"];

/// Shows the page.
pub fn page(site: &Site, list: &TaskList) -> Page {
    let title = match list.filters.words() {
        words if words.is_empty() => "Tasks".to_owned(),
        words => format!("Tasks: {}", text::brief(&words, 60)),
    };
    let main = html! {
        h1 { "Tasks" }
        (tabs(list))
        (filter_form(list))
        @if let Some(problem) = &list.problem { (alert(problem)) } @else {
            (acting(site, list))
            (table(site, list))
            (pages(list))
        }
    };
    Page { title, place: Place::Tasks, root: ROOT, scripts: &[], is_live: true, main }
}

fn tabs(list: &TaskList) -> Markup {
    let chosen = list.filters.get("state");
    let count = |state: &str| {
        let counts = list.counts.as_ref()?;
        Some(match state {
            "waiting" => counts.waiting,
            "running" => counts.running,
            "completed" => counts.completed,
            "failed" => counts.failed,
            _ => counts.cancelled,
        })
    };
    let all = list.filters.without("state").href("tasks", &[]);
    html! {
        nav.tabs id="tabs" data-live aria-label="States" {
            a href=(all) aria-current=[chosen.is_none().then_some("true")] { "all" }
            @for state in STATES {
                a href=(list.filters.with("state", state).href("tasks", &[])) aria-current=[(chosen == Some(state)).then_some("true")] {
                    (state)
                    @if let Some(tasks) = count(state) { " " span.count { (unit::count(tasks)) } }
                }
            }
            @if let Some(state) = chosen.filter(|state| !STATES.contains(state)) { a aria-current="true" href=(list.filters.href("tasks", &[])) { (text::brief(state, 40)) } }
        }
    }
}

fn filter_form(list: &TaskList) -> Markup {
    let filters = &list.filters;
    let value = |name: &str| filters.get(name).unwrap_or_default().to_owned();
    let more = ["cause", "created_after", "created_before", "group", "schedule", "unique_key", "id_end"];
    let field = |name: &str, label: &str, hint: &str| {
        html! { label { span { (label) } input type="text" name=(name) value=(value(name)) placeholder=(hint) autocomplete="off" spellcheck="false"; } }
    };
    html! {
        form.filters method="get" action="tasks" role="search" aria-label="Filter tasks" {
            @if let Some(state) = filters.get("state") { (hidden("state", state)) }
            (field("q", "Id begins with", "01a2"))
            label {
                span { "Plugin" }
                input type="text" name="plugin" value=(value("plugin")) list="plugin-names" autocomplete="off" spellcheck="false";
            }
            datalist id="plugin-names" { @for plugin in &list.plugins { option value=(plugin) {} } }
            @for tag in filters.all("tag") { (hidden("tag", tag)) }
            label { span { "Tag" } input type="text" name="tag" value="" placeholder="tenant:42" autocomplete="off" spellcheck="false"; }
            details open[more.iter().any(|name| filters.get(name).is_some())] {
                summary { "More" }
                div {
                    label {
                        span { "Cause of failure" }
                        input type="text" name="cause" value=(value("cause")) placeholder="io" list="causes" autocomplete="off" spellcheck="false";
                    }
                    datalist id="causes" { @for cause in &list.causes { option value=(cause) {} } }
                    (field("created_after", "Created after", "2026-11-23T00:00:00Z"))
                    (field("created_before", "Created before", "2026-11-24T00:00:00Z"))
                    (field("group", "Group", ""))
                    (field("schedule", "Schedule", "nightly"))
                    (field("unique_key", "Unique key", ""))
                    (field("id_end", "Id ends with", "4fdb"))
                }
            }
            div.buttons {
                button.primary type="submit" { "Filter" }
                @if !filters.is_empty() { a.button href="tasks" { "Clear" } }
            }
        }
        @if !filters.is_empty() {
            ul.chips aria-label="Filters in force" {
                @for (name, value) in filters.iter() {
                    li {
                        a href=(filters.without_value(name, value).href("tasks", &[])) {
                            (name.replace('_', " ")) " " b { (text::brief(value, 64)) } span aria-hidden="true" { " ×" } span.sr { ", remove" }
                        }
                    }
                }
            }
        }
    }
}

/// What can be done with everything that matches; the same string as in the URL says what that is.
fn acting(site: &Site, list: &TaskList) -> Markup {
    let filters = &list.filters;
    let states = || filters.get("state").into_iter().flat_map(|states| states.split(','));
    let is_open = |state: &str| !matches!(state, "completed" | "failed" | "cancelled");
    let can_retry = site.rights.submit && site.rights.read && states().all(|state| !is_open(state));
    let can_cancel = site.rights.cancel && states().all(is_open);
    let can_delete = site.rights.cancel && states().all(|state| !is_open(state));
    let query = filters.query();
    let path = if query.is_empty() { "/task".to_owned() } else { format!("/task?{query}") };
    let href = |action: &str| filters.href("act", &[("action", action), ("select", "all")]);
    html! {
        div.row.acting {
            div.buttons {
                @if can_retry || can_cancel || can_delete { span.note { @if filters.is_empty() { "All tasks:" } @else { "All that match:" } } }
                @if can_retry { (ask(&href("retry"), "Retry all…", "small")) }
                @if can_cancel { (ask(&href("cancel"), "Cancel all…", "small")) }
                @if can_delete { (ask(&href("delete"), "Delete all…", "small danger")) }
                @if list.cursor.is_none() { button.small.script type="button" id="follow" aria-pressed="false" { "Show newer as they come" } }
            }
            (command::lines("GET", &path, None, Some(&format!("wasmill list{}", filters.options()))))
        }
        p.newer id="newer" data-live aria-live="off" {
            @if list.newer.0 > 0 {
                a.button.small.primary href=(filters.href("tasks", &[])) data-key="." {
                    @if list.newer.1 { "more than " }
                    (list.newer.0) " newer: show"
                }
            }
        }
    }
}

fn table(site: &Site, list: &TaskList) -> Markup {
    let may_act = site.rights.submit || site.rights.cancel;
    html! {
        form method="get" action="act" {
            (hidden("back", &list.filters.query()))
            table.records.list {
                caption.sr { "Tasks, newest first" }
                thead {
                    tr {
                        @if may_act { th.check scope="col" { input.script type="checkbox" id="all-here" aria-label="Select all on this page"; } }
                        th scope="col" { "Task" } th scope="col" { "State" } th scope="col" { "Plugin" } th scope="col" { "Tags" }
                        th scope="col" { "Created" } th.num scope="col" { "Ran" } th scope="col" { "What" }
                    }
                }
                tbody id="rows" data-anchor=[list.cursor.is_none().then_some(list.anchor.as_str())] {
                    @for task in &list.tasks { (row(site, &list.filters, task, may_act)) }
                }
            }
            @if list.tasks.is_empty() { (nothing(list)) }
            @if may_act && !list.tasks.is_empty() {
                div.selection id="selection" {
                    span id="selected" { "Selected:" }
                    @if site.rights.submit { button type="submit" name="action" value="retry" { "Retry" } }
                    @if site.rights.cancel {
                        button type="submit" name="action" value="cancel" { "Cancel" }
                        button.danger type="submit" name="action" value="delete" { "Delete" }
                    }
                }
            }
        }
    }
}

fn nothing(list: &TaskList) -> Markup {
    html! {
        div.empty {
            @if list.next.is_some() { p { "No task examined so far matches; older ones may." } }
            @else if list.filters.is_empty() {
                p { "No task yet." }
                p { a.button.primary href="submit" { "Submit a task" } }
            }
            @else { p { "No task matches the filter." } }
        }
    }
}

fn row(site: &Site, filters: &Filters, task: &Task, may_act: bool) -> Markup {
    let id = &task.id;
    let add = |name: &str, value: &str| filters.with(name, value).href("tasks", &[]);
    let cause = task.error.as_ref().map(|error| add("cause", &error.cause));
    html! {
        tr id={ "t-" (id) } data-live {
            @if may_act { td.check { input type="checkbox" name="id" value=(id) aria-label={ "Select …" (task.short_id()) }; } }
            td data-label="Task" { a.mono.open href={ "task/" (id) } title=(id) { "…" (task.short_id()) } }
            td data-label="State" { (state::of(task)) }
            td data-label="Plugin" { a.add href=(add("plugin", &task.plugin)) { (text::brief(&task.plugin, 40)) } }
            td data-label="Tags" {
                @if task.tags.is_empty() { span.none { "–" } }
                @for tag in task.tags.iter().take(4) { a.tag href=(add("tag", tag)) { (text::brief(tag, 24)) } " " }
                @if task.tags.len() > 4 { span.note { "+" (task.tags.len() - 4) } }
            }
            td data-label="Created" { (time(&task.created_at, Show::Age)) }
            td.num data-label="Ran" { (ran(task)) }
            td.what data-label="What" {
                @if site.rights.read || task.error.is_some() || task.progress.is_some() { (state::outcome(task, cause.as_deref())) }
                @if task.attempt > 1 { " " span.note { "attempt " (task.attempt) " of " (task.max_attempts) } }
            }
        }
    }
}

/// Shows how long it ran; for a running task since when, so that the page does not change each second.
fn ran(task: &Task) -> Markup {
    match (&task.started_at, task.state == "running") {
        (Some(started_at), true) => time(started_at, Show::Age),
        _ if task.attempt == 0 => html! { span.none { "–" } },
        _ => html! { (unit::millis(task.duration_ms)) },
    }
}

fn pages(list: &TaskList) -> Markup {
    html! {
        nav.pages aria-label="Pages of the list" {
            @if list.cursor.is_some() { a.button href=(list.filters.href("tasks", &[])) { "‹ newest" } }
            @if let Some(next) = &list.next { a.button href=(list.filters.href("tasks", &[("cursor", next)])) rel="next" { "older ›" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rights;

    fn list(task: Task) -> TaskList {
        TaskList { tasks: vec![task], anchor: "2026-11-23T07:26:49Z".to_owned(), ..TaskList::default() }
    }

    fn hostile() -> Task {
        let text = "\"'><img src=x onerror=alert(1)>\u{202e}\0".to_owned();
        Task {
            id: "01a2074c-e503-703b-819d-4717c026346b".to_owned(),
            state: "failed".to_owned(),
            plugin: text.clone(),
            tags: vec![text.clone(); 9],
            error: Some(crate::record::Failure { cause: text.clone(), message: text.repeat(99) }),
            created_at: text,
            ..Task::default()
        }
    }

    #[test]
    fn text_of_strangers_is_text() {
        let site = Site { rights: Rights::ALL, ..Site::default() };
        let shown = page(&site, &list(hostile())).whole(&site);
        assert!(!shown.contains("<img") && !shown.contains('\u{202e}') && !shown.contains('\0'), "{shown}");
    }

    #[test]
    fn a_reader_without_scopes_sees_no_button() {
        let rights = Rights { watch: true, read: true, ..Rights::default() };
        let site = Site { rights, ..Site::default() };
        let shown = page(&site, &list(hostile())).whole(&site);
        assert!(
            !shown.contains("checkbox")
                && !shown.contains("name=\"action\"")
                && !shown.contains("Cancel all")
        );
        let site = Site { rights: Rights::ALL, ..Site::default() };
        let shown = page(&site, &list(hostile())).whole(&site);
        assert!(shown.contains("checkbox") && shown.contains("Cancel all") && shown.contains("Retry all"));
    }

    #[test]
    fn what_is_offered_for_all_fits_their_state() {
        let site = Site { rights: Rights::ALL, ..Site::default() };
        for (state, finished, open) in
            [("failed", true, false), ("running", false, true), ("waiting,running", false, true)]
        {
            let filters = Filters::default().with("state", state);
            let shown = page(&site, &TaskList { filters, ..TaskList::default() }).whole(&site);
            assert_eq!(
                ["Retry all", "Delete all", "Cancel all"].map(|label| shown.contains(label)),
                [finished, finished, open],
                "{state}"
            );
        }
    }

    #[test]
    fn a_page_of_a_hundred_rows_is_small() {
        use flate2::{Compression, write::GzEncoder};
        let site = Site { rights: Rights::ALL, ..Site::default() };
        let task = |n: u32| Task {
            id: format!("01a2074c-e503-703b-819d-4717c02{n:05x}"),
            state: "completed".into(),
            plugin: "noop".into(),
            created_at: format!("2026-11-23T07:26:49.{n:03}Z"),
            attempt: 1,
            ..Task::default()
        };
        let list = TaskList { tasks: (0..100).map(task).collect(), ..TaskList::default() };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut encoder, page(&site, &list).whole(&site).as_bytes()).expect("memory");
        let bytes = encoder.finish().expect("memory").len();
        assert!(bytes <= 10 << 10, "{bytes}");
    }
}
