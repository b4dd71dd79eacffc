//! `GET /ui/`: the overview.

use axum::response::Response;
use wasmill_ui::overview::{Overview, SPANS, page};

use crate::http::browser::redirect;
use crate::problem::Problem;
use crate::ui::page::View;

pub(crate) async fn overview(view: View) -> Result<Response, Problem> {
    if view.is_bounded() {
        // The numbers of the server are not for those who reach a part of it.
        return Ok(redirect("tasks"));
    }
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let rest = &view.rest;
    let span = SPANS.iter().find(|(name, ..)| view.param("span") == Some(*name)).unwrap_or(&SPANS[0]);
    let (span, _, step, limit) = span;
    let overview = Overview {
        stats: rest.get("/stats").await?,
        attention: rest.get("/attention").await?,
        history: rest.get(&format!("/stats/history?step={step}&limit={limit}")).await?,
        span: (*span).to_owned(),
        plugins: rest.get("/plugins").await?,
        running: rest.get("/task?state=running&limit=10").await?,
        failed: rest.get("/task?state=failed&limit=8").await?,
    };
    let site = view.site().await;
    Ok(view.show(turn, &site, &page(&site, &overview)))
}
