//! `GET /ui/`: the overview.

use std::collections::BTreeMap;

use axum::response::Response;
use futures_util::future::try_join_all;
use wasmill_ui::overview::{Overview, SPANS, page};
use wasmill_ui::record::{History, Plugin};

use crate::http::browser::redirect;
use crate::problem::Problem;
use crate::ui::page::View;
use crate::ui::rest::{Rest, encoded};

/// Plugins whose history is shown, and the samples of ten seconds of each.
const BUSIEST: usize = 20;
const SAMPLES: usize = 60;

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
    let plugins: Vec<Plugin> = rest.get("/plugins").await?;
    let plugin_history = busiest(rest, &plugins).await?;
    let overview = Overview {
        stats: rest.get("/stats").await?,
        attention: rest.get("/attention").await?,
        history: rest.get(&format!("/stats/history?step={step}&limit={limit}")).await?,
        span: (*span).to_owned(),
        plugins,
        plugin_history,
        running: rest.get("/task?state=running&limit=10").await?,
        failed: rest.get("/task?state=failed&limit=8").await?,
    };
    let site = view.site().await;
    Ok(view.show(turn, &site, &page(&site, &overview)))
}

/// Gets the history of the plugins with the most tasks.
async fn busiest(rest: &Rest, plugins: &[Plugin]) -> Result<BTreeMap<String, History>, Problem> {
    let tasks = |plugin: &Plugin| {
        let tasks = plugin.tasks.unwrap_or_default();
        tasks.running + tasks.waiting + tasks.completed + tasks.failed + tasks.cancelled
    };
    let mut busy: Vec<_> = plugins.iter().filter(|plugin| tasks(plugin) > 0).collect();
    busy.sort_by_key(|plugin| std::cmp::Reverse(tasks(plugin)));
    let histories = busy.into_iter().take(BUSIEST).map(async |plugin| {
        let path = format!("/stats/history?plugin={}&limit={SAMPLES}", encoded(&plugin.name));
        Ok::<_, Problem>((plugin.name.clone(), rest.get(&path).await?))
    });
    Ok(try_join_all(histories).await?.into_iter().collect())
}
