//! `GET /debug/tasks`: every run with a slot and where its guest is, as text for people or as JSON.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use wasmill_model::PluginName;

use crate::debug::Debug;
use crate::debug::dump::{Dump, STATES, TaskDump};
use crate::faults::{Fault, Faults};
use crate::filter;
use crate::params::{Param, Params, whole_number};
use crate::problem::Problem;

/// How many tasks are shown unless asked otherwise.
const LIMIT: usize = 1_000;
/// How many are shown at most.
const LIMIT_MAX: usize = 1_000_000;

/// Which tasks are shown, and how.
struct Asked {
    json: bool,
    state: Option<&'static str>,
    plugin: Option<PluginName>,
    limit: usize,
}

pub(super) async fn tasks(
    State(debug): State<Debug>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = check(query.0.as_deref(), &headers)?;
    let dump = dump(&debug, &asked);
    Ok(if asked.json { Json(dump).into_response() } else { dump.to_string().into_response() })
}

/// Brings together what the scheduler and the runtime know, oldest first.
fn dump(debug: &Debug, asked: &Asked) -> Dump {
    // Whoever ends between the two looks is left out, and whoever began has no instance yet.
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
            TaskDump::new(&run, instance, now)
        })
        .filter(|task| asked.state.is_none_or(|state| task.state == state))
        .filter(|task| asked.plugin.as_ref().is_none_or(|plugin| task.plugin == plugin.as_str()))
        .collect();
    tasks.sort_by(|a, b| b.age_ms.cmp(&a.age_ms).then(a.task.cmp(&b.task)));
    let found = tasks.len();
    tasks.truncate(asked.limit);
    Dump::new(now, slots, found, tasks)
}

fn check(query: Option<&str>, headers: &HeaderMap) -> Result<Asked, Problem> {
    let known = ["format", "state", "plugin", "limit"].map(Param::single);
    let params = Params::read(query, &known).map_err(Problem::invalid_request)?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut asked =
        Asked { json: accept.contains("application/json"), state: None, plugin: None, limit: LIMIT };
    let mut faults = Faults::default();
    for (name, value) in params.iter() {
        if let Err(detail) = asked.take(name, value) {
            faults.push(Fault::parameter(name, detail));
        }
    }
    Problem::unless(faults, asked)
}

impl Asked {
    /// Takes in one parameter, or says what is wrong with it.
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
                self.limit = limit.ok_or_else(|| must(&format!("a whole number from 1 to {LIMIT_MAX}")))?;
            }
        }
        Ok(())
    }
}
