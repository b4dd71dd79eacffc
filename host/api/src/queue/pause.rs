//! `POST /pause`, `/resume`, `/plugins/{name}/pause` and `/plugins/{name}/resume`: pause and resume the
//! queue, or the queue of one plugin.
//!
//! Running tasks continue and new ones are accepted, but none starts. A pause survives restarts.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::PluginName;

use crate::openapi::schema::NameSchema;
use crate::openapi::{Operation, ResponseSpec};
use crate::plugin::lookup::unknown_plugin;
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;

/// The queue that was paused or resumed.
#[derive(Serialize, JsonSchema)]
struct Paused {
    /// `null` for the whole queue.
    #[schemars(with = "Option<NameSchema>")]
    plugin: Option<PluginName>,
    paused: bool,
}

pub(crate) async fn pause(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    set(&api, None, true).await
}

pub(crate) async fn resume(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    set(&api, None, false).await
}

pub(crate) async fn pause_plugin(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let plugin = known_plugin(&api, &name)?;
    set(&api, Some(plugin), true).await
}

/// Accepts any name: the plugin may have been removed since it was paused.
pub(crate) async fn resume_plugin(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let plugin = name.parse().map_err(|_| unknown_plugin(&name))?;
    set(&api, Some(plugin), false).await
}

fn known_plugin(api: &Api, name: &str) -> Result<PluginName, Problem> {
    let is_known = api.runtime.plugins_info().iter().any(|plugin| plugin.name == name);
    let plugin = name.parse().ok().filter(|_| is_known);
    plugin.ok_or_else(|| unknown_plugin(name))
}

async fn set(
    api: &Api,
    plugin: Option<PluginName>,
    paused: bool,
) -> Result<impl IntoResponse + use<>, Problem> {
    api.scheduler.pause(plugin.clone(), paused).await?;
    Ok(Json(Paused { plugin, paused }))
}

pub(crate) fn pause_spec() -> Operation {
    queue_spec("/pause", "pause", "Pause the queue", true)
}

pub(crate) fn resume_spec() -> Operation {
    queue_spec("/resume", "resume", "Resume the queue", false)
}

pub(crate) fn pause_plugin_spec() -> Operation {
    plugin_spec("/plugins/{name}/pause", "pausePlugin", "Pause the queue of a plugin", true)
}

pub(crate) fn resume_plugin_spec() -> Operation {
    plugin_spec("/plugins/{name}/resume", "resumePlugin", "Resume the queue of a plugin", false)
}

fn queue_spec(path: &'static str, id: &'static str, summary: &'static str, paused: bool) -> Operation {
    described(Operation::post(path, id, summary), None, paused)
}

fn plugin_spec(path: &'static str, id: &'static str, summary: &'static str, paused: bool) -> Operation {
    described(Operation::post(path, id, summary), Some("io-stub"), paused)
        .problems(&[kind::INVALID_PATH, kind::UNKNOWN_PLUGIN])
}

fn described(operation: Operation, plugin: Option<&str>, paused: bool) -> Operation {
    let example = json!({"plugin": plugin, "paused": paused});
    operation
        .detail(
            "Running tasks continue and new ones are accepted, but none starts while paused. A pause survives \
             restarts.",
        )
        .responds(200, ResponseSpec::json::<Paused>("The new state, stored durably.", example))
        .problems(&kind::STORE_ACCESS)
}
