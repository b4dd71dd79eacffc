//! `PUT /plugins/{name}` and `DELETE /plugins/{name}`: what dropping and removing the file does.
//!
//! Off unless the server was told to allow it. Nothing that is no plugin replaces one that is.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmill_model::PluginName;
use wasmill_runtime::{Removed, Runtime, UploadError};

use crate::app::Api;
use crate::body::read_wasm;
use crate::openapi::{Answer, Operation};
use crate::plugins::{self, PluginView, view_all};
use crate::problem::Problem;
use crate::problem_kind as kind;

/// The largest plugin, in bytes; that of the folder is the same.
const PLUGIN_BYTES_MAX: usize = 128 << 20;

/// How long a client may take to send it.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Uploads that are held in memory at once; others wait.
const UPLOADS_MAX: usize = 2;

/// Whether plugins may be uploaded, and how many at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Uploads {
    turns: Option<Arc<Semaphore>>,
}

impl Uploads {
    /// Allows uploads or not.
    pub fn new(allowed: bool) -> Self {
        Self { turns: allowed.then(|| Arc::new(Semaphore::new(UPLOADS_MAX))) }
    }

    /// Waits for a turn.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let turns = self.turns.as_ref().ok_or_else(Problem::uploads_are_off)?;
        turns.acquire().await.map_err(|_| Problem::uploads_are_off())
    }
}

/// Answers 201 with the record of a new plugin, 200 with that of one that took the place of another.
pub(crate) async fn put(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (_turn, name) = begin(&api, &name).await?;
    let bytes = read_wasm(&api.config, &headers, body, PLUGIN_BYTES_MAX, UPLOAD_TIMEOUT).await?;
    let uploaded = change(&api, move |runtime| runtime.upload(&name, &bytes)).await?;
    // Tasks may have waited for it.
    api.scheduler.wake();
    let status = if uploaded.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let view = view_all(&api, vec![uploaded.info]).await?.pop();
    Ok((status, Json(view)))
}

async fn begin<'a>(api: &'a Api, name: &str) -> Result<(SemaphorePermit<'a>, PluginName), Problem> {
    let turn = api.uploads.turn().await?;
    let name = name.parse().map_err(|error| Problem::invalid_plugin_name(name, error))?;
    Ok((turn, name))
}

pub(crate) async fn delete(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let _turn = api.uploads.turn().await?;
    let plugin: PluginName = name.parse().map_err(|_| Problem::unknown_plugin(&name))?;
    match change(&api, move |runtime| runtime.remove(&plugin)).await? {
        Removed::Removed => Ok(StatusCode::NO_CONTENT),
        Removed::NotFound => Err(Problem::unknown_plugin(&name)),
        Removed::BuiltIn => Err(Problem::built_in_plugin(&name)),
    }
}

/// Changes the folder on a thread that may block; carried out even if the client hangs up.
async fn change<T: Send + 'static>(
    api: &Api,
    change: impl FnOnce(&Runtime) -> Result<T, UploadError> + Send + 'static,
) -> Result<T, Problem> {
    let runtime = api.runtime.clone();
    let changed = tokio::task::spawn_blocking(move || change(&runtime)).await;
    Ok(changed.map_err(|_| Problem::internal_fault("changing a plugin panicked"))??)
}

pub(crate) fn about_put() -> Operation {
    let answer = |about| Answer::json::<PluginView>(about, plugins::example());
    Operation::put("/plugins/{name}", "putPlugin", "Add or replace a plugin")
        .detail(
            "Does what dropping the file into the folder does. A file that is no plugin replaces nothing. \
             Only with `--allow-upload`.",
        )
        .wasm_body("The bytes of the file, at most 128 MiB.")
        .answers(200, answer("It took the place of another."))
        .answers(201, answer("It is new."))
        .problems(&[
            kind::UNREADABLE_BODY,
            kind::BODY_TOO_SLOW,
            kind::BODY_TOO_LARGE,
            kind::NOT_WASM,
            kind::ENCODED_BODY,
        ])
        .problems(&[kind::INVALID_PLUGIN_NAME, kind::PLUGIN_REJECTED])
        .problems(&kind::OF_UPLOAD)
        .problems(&kind::OF_STORE)
}

pub(crate) fn about_delete() -> Operation {
    Operation::delete("/plugins/{name}", "deletePlugin", "Remove a plugin")
        .detail(
            "Does what removing the file does; running tasks keep what they began with. Only with \
             `--allow-upload`.",
        )
        .answers(204, Answer::empty("It is out of service."))
        .problems(&[kind::UNKNOWN_PLUGIN, kind::BUILT_IN_PLUGIN])
        .problems(&kind::OF_UPLOAD)
}
