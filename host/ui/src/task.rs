//! One task: what became of it, its log, its input and result, and what it depends on.
//!
//! Each tab is a page of its own, so that each has a URL, and a slow one holds up nothing.

mod activity;
mod depends;
mod files;
mod log;
mod timeline;
mod tree;
mod value;
mod viewer;
mod waits;
mod webhook;

use maud::{Markup, html};

pub use self::log::{FIND_CHARS_MAX, LogFilter, LogTail, STREAMS};
pub use self::viewer::{Content, Kind, View, Wanted, kind_of};
use crate::assets::{self, Asset};
use crate::filters::Filters;
use crate::part::state::{bar, of};
use crate::part::text::{block, brief, visible};
use crate::part::time::{Show, optional, time};
use crate::part::{command, unit};
use crate::record::{Activity, Delivery, Task, Why};
use crate::shell::{Page, Place, Site};

/// What a tab shows.
#[derive(Clone, Debug)]
pub enum Tab {
    /// The end of the log.
    Log(LogTail),
    /// The result, and how it is shown.
    Result(Option<Content>, Wanted),
    /// The input as it was sent, and how it is shown.
    Input(Content, Wanted),
    /// The newest checkpoint, `None` without one, and how it is shown.
    Checkpoint(Option<Content>, Wanted),
    /// What it depends on, with their states as far as they are known, and the newest tasks that depend on it.
    Depends(Vec<Task>, Vec<Task>),
    /// The delivery of its webhook; `None` without one.
    Webhook(Option<Delivery>),
    /// The record.
    Record(String),
}

impl Tab {
    fn name(&self) -> &'static str {
        match self {
            Self::Log(..) => "Log",
            Self::Result(..) => "Result",
            Self::Input(..) => "Input",
            Self::Checkpoint(..) => "Checkpoint",
            Self::Depends(..) => "Depends",
            Self::Webhook(_) => "Webhook",
            Self::Record(_) => "Record",
        }
    }

    /// Returns the way from this tab to the root of the server.
    fn root(&self) -> &'static str {
        if matches!(self, Self::Log(..)) { "../../" } else { "../../../" }
    }
}

/// What is known of a task that has not ended.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Why it waits.
    pub why: Option<Why>,
    /// What it does.
    pub activity: Option<Activity>,
}

/// Shows a tab of a task.
pub fn page(site: &Site, task: &Task, now: &Now, tab: &Tab) -> Page {
    const LOG: &[Asset] = &[assets::LOG];
    let root = tab.root();
    let title = format!("{} {} …{}", brief(task.shown_state(), 20), brief(&task.plugin, 40), task.short_id());
    let main = html! {
        (head(site, task, root))
        (progress(task))
        (waits::section(now.why.as_ref(), root))
        (activity::section(task, now.activity.as_ref()))
        (timeline::section(task))
        (tabs(task, tab, root))
        @match tab {
            Tab::Log(tail) => (log::section(task, tail, root)),
            Tab::Result(result, wanted) => (value::result(task, result.as_ref(), *wanted, root)),
            Tab::Input(input, wanted) => (value::input(task, input, *wanted, root)),
            Tab::Checkpoint(saved, wanted) => (value::checkpoint(task, saved.as_ref(), *wanted, root)),
            Tab::Depends(tasks, dependents) => (depends::section(task, tasks, dependents, root)),
            Tab::Webhook(delivery) => (webhook::section(site, task, delivery.as_ref(), root)),
            Tab::Record(json) => (value::record(task, json)),
        }
        (files::section(task, root))
        (usage(task))
        (facts(site, task, root))
    };
    let scripts = if matches!(tab, Tab::Log(..)) { LOG } else { &[] };
    // What has ended no longer changes, but for its webhook.
    let is_live = !task.is_final() || matches!(tab, Tab::Webhook(_));
    Page { title, place: Place::Tasks, root, scripts, is_live, main }
}

