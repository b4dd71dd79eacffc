//! `PUT /plugins/{name}` and `DELETE /plugins/{name}`: add, replace or remove a plugin file.
//!
//! Disabled unless the server allows uploads. A rejected file never replaces a plugin.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmill_access::{AuditDetails, Identity};
use wasmill_model::{InvalidPluginName, PluginName};
use wasmill_runtime::{PluginInfo, RemoveOutcome, Runtime, UploadError, UploadOutcome, UploadPreview};

use crate::http::authorize::Sender;
use crate::http::body::{UPLOAD_MAX, UPLOAD_TIMEOUT, read_wasm};
use crate::http::params::{Params, flag};
use crate::http::signature;
use crate::http::upload_limits::{UploadPermits, uploads_disabled};
use crate::openapi::{Operation, ResponseSpec};
use crate::plugin::list::view_all;
use crate::plugin::lookup::unknown_plugin;
use crate::problem::Problem;
use crate::problem::field_errors::{FieldErrors, truncated_quote};
use crate::problem::kind;
use crate::state::Api;
use crate::view::plugin_changes::{self, ChangesView, UploadedView};

/// Acquires a permit that moves into the blocking work: a client that hangs up releases only work that has
/// not started, so no more runs than there are permits.
async fn permit(permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(permits).acquire_owned().await.map_err(|_| uploads_disabled())
}

/// Responds 201 with a new plugin, 200 with a replaced one and in a dry run.
pub(crate) async fn put(
    State(api): State<Api>,
    Path(name): Path<String>,
    params: Params,
    Sender(sender): Sender,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let (permits, name) = check_request(&api, &name)?;
    let dry_run = check(&params)?;
    let signature = signature::read(&headers)?;
    let received = permit(&permits.received).await?;
    let bytes = read_wasm(&api.config.body, &headers, body, UPLOAD_MAX, UPLOAD_TIMEOUT).await?;
    // Acquired after the body, so that slow senders do not block others.
    let loaded = permit(&permits.loaded).await?;
    let permits = (received, loaded);
    if dry_run {
        let work = move |runtime: &Runtime| runtime.preview_upload(&name, &bytes, signature.as_deref());
        let UploadPreview { mut info, in_service, is_new } = change(&api, permits, work).await?;
        info.in_service = in_service.as_ref().map(|before| before.digest.clone());
        let changes = ChangesView::new(is_new, in_service.as_ref(), info.details.as_deref());
        let audited = Extension(AuditDetails::default());
        return Ok((StatusCode::OK, audited, Json(view(&api, &sender, info, true, changes).await?)));
    }
    let plugin = name.clone();
    let work = move |runtime: &Runtime| runtime.upload(&name, &bytes, signature.as_deref());
    let UploadOutcome { info, replaced, is_new } = change(&api, permits, work).await?;
    // The other hosts know of it once this is answered.
    api.sharing.look(Some(&plugin)).await?;
    // Tasks may be waiting for it.
    api.scheduler.wake();
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let changes = ChangesView::new(is_new, replaced.as_ref(), info.details.as_deref());
    let audited = Extension(AuditDetails {
        digest_before: replaced.map(|before| before.digest),
        digest_after: info.digest.clone(),
        ..AuditDetails::default()
    });
    Ok((status, audited, Json(view(&api, &sender, info, false, changes).await?)))
}

/// Parses the parameters: whether it is a dry run.
fn check(params: &Params) -> Result<bool, Problem> {
    let (mut dry_run, mut errors) = (false, FieldErrors::default());
    for (name, value) in params.iter() {
        flag(&mut dry_run, name, value, &mut errors);
    }
    Problem::reject_errors(errors, dry_run)
}

async fn view(
    api: &Api,
    sender: &Identity,
    info: PluginInfo,
    dry_run: bool,
    changes: ChangesView,
) -> Result<Option<UploadedView>, Problem> {
    let plugin = view_all(api, sender.reach(), vec![info]).await?.pop();
    Ok(plugin.map(|plugin| UploadedView { plugin, dry_run, changes }))
}

fn check_request<'a>(api: &'a Api, name: &str) -> Result<(&'a UploadPermits, PluginName), Problem> {
    let permits = api.upload_limits.permits()?;
    let name = name.parse().map_err(|error| invalid_plugin_name(name, error))?;
    Ok((permits, name))
}

