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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmill_model::PluginName;
use wasmill_runtime::{Removed, Runtime, UploadError};

use crate::app::Api;
use crate::body::{BodyMax, read_wasm};
use crate::openapi::{Answer, Operation};
use crate::plugins::{self, PluginView, view_all};
use crate::problem::Problem;
use crate::problem_kind as kind;

/// The largest plugin; that of the folder is the same.
const PLUGIN_MAX: BodyMax = BodyMax { bytes: 128 << 20, setting: None };

/// How long a client may take to send it.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Uploads that are received or held in memory at once; others wait with nothing read of them.
const RECEIVED_MAX: usize = 8;
/// Uploads that are checked and compiled at once.
const LOADED_MAX: usize = 2;
/// Plugins that are removed at once, which takes a moment each.
const REMOVED_MAX: usize = 2;

/// Whether plugins may be uploaded, and how many at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Uploads {
    turns: Option<Turns>,
}

#[derive(Clone, Debug)]
struct Turns {
    received: Arc<Semaphore>,
    loaded: Arc<Semaphore>,
    removed: Arc<Semaphore>,
}

impl Uploads {
    /// Allows uploads or not.
    pub fn new(allowed: bool) -> Self {
        let turns = |most| Arc::new(Semaphore::new(most));
        Self {
            turns: allowed.then(|| Turns {
                received: turns(RECEIVED_MAX),
                loaded: turns(LOADED_MAX),
                removed: turns(REMOVED_MAX),
            }),
        }
    }

    fn turns(&self) -> Result<&Turns, Problem> {
        self.turns.as_ref().ok_or_else(Problem::uploads_are_off)
    }
}

/// Waits for a turn, which moves into the work that it is for: a client that hangs up gives back what has not
/// begun, and no more begins than there are turns.
async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(turns).acquire_owned().await.map_err(|_| Problem::uploads_are_off())
}

/// Answers 201 with the record of a new plugin, 200 with that of one that took the place of another.
pub(crate) async fn put(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (turns, name) = begin(&api, &name)?;
    let received = turn(&turns.received).await?;
    let bytes = read_wasm(&api.config, &headers, body, PLUGIN_MAX, UPLOAD_TIMEOUT).await?;
    // Only now, so that a client that sends slowly holds up nobody who has sent.
    let loaded = turn(&turns.loaded).await?;
    let work = move |runtime: &Runtime| runtime.upload(&name, &bytes);
    let uploaded = change(&api, (received, loaded), work).await?;
    // Tasks may have waited for it.
    api.scheduler.wake();
    let status = if uploaded.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let view = view_all(&api, vec![uploaded.info]).await?.pop();
    Ok((status, Json(view)))
}

fn begin<'a>(api: &'a Api, name: &str) -> Result<(&'a Turns, PluginName), Problem> {
    let turns = api.uploads.turns()?;
    let name = name.parse().map_err(|error| Problem::invalid_plugin_name(name, error))?;
    Ok((turns, name))
}

pub(crate) async fn delete(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let turns = api.uploads.turns()?;
    let plugin: PluginName = name.parse().map_err(|_| Problem::unknown_plugin(&name))?;
    let turn = turn(&turns.removed).await?;
    match change(&api, turn, move |runtime| runtime.remove(&plugin)).await? {
        Removed::Removed => Ok(StatusCode::NO_CONTENT),
        Removed::NotFound => Err(Problem::unknown_plugin(&name)),
        Removed::BuiltIn => Err(Problem::built_in_plugin(&name)),
    }
}

/// Changes the folder on a thread that may block; carried out even if the client hangs up, and its turn lasts
/// as long.
async fn change<T: Send + 'static>(
    api: &Api,
    turn: impl Send + 'static,
    change: impl FnOnce(&Runtime) -> Result<T, UploadError> + Send + 'static,
) -> Result<T, Problem> {
    let runtime = api.runtime.clone();
    let work = move || {
        let _turn = turn;
        change(&runtime)
    };
    let changed = tokio::task::spawn_blocking(work).await;
    Ok(changed.map_err(|_| Problem::internal_fault("changing a plugin panicked"))??)
}

pub(crate) fn about_put() -> Operation {
    let answer = |about| Answer::json::<PluginView>(about, plugins::example());
    Operation::put("/plugins/{name}", "putPlugin", "Add or replace a plugin")
        .detail(
            "Does what dropping the file into the folder does. A file that is no plugin replaces nothing. If the \
             manifest beside it grants anything (`http`, `env`, `dirs`), its `sha256` must name these very bytes, \
             unless they are what is there already. Only with `--allow-upload`.",
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
        .problems(&[kind::INVALID_PLUGIN_NAME, kind::PLUGIN_REJECTED, kind::PLUGIN_NOT_PINNED])
        .problems(&[kind::TOO_MANY_PLUGINS, kind::FOLDER_IN_THE_WAY])
        .problems(&kind::OF_UPLOAD)
        .problems(&kind::OF_STORE)
}

pub(crate) fn about_delete() -> Operation {
    Operation::delete("/plugins/{name}", "deletePlugin", "Remove a plugin")
        .detail(
            "Does what removing the file does; its manifest stays, and running tasks keep what they began with. \
             Only with `--allow-upload`.",
        )
        .answers(204, Answer::empty("It is out of service."))
        .problems(&[kind::UNKNOWN_PLUGIN, kind::BUILT_IN_PLUGIN, kind::FOLDER_IN_THE_WAY])
        .problems(&kind::OF_UPLOAD)
}
