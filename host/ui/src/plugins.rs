//! Plugins: what each may do, its limits, and the upload of another one.

mod changes;

use maud::{Markup, html};

use crate::filters::Filters;
use crate::overview::history::of_plugin;
use crate::part::confirm::{ask, button};
use crate::part::state::badge;
use crate::part::text::{block, brief, visible};
use crate::part::{command, unit};
use crate::problem::{Problem, alert};
use crate::record::{History, Limits, Permissions, Plugin, Retry, Upload};
use crate::shell::{Page, Place, Site};

const ROOT: &str = "../";

/// What the page shows.
#[derive(Clone, Debug, Default)]
pub struct Plugins {
    /// All plugins and rejected files.
    pub plugins: Vec<Plugin>,
    /// Why an upload was refused.
    pub problem: Option<Problem>,
    /// Name that was entered.
    pub name: String,
    /// What an upload would change.
    pub preview: Option<Upload>,
}

/// Shows the page.
pub fn page(site: &Site, shown: &Plugins) -> Page {
    let main = html! {
        h1 { "Plugins" }
        (summary(&shown.plugins))
        @if let Some(preview) = &shown.preview { (changes::section(preview)) }
        @if site.can_upload { (upload(shown)) }
        @for plugin in &shown.plugins { (card(site, plugin, false)) }
    };
    let is_live = shown.problem.is_none() && shown.preview.is_none();
    Page { title: "Plugins".to_owned(), place: Place::Plugins, root: ROOT, scripts: &[], is_live, main }
}

/// Shows the page of one plugin: the same, and its last hour if the reader may see it.
pub fn one(site: &Site, plugin: &Plugin, history: Option<&History>) -> Page {
    let main = html! {
        p.way { a href="plugins" { "‹ Plugins" } }
        h1 { "Plugin " (brief(&plugin.name, 64)) }
        (card(site, plugin, true))
        @if let Some(history) = history { (of_plugin(history)) }
    };
    let title = format!("Plugin {}", brief(&plugin.name, 64));
    Page { title, place: Place::Plugins, root: ROOT, scripts: &[], is_live: true, main }
}

fn summary(plugins: &[Plugin]) -> Markup {
    let states = ["ready", "compiling", "rejected"];
    let count = |state: &str| plugins.iter().filter(|plugin| plugin.state == state).count();
    html! {
        p id="plugin-states" data-live {
            @if plugins.is_empty() { "No plugin yet. Put a .wasm file into the plugins folder." }
            @for state in states { @if count(state) > 0 { (count(state)) " " (badge(state)) " " } }
        }
    }
}

fn upload(shown: &Plugins) -> Markup {
    html! {
        section aria-labelledby="upload-title" {
            h2 id="upload-title" { "Upload a plugin" }
            @if let Some(problem) = &shown.problem { (alert(problem)) }
            form.upload method="post" action="upload" enctype="multipart/form-data" {
                label { span { "Name" } input type="text" name="name" value=(shown.name) required pattern="[a-z0-9][a-z0-9._\\-]{0,63}" placeholder="fetch" autocomplete="off" spellcheck="false"; }
                label.drop { span { "File: a .wasm module or component, at most 128 MiB" } input type="file" name="file" required accept=".wasm,application/wasm"; }
                label { span { "Signature: its .minisig, if the server asks for one" } input type="file" name="signature" accept=".minisig"; }
                div.buttons { button type="submit" name="check" value="1" { "What would change?" } button.primary type="submit" { "Upload" } }
            }
            p.note { "It is compiled and checked first. One that is rejected replaces nothing." }
            (command::lines("PUT", "/plugins/NAME", None, Some("wasmill plugin put FILE.wasm --name NAME")))
        }
    }
}

