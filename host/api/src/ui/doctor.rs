//! `GET /ui/doctor`: the checks of the server.

use axum::response::Response;
use wasmill_ui::doctor::page;

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::ui::page::{View, spec as page_spec};

pub(crate) fn spec() -> Operation {
    page_spec("/ui/doctor").parameter("deep")
}

pub(crate) async fn doctor(view: View) -> Result<Response, Problem> {
    let is_deep = view.param("deep") == Some("true");
    let report = view.rest.get(&format!("/doctor?deep={is_deep}")).await?;
    Ok(view.show(None, &view.site().await, &page(&report)))
}
