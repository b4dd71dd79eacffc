//! `GET /stats/history`: what happened in each of the last steps, as columns.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::PluginName;

use super::plugin_track::{PluginSample, SAMPLES_MAX};
use super::rings::Step;
use super::sample::{Quantiles, Sample};
use crate::http::params::{Params, whole_number};
use crate::openapi::schema::{NameSchema, plain};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::state::Api;
use crate::task::request::filter;
use crate::view::time::Rfc3339;

/// Samples in a response unless it asks for another number, and the maximum.
const LIMIT_DEFAULT: usize = 300;
const LIMIT_MAX: usize = 3_600;

/// The last steps as columns: all arrays of a response have the same length, oldest step first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StatsHistory")]
struct HistoryView {
    /// Length of a step: `1s`, `10s` or `60s`.
    #[schemars(extend("enum" = ["1s", "10s", "60s"]))]
    step: &'static str,
    /// Start of the server, before which there are no samples.
    since: Rfc3339,
    /// The plugin whose tasks these are; `null` for all.
    #[schemars(with = "Option<NameSchema>")]
    plugin: Option<PluginName>,
    /// End of each step in milliseconds since 1970.
    at_ms: Vec<i64>,
    /// Real length of each step, which a busy machine extends.
    seconds: Vec<f32>,
    /// Tasks that completed in the step, on all hosts.
    completed: Vec<u32>,
    /// Tasks that failed in the step, on all hosts.
    failed: Vec<u32>,
    /// Tasks that were cancelled in the step, on all hosts.
    cancelled: Vec<u32>,
    /// Waiting tasks at the end of the step, whatever they wait for.
    waiting: Vec<u32>,
    /// Running tasks at the end of the step, on all hosts.
    running: Vec<u32>,
    /// Median of the run time of attempts that ended on this host; `null` if none did.
    run_p50_ms: Vec<Option<f32>>,
    /// 99th percentile of the same.
    run_p99_ms: Vec<Option<f32>>,
    /// Columns that exist for the whole server only; `null` for a plugin.
    server: Option<ServerColumnsView>,
}

/// Columns of the whole server.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "ServerHistory")]
struct ServerColumnsView {
    /// Tasks accepted in the step, on all hosts, less those deleted before they finished.
    accepted: Vec<u32>,
    blocked: Vec<u32>,
    scheduled: Vec<u32>,
    suspended: Vec<u32>,
    available: Vec<u32>,
    /// Slots of this host in use.
    slots_used: Vec<u32>,
    /// Memory of the running tasks of this host, in KiB.
    memory_kib: Vec<u32>,
    /// Median of the time from ready to started, on this host.
    start_p50_ms: Vec<Option<f32>>,
    start_p99_ms: Vec<Option<f32>>,
    /// 99th percentile of durable commits of this host.
    commit_p99_ms: Vec<Option<f32>>,
    /// Webhook deliveries that this host gave up in the step.
    webhooks_given_up: Vec<u32>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct HistoryParams {
    step: Option<Step>,
    plugin: Option<PluginName>,
    limit: usize,
}

pub(crate) async fn history(State(api): State<Api>, params: Params) -> Result<impl IntoResponse, Problem> {
    let HistoryParams { step, plugin, limit } = check(&params)?;
    let samples = api.history.samples();
    let mut view = HistoryView::empty(Rfc3339(samples.since), plugin);
    match &view.plugin {
        Some(plugin) => {
            view.step = Step::TenSeconds.as_str();
            let track = samples.plugin(plugin);
            let newest: Vec<_> = track.into_iter().flat_map(|track| track.samples.newest(limit)).collect();
            newest.into_iter().for_each(|sample| view.push(&PluginColumns::from(sample)));
        }
        None => {
            let step = step.unwrap_or_default();
            view.step = step.as_str();
            let mut server = ServerColumnsView::default();
            for sample in samples.track(step).samples.newest(limit) {
                view.push(&PluginColumns::from(sample));
                server.push(sample);
            }
            view.server = Some(server);
        }
    }
    drop(samples);
    Ok(Json(view))
}

/// What the samples of a plugin and those of the server have in common.
struct PluginColumns(PluginSample);

impl From<&PluginSample> for PluginColumns {
    fn from(sample: &PluginSample) -> Self {
        Self(*sample)
    }
}

impl From<&Sample> for PluginColumns {
    fn from(sample: &Sample) -> Self {
        let Sample { at_ms, seconds, completed, failed, cancelled, running, run, .. } = *sample;
        let waiting = [sample.scheduled, sample.suspended, sample.available];
        let waiting = waiting.into_iter().fold(sample.blocked, u32::saturating_add);
        Self(PluginSample { at_ms, seconds, completed, failed, cancelled, waiting, running, run })
    }
}

impl HistoryView {
    fn empty(since: Rfc3339, plugin: Option<PluginName>) -> Self {
        Self {
            step: Step::Second.as_str(),
            since,
            plugin,
            at_ms: Vec::new(),
            seconds: Vec::new(),
            completed: Vec::new(),
            failed: Vec::new(),
            cancelled: Vec::new(),
            waiting: Vec::new(),
            running: Vec::new(),
            run_p50_ms: Vec::new(),
            run_p99_ms: Vec::new(),
            server: None,
        }
    }