fn card(site: &Site, plugin: &Plugin, is_alone: bool) -> Markup {
    let name = &plugin.name;
    let tasks = |state: &str| Filters::default().with("plugin", name).with("state", state).href("tasks", &[]);
    html! {
        section.plugin id={ "p-" (name) } data-live aria-labelledby={ "p-" (name) "-title" } {
            div.row {
                h2 id={ "p-" (name) "-title" } { (brief(name, 64)) " " (badge(&plugin.state)) @if plugin.paused { " " (badge("paused")) } }
                (buttons(site, plugin, is_alone))
            }
            @if let Some(description) = &plugin.description { p { (brief(description, 400)) } }
            @if let Some(reason) = &plugin.reason {
                div.alert { p.pre { (block(reason)) } @if let Some(digest) = &plugin.in_service { p.note { "The last good version " code { (brief(digest, 8)) } " stays in service." } } }
            }
            dl.facts {
                @if let Some(counts) = &plugin.tasks {
                    div { dt { "Waiting" } dd { a href=(tasks("waiting")) { (unit::count(counts.waiting)) @if counts.waiting_is_at_least { "+" } } } }
                    div { dt { "Running" } dd { a href=(tasks("running")) { (unit::count(counts.running)) @if let Some(most) = plugin.limits.as_ref().and_then(|limits| limits.concurrency) { " of " (most) } } } }
                    div { dt { "Completed, failed, cancelled" } dd { (unit::count(counts.completed)) ", " a href=(tasks("failed")) { (unit::count(counts.failed)) } ", " (unit::count(counts.cancelled)) } }
                }
                @if let Some(kind) = &plugin.kind { div { dt { "Kind" } dd { (visible(kind)) } } }
                @if plugin.size_bytes > 0 { div { dt { "File" } dd { (unit::bytes(plugin.size_bytes)) ", compiled in " (unit::millis(plugin.compile_ms)) } } }
                @if let Some(digest) = &plugin.digest { div { dt { "SHA-256" } dd { code title=(visible(digest)) { (brief(digest, 16)) } " " (command::copy(digest)) } } }
                @if plugin.file.is_none() { div { dt { "Source" } dd { "built into the server" } } }
            }
            @if let Some(permissions) = &plugin.permissions { (may(permissions)) }
            @if let Some(limits) = &plugin.limits {
                details { summary { "Limits and retries" } (bounds(limits, plugin.retry.as_ref())) }
            }
            @if !plugin.imports.is_empty() || !plugin.exports.is_empty() {
                details { summary { "Imports and exports" }
                    h3 { "Imports (" (plugin.import_count) ")" } ul.names { @for import in &plugin.imports { li { code { (visible(import)) } } } }
                    h3 { "Exports (" (plugin.export_count) ")" } ul.names { @for export in &plugin.exports { li { code { (visible(export)) } } } }
                }
            }
        }
    }
}

fn buttons(site: &Site, plugin: &Plugin, is_alone: bool) -> Markup {
    let name = plugin.name.as_str();
    let (action, label) = if plugin.paused { ("resume-plugin", "Resume") } else { ("pause-plugin", "Pause") };
    html! {
        div.buttons {
            @if !is_alone && !site.is_bounded && plugin.tasks.is_some() { a.button.small href=(Filters::default().href("plugin", &[("name", name)])) { "Charts" span.sr { " of " (brief(name, 64)) } } }
            @if site.rights.submit && plugin.in_service.is_some() | plugin.file.is_none() { a.button.small href=(Filters::default().with("plugin", name).href("submit", &[])) { "Submit a task" } }
            @if site.rights.plugins { (button(ROOT, &[("action", action), ("name", name)], label, "small")) }
            @if site.can_upload && plugin.file.is_some() {
                (ask(&Filters::default().href("act", &[("action", "delete-plugin"), ("name", name)]), "Delete…", "small danger"))
            }
        }
    }
}

/// Shows what its tasks may reach: nothing, unless the manifest says so.
fn may(permissions: &Permissions) -> Markup {
    let Permissions { http, tcp, env, dirs, scratch, secrets } = permissions;
    html! {
        h3 { "May" }
        @if http.is_empty() && tcp.is_empty() && env.is_empty() && dirs.is_empty() && scratch.is_none() && secrets.is_empty() { p.note { "compute, and nothing else: no network, no files, no variables" } }
        @else {
            ul.may {
                @for rule in http { li { "reach " code { (visible(rule)) } } }
                @for rule in tcp { li { "connect to " code { (visible(rule)) } } }
                @if !env.is_empty() { li { "read the variables " @for (index, name) in env.iter().enumerate() { @if index > 0 { ", " } code { (visible(name)) } } } }
                @for secret in secrets { li { @if secret.revealed { "see the secret " } @else { "use the secret " } code { (visible(&secret.name)) } @if !secret.revealed { " at " (visible(&secret.to.join(", "))) } } }
                @if let Some(scratch) = scratch { li { "use a scratch folder " code { (visible(&scratch.guest)) } " of " (unit::bytes(scratch.bytes)) " for each run" } }
                @for dir in dirs { li { @if dir.write { "read and write " } @else { "read " } code { (visible(&dir.guest)) } " ← " code { (visible(&dir.host)) } } }
            }
        }
    }
}

