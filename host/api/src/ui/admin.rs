//! `GET /ui/doctor` and `GET /ui/keys`: the checks of the server, and who may use it.

use axum::response::Response;
use wasmill_ui::record::Key;
use wasmill_ui::{doctor, keys};

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::ui::page::{View, spec as page_spec};

pub(crate) fn doctor_spec() -> Operation {
    page_spec("/ui/doctor").parameter("deep")
}

pub(crate) async fn doctor(view: View) -> Result<Response, Problem> {
    let is_deep = view.param("deep") == Some("true");
    let report = view.rest.get(&format!("/doctor?deep={is_deep}")).await?;
    Ok(view.show(None, &view.site().await, &doctor::page(&report)))
}

pub(crate) async fn keys(view: View) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let keys: Vec<Key> = view.rest.get("/keys").await?;
    Ok(view.show(turn, &view.site().await, &keys::page(&keys)))
}
