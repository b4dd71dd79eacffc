//! `POST /task/cancel`: stop all tasks that fit a filter and keep their records.
//!
//! It answers only after every guest is gone and its slot is free.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use serde::Serialize;
use wasmill_model::TaskState;
use wasmill_store::Filter;

use crate::app::Api;
use crate::body::read_json;
use crate::cancel::take_grace;
use crate::filter;
use crate::problem::{Fault, Problem};

#[derive(Serialize)]
struct Answer {
    /// How many were cancelled; of a dry run, how many would be.
    cancelled: u64,
    dry_run: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    filter: Filter,
    dry_run: bool,
    grace: Duration,
}

pub(crate) async fn cancel_many(
    State(api): State<Api>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let body = read_json(&api.config, &headers, body).await?;
    let Wish { filter, dry_run, grace } = check(query.0.as_deref().unwrap_or_default(), &body)?;
    let cancelled = if dry_run {
        api.store.find_open(filter).await?.len() as u64
    } else {
        api.scheduler.cancel_many(filter, grace).await?
    };
    Ok(Json(Answer { cancelled, dry_run }))
}

fn check(query: &str, body: &[u8]) -> Result<Wish, Problem> {
    let (mut wish, mut all) = (Wish::default(), false);
    let mut faults = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "all" => flag(&mut all, &name, &value, &mut faults),
            "dry_run" => flag(&mut wish.dry_run, &name, &value, &mut faults),
            "grace" => take_grace(&mut wish.grace, &value, &mut faults),
            name if filter::take(&mut wish.filter, name, &value, &mut faults) => {}
            name => {
                let known = filter::NAMES;
                let detail = format!("unknown parameter '{name}'; known are {known}, all, dry_run, grace");
                faults.push(Fault::parameter(name, detail));
            }
        }
    }
    if let Some(ended) = wish.filter.states.iter().find(|state| !state.may_become(TaskState::Cancelled)) {
        let detail = format!("state must be waiting or running; no task that is {ended} can be cancelled");
        faults.push(Fault::parameter("state", detail));
    }
    if faults.is_empty() && wish.filter.is_empty() != all {
        let detail = "name which tasks, or all=true for every task that waits or runs, and not both";
        faults.push(Fault::parameter("all", detail));
    }
    // What stands in a body would be overlooked, and more be cancelled than was meant.
    if !matches!(body.trim_ascii(), b"" | b"{}") {
        faults.push(Fault { pointer: Some(String::new()), parameter: None, detail: NO_BODY.to_owned() });
    }
    if faults.is_empty() { Ok(wish) } else { Err(Problem::invalid_request(faults)) }
}

const NO_BODY: &str = "the body must be empty; which tasks are meant is said in the query";

fn flag(flag: &mut bool, name: &str, value: &str, faults: &mut Vec<Fault>) {
    match value {
        "true" => *flag = true,
        "false" => *flag = false,
        _ => faults.push(Fault::parameter(name, format!("{name} must be true or false"))),
    }
}
