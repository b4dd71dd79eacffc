//! Schedules and their next runs.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_access::{Identity, Scope};
use wasmill_model::{PluginName, TaskId};
use wasmill_store::{LastRun, Schedule};

use super::time::Rfc3339;
use crate::openapi::schema::{AnyJson, IdSchema, NameSchema, ScheduleNameSchema, TimeSchema};

const NEXT_RUNS: usize = 5;

/// JSON view of a schedule.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Schedule")]
pub(crate) struct ScheduleView {
    /// To a key without a reach, that of a key with one begins with 32 hexadecimal digits and a colon.
    #[schemars(with = "ScheduleNameSchema")]
    name: String,
    /// Who manages it: `rest` for a client of the API, `manifest` for the plugin of this name.
    #[schemars(extend("enum" = ["rest", "manifest"]))]
    from: &'static str,
    /// The cron expression.
    cron: String,
    /// The IANA time zone of the expression.
    timezone: String,
    /// The plugin that runs.
    #[schemars(with = "NameSchema")]
    plugin: PluginName,
    /// Policy for missed runs.
    #[schemars(extend("enum" = ["skip", "one", "all"]))]
    missed: &'static str,
    /// Whether a run may start while an earlier one is waiting or running.
    overlap: bool,
    /// Whether it is paused.
    paused: bool,
    /// Local times of the next runs; the first may be in the past if it could not start yet.
    #[schemars(with = "Vec<TimeSchema>", length(max = 5))]
    next_runs: Vec<String>,
    last_run: Option<LastRunView>,
    /// Number of runs started.
    runs: u64,
    /// Number of runs skipped.
    skipped: u64,
    /// Why a due run could not start.
    last_error: Option<String>,
    created_at: Rfc3339,
    /// When it was last changed.
    changed_at: Rfc3339,
}

/// The latest run of a schedule.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScheduleRun")]
struct LastRunView {
    /// When it was due; `null` if it was started manually.
    due: Option<Rfc3339>,
    /// When its task was created.
    time: Rfc3339,
    /// Its task; it may have been deleted.
    #[schemars(with = "IdSchema")]
    task: TaskId,
}

/// A schedule with its task request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScheduleWithTask")]
pub(crate) struct ScheduleDetailView {
    #[serde(flatten)]
    schedule: ScheduleView,
    /// Request for each of its tasks.
    #[schemars(with = "AnyJson")]
    task: Box<RawValue>,
}

impl ScheduleView {
    /// Hides the error, which may quote an input, from a key that may not read those.
    pub(crate) fn shown_to(self, sender: &Identity) -> Self {
        Self { last_error: self.last_error.filter(|_| sender.may(Scope::Read)), ..self }
    }

    /// Creates the view for a sender that may see the schedule.
    pub(crate) fn new(schedule: &Schedule, sender: &Identity) -> Self {
        let is_bounded = sender.reach().is_bounded();
        let last = schedule.last.map(|LastRun { due, at, task }| LastRunView {
            due: due.map(Rfc3339),
            time: Rfc3339(at),
            task,
        });
        Self {
            next_runs: next_runs(schedule),
            name: if is_bounded { schedule.name.chosen() } else { schedule.name.as_str() }.to_owned(),
            from: if schedule.from_manifest { "manifest" } else { "rest" },
            cron: schedule.cron.clone(),
            timezone: schedule.timezone.clone(),
            plugin: schedule.plugin.clone(),
            missed: schedule.missed.as_str(),
            overlap: schedule.overlap,
            paused: schedule.paused,
            last_run: last,
            runs: schedule.runs,
            skipped: schedule.skipped,
            last_error: schedule.last_error.clone(),
            created_at: Rfc3339(schedule.created_at),
            changed_at: Rfc3339(schedule.changed_at),
        }
    }
}

impl ScheduleDetailView {
    /// Hides the request of its tasks from a key that may not read them.
    pub(crate) fn shown_to(self, sender: &Identity) -> Self {
        if sender.may(Scope::Read) {
            return self;
        }
        Self { schedule: self.schedule.shown_to(sender), task: RawValue::NULL.to_owned() }
    }

    /// Creates the view for a sender that may see the schedule.
    pub(crate) fn new(schedule: &Schedule, sender: &Identity) -> Self {
        let task = schedule.task.clone().and_then(|text| RawValue::from_string(text).ok());
        Self {
            schedule: ScheduleView::new(schedule, sender),
            task: task.unwrap_or_else(|| RawValue::NULL.to_owned()),
        }
    }
}

/// Returns the next runs of a schedule; none while it is paused.
fn next_runs(schedule: &Schedule) -> Vec<String> {
    let Ok(timing) = schedule.timing() else { return Vec::new() };
    let first = schedule.next_at.filter(|_| !schedule.paused);
    let runs = std::iter::successors(first, |run| timing.next_after(*run));
    runs.take(NEXT_RUNS).map(|run| timing.local(run)).collect()
}

/// Example for the OpenAPI document; with its task unless it is part of a list.
pub(crate) fn example(is_listed: bool) -> Value {
    let mut example = json!({
        "name": "nightly", "from": "rest", "cron": "30 2 * * *", "timezone": "Europe/Berlin",
        "plugin": "io-stub", "missed": "one", "overlap": true, "paused": false,
        "next_runs": [
            "2026-11-24T02:30:00+01:00", "2026-11-25T02:30:00+01:00", "2026-11-26T02:30:00+01:00",
            "2026-11-27T02:30:00+01:00", "2026-11-28T02:30:00+01:00",
        ],
        "last_run": {
            "due": "2026-11-23T01:30:00.000000000Z", "time": "2026-11-23T01:30:00.001240112Z",
            "task": "01a2074c-e503-703b-819d-4717c026346b",
        },
        "runs": 41, "skipped": 0, "last_error": null, "created_at": "2026-10-12T09:00:02.120003122Z",
        "changed_at": "2026-10-12T09:00:02.120003122Z",
    });
    if !is_listed {
        example["task"] = json!({"plugin": "io-stub", "input": {"min_ms": 500, "max_ms": 900}});
    }
    example
}
