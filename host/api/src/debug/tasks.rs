//! `GET /debug/tasks`: all runs and what their guests are doing, as text or JSON.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use wasmill_model::PluginName;

use super::dump::Dump;
use super::state::DebugState;
use crate::http::params::{Params, whole_number};
use crate::openapi::Param;
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::task::request::filter;
use crate::view::activity::{RunView, STATES};

/// Default number of tasks.
const LIMIT: usize = 1_000;
/// Maximum number of tasks.
const LIMIT_MAX: usize = 1_000_000;

/// Which tasks to show, and in which format.
struct TaskSelection {
    json: bool,
    state: Option<&'static str>,
    plugin: Option<PluginName>,
    limit: usize,
}

pub(super) async fn tasks(
    State(debug): State<DebugState>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let selection = check(query.0.as_deref(), &headers)?;
    let dump = dump(&debug, &selection);
    Ok(if selection.json { Json(dump).into_response() } else { dump.to_string().into_response() })
}

/// Joins the runs of the scheduler with the instances of the runtime, oldest first.
fn dump(debug: &DebugState, selection: &TaskSelection) -> Dump {
    // Read one after the other: a run that ends in between has no instance any more, one that starts has none
    // yet.
    let runs = debug.scheduler.runs();
    let instances = debug.runtime.instances();
    let mut of_task: HashMap<_, _> =
        instances.into_iter().map(|instance| ((instance.task, instance.attempt), instance)).collect();
    let now = debug.clock.now();
    let slots = debug.scheduler.slots();
    let mut tasks: Vec<_> = runs
        .into_iter()
        .map(|run| {
            let instance = of_task.remove(&(run.task, run.attempt));
            RunView::new(&run, instance, now)
        })
        .filter(|task| selection.state.is_none_or(|state| task.state == state))
        .filter(|task| selection.plugin.as_ref().is_none_or(|plugin| task.plugin == plugin.as_str()))
        .collect();
    tasks.sort_by(|a, b| b.age_ms.cmp(&a.age_ms).then(a.task.cmp(&b.task)));
    let found = tasks.len();
    tasks.truncate(selection.limit);
    Dump::new(now, slots, found, tasks)
}

fn check(query: Option<&str>, headers: &HeaderMap) -> Result<TaskSelection, Problem> {
    let known = ["format", "state", "plugin", "limit"].map(Param::single);
    let params = Params::read(query, &known).map_err(Problem::invalid_request)?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut selection =
        TaskSelection { json: accept.contains("application/json"), state: None, plugin: None, limit: LIMIT };
    let mut errors = FieldErrors::default();
    for (name, value) in params.iter() {
        if let Err(detail) = selection.take(name, value) {
            errors.push(FieldError::parameter(name, detail));
        }
    }
    Problem::reject_errors(errors, selection)
}

impl TaskSelection {
    /// Parses one parameter.
    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let must = |what: &str| format!("{name} must be {what}");
        match name {
            "format" => {
                self.json = match value {
                    "json" => true,
                    "text" => false,
                    _ => return Err(must("text or json")),
                }
            }
            "state" => {
                let known = STATES.into_iter().find(|state| *state == value);
                self.state = Some(known.ok_or_else(|| must(&format!("one of {}", STATES.join(", "))))?);
            }
            "plugin" => self.plugin = Some(value.parse().map_err(|_| must(filter::PLUGIN_NAME))?),
            _ => {
                let limit = whole_number(value).and_then(|limit| usize::try_from(limit).ok());
                let limit = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit));
                self.limit = limit.ok_or_else(|| must(&format!("an integer from 1 to {LIMIT_MAX}")))?;
            }
        }
        Ok(())
    }
}
