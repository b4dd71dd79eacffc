//! Rules about plugins: rejected, failing, paused, and tasks that wait too long.

use std::collections::BTreeMap;

use wasmill_model::{PluginName, TimeDelta};
use wasmill_runtime::{NotReadyError, PluginState};
use wasmill_store::PluginCounts;

use super::item::{ItemView, Items};
use crate::queue::history::FailingPlugin;
use crate::state::Api;

/// How long a task may be ready before it is mentioned.
const WAITS_LONG: TimeDelta = TimeDelta::minutes(5);

pub(super) async fn check(api: &Api, items: &mut Items) {
    let counts: BTreeMap<_, _> = api.store.plugin_counts().into_iter().collect();
    check_files(api, items);
    check_failing(api, items);
    for (plugin, counts) in &counts {
        check_plugin(api, plugin, counts, items);
    }
    check_ages(api, items).await;
}

/// Adds rejected files.
fn check_files(api: &Api, items: &mut Items) {
    for plugin in api.runtime.plugins_info() {
        let PluginState::Rejected(reason) = plugin.state else { continue };
        let name = plugin.name;
        let detail = format!("plugin {name} was rejected: {reason}");
        let action = "correct its file or manifest; it is loaded again when one changes";
        let item = match plugin.in_service {
            Some(_) => {
                let detail = format!("{detail}; the last good version stays in service");
                ItemView::warning("plugin-rejected", detail, action)
            }
            None => ItemView::error("plugin-rejected", format!("{detail}; no version is in service"), action),
        };
        items.add(item.link(format!("/plugins/{}", encoded(&name))).of(name));
    }
}

fn check_failing(api: &Api, items: &mut Items) {
    for FailingPlugin { plugin, failed, finished, cause } in api.history.failing() {
        let cause = cause.map(|(cause, _)| format!(", most attempts by {cause}")).unwrap_or_default();
        let detail =
            format!("{failed} of {finished} tasks of plugin {plugin} failed in the last five minutes{cause}");
        let action = "read the errors of its failed tasks, and retry them when the cause is gone";
        let item = ItemView::error("plugin-failing", detail, action);
        let link = format!("/task?state=failed&plugin={plugin}");
        items.add(item.link(link).count(failed).of(plugin.as_str()));
    }
}

/// Adds what keeps the waiting tasks of one plugin.
fn check_plugin(api: &Api, plugin: &PluginName, counts: &PluginCounts, items: &mut Items) {
    let waiting = counts.waiting();
    let tasks = format!("/task?state=waiting&plugin={plugin}");
    if api.scheduler.is_plugin_paused(plugin) {
        let detail = format!("plugin {plugin} is paused: none of its tasks starts, and {waiting} wait");
        let item = ItemView::warning("plugin-paused", detail, format!("POST /plugins/{plugin}/resume"));
        items.add(item.link(tasks.as_str()).count(waiting).of(plugin.as_str()));
    }
    // A rejected file is mentioned anyway.
    if waiting > 0 && matches!(api.runtime.check_ready(plugin), Err(NotReadyError::Unknown(_))) {
        let detail = format!("{waiting} tasks wait for plugin {plugin}, which this host does not have");
        let action = format!("put {plugin}.wasm into the plugins folder, or cancel them");
        let item = ItemView::error("plugin-missing", detail, action);
        items.add(item.link(tasks.as_str()).count(waiting).of(plugin.as_str()));
    }
    let max = api.runtime.plugin_config(plugin).and_then(|config| config.waiting_max);
    if let Some(max) = max.filter(|max| waiting >= *max) {
        let detail = format!(
            "{waiting} tasks of plugin {plugin} wait, and its manifest allows {max}; further ones get 429"
        );
        let action = "submit less, or raise limits.waiting or limits.concurrency of its manifest";
        let item = ItemView::error("plugin-queue-full", detail, action);
        items.add(item.link(tasks.as_str()).count(waiting).of(plugin.as_str()));
    }
}

/// Adds plugins whose longest waiting task has been ready for too long.
async fn check_ages(api: &Api, items: &mut Items) {
    let oldest = match api.store.oldest_waiting().await {
        Ok(oldest) => oldest,
        Err(error) => return items.add_unreadable(&error),
    };
    let now = api.clock.now();
    for (plugin, ready_at) in oldest.into_iter().filter(|(_, ready_at)| now - *ready_at > WAITS_LONG) {
        // Those are mentioned for their pause, or for the missing plugin.
        let is_held = api.scheduler.is_paused() || api.scheduler.is_plugin_paused(&plugin);
        if is_held || api.runtime.check_ready(&plugin).is_err() {
            continue;
        }
        let minutes = (now - ready_at).num_minutes();
        let detail = format!("a task of plugin {plugin} has been ready for {minutes} minutes");
        let action = "ask GET /task/{id}/why of the oldest: slots, concurrency, rate or memory may be short";
        let item = ItemView::warning("task-waits-long", detail, action).since(ready_at);
        items.add(item.link(format!("/task?state=waiting&plugin={plugin}")).of(plugin.as_str()));
    }
}

/// Encodes the name of a file that need not be a plugin name.
fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}