fn bounds(limits: &Limits, retry: Option<&Retry>) -> Markup {
    let or = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.to_owned());
    let mut facts = vec![
        ("Memory", unit::bytes(limits.memory_bytes)),
        ("Time", unit::millis(limits.timeout_ms)),
        ("CPU time", or(limits.cpu_ms.map(unit::millis), "as its time")),
        ("Result", unit::bytes(limits.result_bytes)),
        ("Log", unit::bytes(limits.log_bytes)),
        ("Written to folders", unit::bytes(limits.disk_bytes)),
        ("Checkpoint", unit::bytes(limits.checkpoint_bytes)),
        ("At once", or(limits.concurrency.map(|most| most.to_string()), "as slots")),
        ("Rate", or(limits.rate.clone(), "none")),
        ("May wait", or(limits.waiting.map(unit::count), "as the queue")),
    ];
    if let Some(Retry { max_attempts, backoff, on }) = retry {
        facts.push(("Attempts", max_attempts.to_string()));
        if *max_attempts > 1 {
            let delays = format!(
                "{} × {} up to {}",
                unit::millis(backoff.first_ms),
                unit::short(backoff.factor),
                unit::millis(backoff.max_ms)
            );
            facts.extend([("Delay between", delays), ("Retried on", on.join(", "))]);
        }
    }
    html! { dl.facts { @for (name, value) in &facts { div { dt { (name) } dd { (visible(value)) } } } } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rights;
    use crate::record::{Folder, Scratch, Secret};

    const HOSTILE: &str = "\"'><script>alert(1)</script>\u{202e}\0";

    fn hostile() -> Plugin {
        let text = || HOSTILE.to_owned();
        Plugin {
            name: text(),
            state: text(),
            reason: Some(text()),
            file: Some(text()),
            digest: Some(text()),
            in_service: Some(text()),
            kind: Some(text()),
            description: Some(HOSTILE.repeat(500)),
            imports: vec![text(); 3],
            exports: vec![text()],
            limits: Some(Limits {
                memory_bytes: u64::MAX,
                timeout_ms: u64::MAX,
                rate: Some(text()),
                ..Limits::default()
            }),
            retry: Some(Retry { max_attempts: 3, on: vec![text()], ..Retry::default() }),
            permissions: Some(Permissions {
                http: vec![text()],
                tcp: vec![text()],
                env: vec![text()],
                dirs: vec![Folder { host: text(), guest: text(), write: true }],
                scratch: Some(Scratch { guest: text(), bytes: u64::MAX, files: 1 }),
                secrets: vec![Secret { name: text(), to: vec![text()], revealed: false }],
            }),
            ..Plugin::default()
        }
    }

    #[test]
    fn text_of_strangers_is_text() {
        let site = Site { rights: Rights::ALL, can_upload: true, ..Site::default() };
        let html = page(
            &site,
            &Plugins { plugins: vec![hostile()], name: HOSTILE.to_owned(), ..Plugins::default() },
        )
        .whole(&site);
        assert!(!html.contains("<script>alert") && !html.contains("\u{202e}</"), "{html}");
    }

    #[test]
    fn a_plugin_has_charts_of_its_own() {
        let site = Site { rights: Rights::ALL, can_upload: true, ..Site::default() };
        let history = History { at_ms: vec![0, 10_000], completed: vec![1.0, 2.0], ..History::default() };
        let html = one(&site, &hostile(), Some(&history)).whole(&site);
        assert!(!html.contains("<script>alert") && html.matches("<figure").count() == 4, "{html}");
        let html = one(&site, &hostile(), Some(&History::default())).whole(&site);
        assert!(html.contains("No numbers yet") && !html.contains("<figure"));
        assert!(!one(&site, &hostile(), None).whole(&site).contains("The last hour"));
    }

    #[test]
    fn only_who_may_upload_sees_the_form() {
        let plugins = || Plugins {
            plugins: vec![Plugin {
                name: "noop".into(),
                file: Some("noop.wasm".into()),
                ..Plugin::default()
            }],
            ..Plugins::default()
        };
        let reader = Site { rights: Rights { watch: true, ..Rights::default() }, ..Site::default() };
        let html = page(&reader, &plugins()).whole(&reader);
        assert!(
            !html.contains("type=\"file\"") && !html.contains("pause-plugin") && !html.contains("Delete")
        );
        let site = Site { rights: Rights::ALL, can_upload: true, ..Site::default() };
        let html = page(&site, &plugins()).whole(&site);
        assert!(html.contains("type=\"file\"") && html.contains("pause-plugin") && html.contains("Delete…"));
    }
}
