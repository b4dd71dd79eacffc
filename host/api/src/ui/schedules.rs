//! `GET /ui/schedules`: the schedules, with the newest runs of each.

pub(crate) mod form;

use std::collections::BTreeMap;

use axum::response::Response;
use futures_util::future::try_join_all;
use wasmill_ui::record::{Schedule, Task};
use wasmill_ui::schedules::{Schedules, page};

use crate::openapi::Operation;
use crate::problem::Problem;
use crate::ui::page::{View, spec as page_spec};
use crate::ui::rest::encoded;

/// Schedules whose tasks are shown, and how many of each: what a page costs does not grow with the schedules.
const WITH_TASKS: usize = 50;
const TASKS: usize = 20;

pub(crate) fn spec() -> Operation {
    page_spec("/ui/schedules")
}

pub(crate) async fn schedules(view: View) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let (schedules, tasks) = with_tasks(&view).await?;
    let shown = Schedules { schedules, tasks };
    let site = view.site().await;
    Ok(view.show(turn, &site, &page(&site, &shown)))
}

/// Gets the schedules, and the newest tasks of the first of them.
async fn with_tasks(view: &View) -> Result<(Vec<Schedule>, BTreeMap<String, Vec<Task>>), Problem> {
    let schedules: Vec<Schedule> = view.rest.get("/schedules").await?;
    let tasks = schedules.iter().take(WITH_TASKS).map(async |schedule| {
        let path = format!("/task?schedule={}&limit={TASKS}", encoded(&schedule.name));
        Ok::<_, Problem>((schedule.name.clone(), view.rest.get(&path).await?))
    });
    let tasks = try_join_all(tasks).await?.into_iter().collect();
    Ok((schedules, tasks))
}