fn head(site: &Site, task: &Task, root: &str) -> Markup {
    let id = &task.id;
    let act = |action: &str| format!("{root}ui/act?action={action}&id={id}");
    html! {
        div.row.way {
            a id="list" href={ (root) "ui/tasks" } { "‹ Tasks" }
            // The list that this was opened from is known to the tab of the browser only.
            nav id="siblings" hidden aria-label="Tasks of the list" {
                a.button.small id="previous" rel="prev" href="" { "‹ newer" } " "
                span.note id="sibling-place" {} " "
                a.button.small id="next" rel="next" href="" { "older ›" }
            }
        }
        div.head id="head" data-live data-ended[task.is_final()] {
            div {
                h1.mono data-id=(id) { (visible(id)) }
                p.meta {
                    (of(task)) " "
                    "plugin " a href=(Filters::default().with("plugin", &task.plugin).href(&format!("{root}ui/tasks"), &[])) { (brief(&task.plugin, 64)) }
                    @if let Some(digest) = &task.plugin_digest { " " code title=(visible(digest)) { (brief(digest, 8)) } }
                    @for tag in &task.tags { " " a.tag href=(Filters::default().with("tag", tag).href(&format!("{root}ui/tasks"), &[])) { (brief(tag, 64)) } }
                    @if task.attempt > 0 { " · attempt " (task.attempt) " of " (task.max_attempts) }
                    @if let (Some(started), "running") = (&task.started_at, task.state.as_str()) {
                        " · for " (time(started, Show::Age)) " of at most " (unit::millis(task.timeout_ms))
                    }
                    @if task.is_final() && task.attempt > 0 { " · ran " (unit::millis(task.duration_ms)) }
                }
            }
            div.buttons {
                (command::copy(id))
                @if site.rights.cancel && !task.is_final() { a.button data-key="c" href=(act("cancel")) data-dialog { "Cancel…" } }
                @if site.rights.submit && task.is_final() { a.button.primary data-key="r" href=(act("retry")) data-dialog { "Retry…" } }
                @if site.rights.submit { a.button href={ (root) "ui/submit?like=" (id) } { "Submit similar" } }
                @if site.rights.cancel { a.button.danger data-key="d" href=(act("delete")) data-dialog { "Delete…" } }
            }
        }
    }
}

fn progress(task: &Task) -> Markup {
    html! {
        div id="progress" data-live {
            @if let (Some(progress), "running") = (&task.progress, task.state.as_str()) {
                div.card.progress { (bar(progress.fraction)) " " (brief(&progress.note, 500)) }
            }
            @if let Some(error) = &task.error {
                div.alert {
                    p { span.cause { (brief(&error.cause, 40)) } @if !task.is_final() { " in the attempt before" } }
                    @if !error.message.is_empty() { p.pre { (block(&error.message)) } }
                }
            }
        }
    }
}

fn tabs(task: &Task, tab: &Tab, root: &str) -> Markup {
    let page = |path: &str| format!("{root}ui/task/{}{path}", task.id);
    let tabs = [
        ("Log", "", true),
        ("Result", "/result", true),
        ("Input", "/input", true),
        ("Checkpoint", "/checkpoint", matches!(tab, Tab::Checkpoint(..)) || has_checkpoint(task)),
        ("Depends", "/depends", true),
        ("Webhook", "/webhook", task.webhook.is_some()),
        ("Record", "/record", true),
    ];
    html! {
        nav.tabs aria-label="Parts of the task" {
            @for (name, path, shown) in tabs {
                @if shown { a href=(page(path)) aria-current=[(name == tab.name()).then_some("page")] { (name) } }
            }
        }
    }
}

/// Returns true if its guest has saved something that the next attempt starts with.
fn has_checkpoint(task: &Task) -> bool {
    !task.is_final() && task.usage.as_ref().is_some_and(|usage| usage.checkpoints > 0)
}

