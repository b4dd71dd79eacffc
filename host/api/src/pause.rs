//! `POST /pause`, `/resume`, `/plugins/{name}/pause` and `/resume`: holds tasks back, and lets them go on.
//!
//! What runs goes on, and tasks are taken as ever; they wait. It outlives the process.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::PluginName;

use crate::app::Api;
use crate::openapi::values::Name;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;

/// What is paused, or no longer is.
#[derive(Serialize, JsonSchema)]
struct Paused {
    /// `null` for everything.
    #[schemars(with = "Option<Name>")]
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
    let plugin = known(&api, &name)?;
    set(&api, Some(plugin), true).await
}

/// Takes any name: a plugin may have gone since it was paused.
pub(crate) async fn resume_plugin(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let plugin = name.parse().map_err(|_| Problem::unknown_plugin(&name))?;
    set(&api, Some(plugin), false).await
}

fn known(api: &Api, name: &str) -> Result<PluginName, Problem> {
    let is_known = api.runtime.plugins_info().iter().any(|plugin| plugin.name == name);
    let plugin = name.parse().ok().filter(|_| is_known);
    plugin.ok_or_else(|| Problem::unknown_plugin(name))
}

async fn set(
    api: &Api,
    plugin: Option<PluginName>,
    paused: bool,
) -> Result<impl IntoResponse + use<>, Problem> {
    api.scheduler.pause(plugin.clone(), paused).await?;
    Ok(Json(Paused { plugin, paused }))
}

/// Tells of all four.
pub(crate) fn about() -> [Operation; 4] {
    let of = |path, id, summary, plugin: Option<&str>, paused: bool| {
        let example = json!({"plugin": plugin, "paused": paused});
        let operation = Operation::post(path, id, summary)
            .detail("What runs goes on, and tasks are taken as ever; they wait. It outlives the process.")
            .answers(200, Answer::json::<Paused>("It is so, and durable.", example))
            .problems(&kind::OF_STORE);
        if plugin.is_some() {
            operation.problems(&[kind::INVALID_PATH, kind::UNKNOWN_PLUGIN])
        } else {
            operation
        }
    };
    let plugin = Some("io-stub");
    [
        of("/pause", "pause", "Hold all tasks back", None, true),
        of("/resume", "resume", "Let tasks go on", None, false),
        of("/plugins/{name}/pause", "pausePlugin", "Hold the tasks of a plugin back", plugin, true),
        of("/plugins/{name}/resume", "resumePlugin", "Let the tasks of a plugin go on", plugin, false),
    ]
}
