//! What a form says of a task request: of a task, and of the task of a schedule.

use axum::http::StatusCode;
use wasmill_ui::problem::FieldError as Wrong;
use wasmill_ui::record::Plugin;
use wasmill_ui::submit::Request;

use crate::problem::Problem;
use crate::problem::field_errors::FieldError;
use crate::ui::form::Form;
use crate::ui::page::View;
use crate::ui::rest::encoded;

/// The plugins that a form can choose.
pub(crate) struct Plugins(Vec<Plugin>);

impl Plugins {
    /// Gets them.
    pub(crate) async fn get(view: &View) -> Result<Self, Problem> {
        Ok(Self(view.rest.get("/plugins").await?))
    }

    /// Returns the names of those that can run.
    pub(crate) fn names(&self) -> Vec<String> {
        let ready = self.0.iter().filter(|plugin| plugin.kind.is_some());
        let mut names: Vec<_> = ready.map(|plugin| plugin.name.clone()).collect();
        names.dedup();
        names
    }

    /// Gets the schema of a plugin, as its file has it; `None` without one.
    pub(crate) async fn schema(&self, view: &View, name: &str) -> Result<Option<String>, Problem> {
        if !self.0.iter().any(|plugin| plugin.name == name && plugin.has_schema) {
            return Ok(None);
        }
        let path = format!("/plugins/{}/schema", encoded(name));
        match view.rest.bytes(axum::http::Method::GET, &path, None, None).await {
            Ok(schema) => Ok(Some(String::from_utf8_lossy(&schema).into_owned())),
            // It may have gone a moment ago, or be compiled again.
            Err(problem) if !matches!(problem.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    /// Adds what a new request begins with: a plugin, and its schema.
    pub(crate) async fn complete(&self, view: &View, request: &mut Request) -> Result<(), Problem> {
        if request.plugin.is_empty() {
            request.plugin = self.names().into_iter().next().unwrap_or_default();
        }
        request.schema = self.schema(view, &request.plugin).await?;
        Ok(())
    }
}

/// What was sent, and what is to be done with it.
pub(crate) struct Sent {
    pub(crate) request: Request,
    /// `None` if the form is only shown in another way.
    pub(crate) json: Option<Result<String, Wrong>>,
}

/// Reads what was sent of a form.
pub(crate) async fn read(view: &View, plugins: &Plugins, form: &Form) -> Result<Sent, Problem> {
    let plugin = form.get("plugin").unwrap_or_default();
    let laid_out = form.get("laid-out").unwrap_or(plugin);
    let schema = plugins.schema(view, laid_out).await?;
    let mut pairs: Vec<_> = form.iter().collect();
    pairs.push(("laid-out", laid_out));
    let (mut request, read) = Request::of_form(&pairs, schema);
    if let Err(Wrong { pointer, detail, .. }) = read {
        // What cannot be read cannot be shown in another way either.
        let pointer = Some(format!("/input{}", pointer.unwrap_or_default()));
        let json = Some(Err(Wrong { pointer, detail, ..Wrong::default() }));
        return Ok(Sent { request, json });
    }
    // Somebody may choose another plugin and send the form of the one before.
    if plugin != laid_out {
        let schema = plugins.schema(view, plugin).await?;
        request.change_plugin(plugin, schema);
        return Ok(Sent { request, json: None });
    }
    let json = match form.get("view") {
        Some(wanted) => {
            if wanted != "plugin" {
                request.show_as(wanted == "json");
            }
            None
        }
        None => Some(request.to_json()),
    };
    Ok(Sent { request, json })
}

/// Returns the problem of what a form cannot read; `under` is where the task is in the request.
pub(crate) fn problem(wrong: Wrong, under: &str) -> Problem {
    let pointer = format!("{under}{}", wrong.pointer.unwrap_or_default());
    Problem::invalid_request(FieldError::at(pointer, wrong.detail))
}