fn usage(task: &Task) -> Markup {
    let Some(usage) = &task.usage else { return html! {} };
    let facts = [
        ("CPU", unit::millis(usage.cpu_ms)),
        ("Ran", unit::millis(if task.state == "running" { usage.cpu_ms } else { usage.wall_ms })),
        ("Queued", unit::millis(usage.queue_ms)),
        ("Made in", unit::micros(usage.instantiate_us)),
        ("Peak memory", unit::bytes(usage.peak_memory_bytes)),
        ("Log", unit::bytes(usage.log_bytes)),
        ("HTTP requests", unit::count(usage.http_requests)),
        (
            "Sent, received",
            format!("{}, {}", unit::bytes(usage.http_sent_bytes), unit::bytes(usage.http_received_bytes)),
        ),
        ("TCP connections", unit::count(usage.tcp_connections)),
        (
            "Over TCP",
            format!("{}, {}", unit::bytes(usage.tcp_sent_bytes), unit::bytes(usage.tcp_received_bytes)),
        ),
        ("Checkpoints", unit::count(usage.checkpoints)),
        ("Written to disk", unit::bytes(usage.disk_written_bytes)),
        ("Files created", unit::count(usage.files_created)),
    ];
    let shown = facts.iter().filter(|(name, _)| *name != "Ran" || task.state != "running");
    html! {
        section id="usage" data-live aria-labelledby="usage-title" {
            h2 id="usage-title" { "Usage of the newest attempt" }
            dl.facts { @for (name, value) in shown { div { dt { (name) } dd { (value) } } } }
        }
    }
}

fn facts(site: &Site, task: &Task, root: &str) -> Markup {
    let list =
        |name: &str, value: &str| Filters::default().with(name, value).href(&format!("{root}ui/tasks"), &[]);
    let trace = site.trace_url.as_ref().zip(task.trace_id.as_ref());
    html! {
        section id="facts" data-live aria-labelledby="facts-title" {
            h2 id="facts-title" { "Facts" }
            dl.facts {
                div { dt { "Created" } dd { (time(&task.created_at, Show::Local)) } }
                div { dt { "Ready" } dd { (time(&task.ready_at, Show::Local)) } }
                div { dt { "Started" } dd { (optional(task.started_at.as_deref(), Show::Local)) } }
                div { dt { "Ended" } dd { (optional(task.finished_at.as_deref(), Show::Local)) } }
                div { dt { "Timeout" } dd { (unit::millis(task.timeout_ms)) } }
                div { dt { "Priority" } dd { (task.priority) } }
                div { dt { "Input" } dd { (unit::bytes(task.input_bytes)) } }
                @if let Some(key) = &task.unique_key { div { dt { "Unique key" } dd { a href=(list("unique_key", key)) { (brief(key, 80)) } } } }
                @if let Some(group) = &task.group { div { dt { "Group" } dd { a href=(list("group", group)) { (brief(group, 64)) } } } }
                @if let Some(schedule) = &task.schedule { div { dt { "Schedule" } dd { a href=(list("schedule", schedule)) { (brief(schedule, 64)) } } } }
                @if let Some(id) = &task.retry_of { div { dt { "Retry of" } dd { a.mono href={ (root) "ui/task/" (id) } { "…" (crate::record::short_id(id)) } } } }
                @if let Some(code) = task.exit_code { div { dt { "Exit code" } dd { (code) } } }
                @if task.suspensions > 0 { div { dt { "Suspended" } dd { (task.suspensions) " times" } } }
                @if task.events_posted > 0 { div { dt { "Events posted" } dd { (task.events_posted) } } }
                @if let Some(id) = &task.parent { div { dt { "Parent" } dd { a.mono href={ (root) "ui/task/" (id) } { "…" (crate::record::short_id(id)) } } } }
                @if let Some(name) = &task.child_name { div { dt { "Name as a child" } dd { (brief(name, 64)) } } }
                @if task.children > 0 { div { dt { "Children" } dd { a href=(list("parent", &task.id)) { (task.children) } ", " (task.children_ended) " ended" } } }
                @if task.host_crashes > 0 { div { dt { "Lost in crashes" } dd { (task.host_crashes) } } }
                @if let Some(key) = &task.submitted_by { div { dt { "Submitted by" } dd { code { (brief(key, 64)) } } } }
                @if let Some(trace_id) = &task.trace_id {
                    div {
                        dt { "Trace" }
                        dd {
                            code { (brief(trace_id, 32)) }
                            @if let Some((url, id)) = trace { " " a href=(url.replace("{trace_id}", id)) rel="noreferrer" { "open" } }
                        }
                    }
                }
            }
            (command::lines("GET", &format!("/task/{}", task.id), None, Some(&format!("wasmill status {}", task.id))))
        }
    }
}

#[cfg(test)]
mod tests;
