//! `GET /plugins/{name}/schema`: the JSON Schema of a plugin's input.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use wasmill_model::PluginName;
use wasmill_runtime::NotReadyError;

use crate::openapi::{Operation, ResponseSpec};
use crate::plugin::lookup::unknown_plugin;
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;

pub(crate) async fn schema(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let plugin: PluginName = name.parse().map_err(|_| unknown_plugin(&name))?;
    let Some(config) = api.runtime.plugin_config(&plugin) else {
        return Err(match api.runtime.check_ready(&plugin) {
            Err(why @ NotReadyError::Compiling(_)) => Problem::plugin_compiling(why.to_string()),
            Err(why @ NotReadyError::Rejected { .. }) => Problem::of(kind::PLUGIN_REJECTED, why.to_string()),
            // It may have come into service a moment ago.
            Ok(()) | Err(NotReadyError::Unknown(_)) => unknown_plugin(&name),
        });
    };
    let schema = config.schema.as_ref().ok_or_else(|| no_schema(&name))?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], schema.text().to_owned()))
}

fn no_schema(name: &str) -> Problem {
    let detail = format!("the manifest of plugin '{name}' names no `input.schema`, so any input is accepted");
    Problem::of(kind::NO_SCHEMA, detail)
}

pub(crate) fn spec() -> Operation {
    let answer = ResponseSpec::any_json("The schema, byte for byte.");
    Operation::get("/plugins/{name}/schema", "getPluginSchema", "Get the input schema of a plugin")
        .detail("The JSON Schema, of draft 2020-12 unless it names another, that `POST /task` checks inputs against.")
        .responds(200, answer)
        .problems(&[kind::INVALID_PATH, kind::UNKNOWN_PLUGIN, kind::NO_SCHEMA])
        .problems(&[kind::PLUGIN_COMPILING, kind::PLUGIN_REJECTED])
}
