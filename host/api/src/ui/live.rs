//! `GET /ui/live` and `GET /ui/hosts`: what happens now, and where.

use axum::response::Response;
use wasmill_ui::record::Plugin;
use wasmill_ui::{hosts, live};

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::ui::page::{View, spec as page_spec};

pub(crate) fn spec() -> Operation {
    page_spec("/ui/live").parameter("plugin")
}

pub(crate) async fn events(view: View) -> Result<Response, Problem> {
    let plugins: Vec<Plugin> = view.rest.get("/plugins").await?;
    let names: Vec<_> = plugins.into_iter().map(|plugin| plugin.name).collect();
    Ok(view.show(None, &view.site().await, &live::page(&names, view.param("plugin"))))
}

pub(crate) async fn hosts(view: View) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let hosts: Vec<_> = view.rest.get("/hosts").await?;
    Ok(view.show(turn, &view.site().await, &hosts::page(&hosts)))
}
