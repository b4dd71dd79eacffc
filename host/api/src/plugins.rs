//! `GET /plugins` and `GET /plugins/{name}`: what can run, and why something cannot.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::Serialize;
use wasmill_runtime::{PluginInfo, PluginSource, PluginState};

use crate::app::Api;
use crate::problem::Problem;

#[derive(Serialize)]
struct PluginView {
    name: String,
    state: &'static str,
    /// Why it was rejected.
    reason: Option<String>,
    /// The file it came from; `null` for one that is part of the binary.
    file: Option<String>,
    /// The SHA-256 of the file; `null` if it was not read.
    digest: Option<String>,
    size_bytes: u64,
    compile_ms: u64,
}

pub(crate) async fn list(State(api): State<Api>) -> impl IntoResponse {
    let plugins: Vec<_> = api.runtime.plugins_info().into_iter().map(view).collect();
    Json(plugins)
}

pub(crate) async fn plugin(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let plugins = api.runtime.plugins_info();
    let plugin = plugins.into_iter().find(|plugin| plugin.name == name);
    plugin.map(|plugin| Json(view(plugin))).ok_or_else(|| Problem::unknown_plugin(&name))
}

fn view(plugin: PluginInfo) -> PluginView {
    let (state, reason) = match plugin.state {
        PluginState::Ready => ("ready", None),
        PluginState::Rejected(reason) => ("rejected", Some(reason)),
    };
    let file = match plugin.source {
        PluginSource::BuiltIn => None,
        PluginSource::File(path) => Some(path.display().to_string()),
    };
    PluginView {
        name: plugin.name,
        state,
        reason,
        file,
        digest: plugin.digest,
        size_bytes: plugin.size_bytes,
        compile_ms: plugin.compile_ms,
    }
}