pub(crate) async fn delete(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let permits = api.upload_limits.permits()?;
    let plugin: PluginName = name.parse().map_err(|_| unknown_plugin(&name))?;
    let permit = permit(&permits.removed).await?;
    let shared = plugin.clone();
    let digest_before = api.runtime.in_service(&plugin).map(|before| before.digest);
    let removed = change(&api, permit, move |runtime| runtime.remove(&plugin)).await?;
    let was_shared = api.sharing.remove(&shared).await?;
    // A built-in plugin of this name may run now.
    let digest_after = api.runtime.in_service(&shared).map(|after| after.digest);
    let audited = Extension(AuditDetails { digest_before, digest_after, ..AuditDetails::default() });
    match removed {
        _ if was_shared => Ok((StatusCode::NO_CONTENT, audited)),
        RemoveOutcome::Removed => Ok((StatusCode::NO_CONTENT, audited)),
        RemoveOutcome::NotFound => Err(unknown_plugin(&name)),
        RemoveOutcome::BuiltIn => Err(built_in_plugin(&name)),
    }
}

/// Changes the plugins folder on a blocking thread. It completes even if the client hangs up, and holds its
/// permit until then.
async fn change<T: Send + 'static>(
    api: &Api,
    permit: impl Send + 'static,
    change: impl FnOnce(&Runtime) -> Result<T, UploadError> + Send + 'static,
) -> Result<T, Problem> {
    let runtime = api.runtime.clone();
    let work = move || {
        let _permit = permit;
        change(&runtime)
    };
    let changed = tokio::task::spawn_blocking(work).await;
    Ok(changed.map_err(|_| Problem::internal_error("changing a plugin panicked"))??)
}

pub(crate) fn put_spec() -> Operation {
    let answer = |description| ResponseSpec::json::<UploadedView>(description, plugin_changes::example());
    let flag = json!({"type": "boolean", "default": false});
    let operation = Operation::put("/plugins/{name}", "putPlugin", "Add or replace a plugin")
        .detail(
            "Same effect as putting the file into the plugins folder. A rejected file replaces nothing. If \
             its manifest grants permissions (`http`, `tcp`, `env`, `dirs`, `scratch`, `secrets`), the manifest's `sha256` must be the \
             digest of this file, unless the file is unchanged. Requires `--allow-upload`. `changes` compares it with \
             the version that ran tasks before. With `--plugin-trust listed` or `signed`, a file that is not trusted is \
             refused as one that is no plugin.",
        )
        .query("dry_run", "Compile and check the file, and say what would change; take nothing.", &flag)
        .wasm_body("The plugin file, at most 128 MiB.");
    signature::add_header(operation)
        .responds(200, answer("The plugin was replaced, or it is a dry run."))
        .responds(201, answer("The plugin was added."))
        .problems(&[
            kind::UNREADABLE_BODY,
            kind::BODY_TOO_SLOW,
            kind::BODY_TOO_LARGE,
            kind::NOT_WASM,
            kind::ENCODED_BODY,
        ])
        .problems(&[kind::INVALID_PLUGIN_NAME, kind::PLUGIN_REJECTED, kind::PLUGIN_NOT_PINNED])
        .problems(&[kind::TOO_MANY_PLUGINS, kind::FOLDER_IN_THE_WAY])
        .problems(&kind::PLUGIN_CHANGE)
        .problems(&kind::STORE_ACCESS)
}

pub(crate) fn delete_spec() -> Operation {
    Operation::delete("/plugins/{name}", "deletePlugin", "Remove a plugin")
        .detail(
            "Same effect as removing the file from the plugins folder. Its manifest stays, and running tasks \
             keep their version. Requires `--allow-upload`.",
        )
        .responds(204, ResponseSpec::empty("The plugin was removed."))
        .problems(&[kind::UNKNOWN_PLUGIN, kind::BUILT_IN_PLUGIN, kind::FOLDER_IN_THE_WAY])
        .problems(&kind::PLUGIN_CHANGE)
}

fn built_in_plugin(name: &str) -> Problem {
    let detail = format!("plugin '{name}' is built into the server and has no file to delete");
    Problem::of(kind::BUILT_IN_PLUGIN, detail)
}

fn invalid_plugin_name(name: &str, error: InvalidPluginName) -> Problem {
    let detail = format!("'{}' is not a plugin name: {error}", truncated_quote(name));
    Problem::of(kind::INVALID_PLUGIN_NAME, detail)
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Rejected(reason) => Self::of(kind::PLUGIN_REJECTED, reason),
            UploadError::Unpinned { .. } => Self::of(kind::PLUGIN_NOT_PINNED, error.to_string()),
            UploadError::FolderInTheWay { .. } => Self::of(kind::FOLDER_IN_THE_WAY, error.to_string()),
            UploadError::TooMany => Self::of(kind::TOO_MANY_PLUGINS, error.to_string()),
            UploadError::Stopping => Self::draining(),
            UploadError::NoFolder | UploadError::Folder { .. } => {
                tracing::warn!(%error, "failed to change the plugins folder");
                let detail = format!("{error}; the server needs a writable plugins folder");
                Self::of(kind::PLUGINS_FOLDER_UNAVAILABLE, detail)
            }
        }
    }
}
