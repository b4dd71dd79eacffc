//! `GET /plugins` and `GET /plugins/{name}`: plugins with their configuration, and why a file was rejected.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde_json::json;
use wasmill_model::{PluginName, Reach};
use wasmill_runtime::PluginInfo;

use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::plugin::lookup::unknown_plugin;
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::view::plugin::{PluginView, TasksView, example};

/// Waiting tasks are counted up to this number, which bounds the cost of a long queue.
const WAITING_COUNT_MAX: usize = 10_000;

pub(crate) async fn list(
    State(api): State<Api>,
    Sender(sender): Sender,
) -> Result<impl IntoResponse, Problem> {
    let mut plugins = api.runtime.plugins_info();
    plugins.retain(|plugin| sender.reach().covers_plugin(&plugin.name));
    Ok(Json(view_all(&api, sender.reach(), plugins).await?))
}

pub(crate) async fn plugin(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let plugins = api.runtime.plugins_info();
    // A rejected file may have the name of a built-in plugin; the file is newer and comes last.
    let plugin = plugins.into_iter().rfind(|plugin| plugin.name == name);
    let plugin = plugin.ok_or_else(|| unknown_plugin(&name))?;
    Ok(Json(view_all(&api, sender.reach(), vec![plugin]).await?.pop()))
}

/// Creates the views of these plugins for a key with this reach, with one query for all task counts.
pub(crate) async fn view_all(
    api: &Api,
    reach: &Reach,
    plugins: Vec<PluginInfo>,
) -> Result<Vec<PluginView>, Problem> {
    let names: Vec<PluginName> = plugins.iter().filter_map(|plugin| plugin.name.parse().ok()).collect();
    let waiting = api.store.waiting(names.clone(), WAITING_COUNT_MAX).await?;
    let waiting: HashMap<_, _> = names.into_iter().zip(waiting).collect();
    let plugin_counts: HashMap<_, _> = api.store.plugin_counts().into_iter().collect();
    let tasks = |name: &str| {
        let name = name.parse::<PluginName>().ok();
        let counts = name.as_ref().and_then(|name| plugin_counts.get(name)).copied().unwrap_or_default();
        let waiting = name.as_ref().and_then(|name| waiting.get(name)).copied().unwrap_or(0);
        TasksView {
            waiting,
            waiting_is_at_least: waiting == WAITING_COUNT_MAX as u64,
            running: counts.running,
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
        }
    };
    let is_paused = |name: &str| name.parse().is_ok_and(|name| api.scheduler.is_plugin_paused(&name));
    let mut published: HashMap<_, _> = api
        .store
        .published_plugins()
        .await?
        .into_iter()
        .filter(|published| !published.is_removed)
        .map(|published| (published.name.to_string(), published))
        .collect();
    let view = |plugin: PluginInfo| {
        let published = published.remove(&plugin.name);
        let view = PluginView::new(tasks(&plugin.name), is_paused(&plugin.name), published, plugin);
        view.within(reach)
    };
    Ok(plugins.into_iter().map(view).collect())
}

pub(crate) fn list_spec() -> Operation {
    Operation::get("/plugins", "listPlugins", "List plugins and rejected files")
        .responds(200, ResponseSpec::json::<Vec<PluginView>>("All plugins.", json!([example()])))
        .problems(&kind::STORE_ACCESS)
}

pub(crate) fn plugin_spec() -> Operation {
    Operation::get("/plugins/{name}", "getPlugin", "Get a plugin")
        .responds(200, ResponseSpec::json::<PluginView>("The plugin.", example()))
        .problems(&[kind::INVALID_PATH, kind::UNKNOWN_PLUGIN])
        .problems(&kind::STORE_ACCESS)
}