    fn push(&mut self, PluginColumns(sample): &PluginColumns) {
        let Quantiles { p50, p99 } = sample.run;
        self.at_ms.push(sample.at_ms);
        self.seconds.push(sample.seconds);
        self.completed.push(sample.completed);
        self.failed.push(sample.failed);
        self.cancelled.push(sample.cancelled);
        self.waiting.push(sample.waiting);
        self.running.push(sample.running);
        self.run_p50_ms.push(p50);
        self.run_p99_ms.push(p99);
    }
}

impl ServerColumnsView {
    fn push(&mut self, sample: &Sample) {
        self.accepted.push(sample.accepted);
        self.blocked.push(sample.blocked);
        self.scheduled.push(sample.scheduled);
        self.suspended.push(sample.suspended);
        self.available.push(sample.available);
        self.slots_used.push(sample.slots_used);
        self.memory_kib.push(sample.memory_kib);
        self.start_p50_ms.push(sample.start.p50);
        self.start_p99_ms.push(sample.start.p99);
        self.commit_p99_ms.push(sample.commit.p99);
        self.webhooks_given_up.push(sample.webhooks_given_up);
    }
}

fn check(params: &Params) -> Result<HistoryParams, Problem> {
    let mut read = HistoryParams { limit: LIMIT_DEFAULT, ..HistoryParams::default() };
    let mut errors = FieldErrors::default();
    for (name, value) in params.iter() {
        let taken = match name {
            "step" => {
                read.step = Step::ALL.into_iter().find(|step| step.as_str() == value);
                read.step.map(drop).ok_or("1s, 10s or 60s".to_owned())
            }
            "plugin" => {
                read.plugin = value.parse().ok();
                read.plugin.as_ref().map(drop).ok_or(filter::PLUGIN_NAME.to_owned())
            }
            _ => match whole_number(value).and_then(|limit| usize::try_from(limit).ok()) {
                Some(limit) if (1..=LIMIT_MAX).contains(&limit) => {
                    read.limit = limit;
                    Ok(())
                }
                _ => Err(format!("an integer from 1 to {LIMIT_MAX}")),
            },
        };
        if let Err(expected) = taken {
            errors.push(FieldError::parameter(name, format!("{name} must be {expected}")));
        }
    }
    if read.plugin.is_some() && read.step.is_some_and(|step| step != Step::TenSeconds) {
        let detail = "step must be 10s or missing for a plugin, which has no other samples";
        errors.push(FieldError::parameter("step", detail));
    }
    Problem::reject_errors(errors, read)
}

pub(crate) fn spec() -> Operation {
    let step = json!({"type": "string", "enum": Step::ALL.map(Step::as_str), "default": "1s"});
    let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT});
    let one = |value: f64| json!([value]);
    let example = json!({
        "step": "1s", "since": "2026-11-23T07:26:49.603656725Z", "plugin": null, "at_ms": [1_795_418_810_604_i64],
        "seconds": one(1.0), "completed": [412], "failed": [3], "cancelled": [0], "waiting": [41_207], "running": [873],
        "run_p50_ms": one(0.3), "run_p99_ms": [null],
        "server": {
            "accepted": [420], "blocked": [0], "scheduled": [0], "suspended": [0], "available": [41_207],
            "slots_used": [873], "memory_kib": [97_280], "start_p50_ms": one(0.4), "start_p99_ms": one(1.7),
            "commit_p99_ms": one(4.5), "webhooks_given_up": [0],
        },
    });
    let detail = format!(
        "A step of `1s` is kept for an hour, one of `10s` for six hours and one of `60s` for a day, in memory only. With \
         `plugin` the step is `10s`, kept for an hour ({SAMPLES_MAX} samples) of up to 64 plugins that were busy last; the \
         columns of a plugin without samples are empty."
    );
    Operation::get("/stats/history", "getStatsHistory", "Get the statistics of the last day")
        .detail(detail)
        .query("step", "Length of a step.", &step)
        .query("plugin", "Only the tasks of this plugin.", &plain::<NameSchema>())
        .query("limit", "Maximum number of steps, the newest.", &limit)
        .responds(200, ResponseSpec::json::<HistoryView>("The newest steps.", example))
}
