//! `PUT /schedules/{name}`: validates and stores a schedule with its task request.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_access::Identity;
use wasmill_model::{
    Group, InvalidScheduleName, InvalidTiming, MissedPolicy, NewTask, PluginName, ScheduleName,
    TIMING_BYTES_MAX, Tag, Timestamp, Timing,
};
use wasmill_runtime::InputBudget;
use wasmill_scheduler::SCHEDULES_MAX;
use wasmill_store::{NewSchedule, PutOutcome};

use crate::http::authorize::Sender;
use crate::http::body::read_json;
use crate::http::fields::{Fields, text};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors, truncated_quote};
use crate::problem::kind;
use crate::schedule::lookup::schedule_managed_by_plugin;
use crate::state::Api;
use crate::task::request::schema::TaskRequest;
use crate::task::submit::{self, Refusal, check_one, run_check};
use crate::view::schedule::{ScheduleDetailView, example};

/// Maximum bytes of a task request of a schedule, so that all schedules together stay small.
const TASK_BYTES_MAX: usize = 64 << 10;

const FIELDS: [&str; 5] = ["cron", "timezone", "task", "missed", "overlap"];

/// Responds 201 with a new schedule, 200 with a replaced one.
pub(crate) async fn put(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let bytes = read_json(&api.config.body, &headers, body).await?;
    let chosen: ScheduleName = name.parse().map_err(|error| invalid_schedule_name(&name, error))?;
    if !chosen.space().is_empty() {
        return Err(of_a_reach(&name));
    }
    let now = api.clock.now();
    let (named, checking) = (chosen.clone().within(&sender.space()), sender.clone());
    let check =
        move |api: &Api, budget: &mut InputBudget| check(api, &checking, named.clone(), &bytes, now, budget);
    let new = run_check(&api, check).await??;
    let (status, schedule) = match api.store.put_schedule(new, SCHEDULES_MAX as u64, now).await? {
        PutOutcome::Created(schedule) => (StatusCode::CREATED, schedule),
        PutOutcome::Replaced(schedule) => (StatusCode::OK, schedule),
        PutOutcome::NameTaken => return Err(schedule_managed_by_plugin(&chosen)),
        PutOutcome::TooMany => return Err(too_many_schedules(SCHEDULES_MAX)),
    };
    api.schedules.wake();
    Ok((status, Json(ScheduleDetailView::new(&schedule, &sender))))
}

/// Parses and validates the body.
fn check(
    api: &Api,
    sender: &Identity,
    name: ScheduleName,
    bytes: &[u8],
    now: Timestamp,
    budget: &mut InputBudget,
) -> Result<NewSchedule, Problem> {
    let body: &RawValue = match bytes {
        b"" => RawValue::NULL,
        bytes => serde_json::from_slice(bytes).map_err(|error| Problem::invalid_json(&error))?,
    };
    let Some(mut fields) = Fields::read(body, &FIELDS) else {
        let detail = "a schedule must be a JSON object such as {\"cron\": \"*/5 * * * *\"}";
        return Err(Problem::invalid_request(FieldError::body(detail)));
    };
    let mut errors = FieldErrors::default();
    let mut take = |name: &str| fields.take(name);
    let timing = timing(take("cron"), take("timezone"), &mut errors);
    let missed = missed(take("missed"), &mut errors);
    let overlap = overlap(take("overlap"), &mut errors);
    let task = take("task").map_or("{}", RawValue::get);
    let (run_check, not_ready) = match check_task(api, sender, task, now, budget) {
        Ok(task) => (Some(task), None),
        Err(refusal) => {
            errors.extend_under("/task", refusal.errors);
            (None, refusal.not_ready)
        }
    };
    fields.report("", &mut errors);
    match (timing, run_check) {
        (Some(timing), Some((task, plugin))) if errors.is_empty() => {
            Ok(NewSchedule { name, from_manifest: false, timing, missed, overlap, task, plugin })
        }
        _ => Err(Refusal { errors, not_ready }.into_problem()),
    }
}

/// Validates a task request as `POST /task` does; returns what to store of it, and its plugin.
fn check_task(
    api: &Api,
    sender: &Identity,
    request: &str,
    now: Timestamp,
    budget: &mut InputBudget,
) -> Result<(String, PluginName), Refusal> {
    let wrong = |error: FieldError| Refusal { errors: error.into(), not_ready: None };
    if request.len() > TASK_BYTES_MAX {
        let detail = format!("the task request of a schedule may have at most {TASK_BYTES_MAX} bytes");
        return Err(wrong(FieldError::body(detail)));
    }
    let raw = serde_json::from_str(request).map_err(|error| wrong(FieldError::body(error.to_string())))?;
    let task = check_one(api, sender, raw, now, None, budget)?.without_files()?;
    // A delay is relative to each run, but `run_at` and dependencies apply once.
    let mut fields = Fields::read(raw, &submit::FIELDS).unwrap_or_else(|| Fields::empty(&submit::FIELDS));
    for once in ["run_at", "depends_on"] {
        if fields.take(once).is_some() {
            let detail = format!(
                "{once} is not allowed in a schedule, whose cron expression defines when its tasks run"
            );
            return Err(wrong(FieldError::field(once, detail)));
        }
    }
    let request = if sender.reach().is_bounded() { labelled(request, &task) } else { request.to_owned() };
    Ok((request, task.plugin))
}

/// Returns a valid request with the group and the tags that the reach of its key has added: its tasks are created without
/// a key.
fn labelled(request: &str, task: &NewTask) -> String {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(request).unwrap_or_default();
    let tags: Vec<_> = task.tags.iter().map(Tag::as_str).collect();
    let labels = [("group", json!(task.group.as_ref().map(Group::as_str))), ("tags", json!(tags))];
    for (name, label) in labels {
        if let Ok(label) = serde_json::value::to_raw_value(&label) {
            fields.insert(name.to_owned(), label);
        }
    }
    serde_json::to_string(&fields).unwrap_or_else(|_| request.to_owned())
}

fn timing(cron: Option<&RawValue>, timezone: Option<&RawValue>, errors: &mut FieldErrors) -> Option<Timing> {
    let Some(cron) = cron.and_then(text) else {
        let detail = "cron must be a string such as \"*/5 * * * *\"";
        errors.push(FieldError::field("cron", detail));
        return None;
    };
    let timezone = timezone.map_or_else(|| "UTC".to_owned(), |value| text(value).unwrap_or_default());
    let timing = Timing::of(&cron, &timezone);
    timing
        .map_err(|error| {
            let field = if error == InvalidTiming::Zone { "timezone" } else { "cron" };
            errors.push(FieldError::field(field, format!("{field}: {error}")));
        })
        .ok()
}

fn missed(value: Option<&RawValue>, errors: &mut FieldErrors) -> MissedPolicy {
    let Some(value) = value else { return MissedPolicy::default() };
    let word: String = serde_json::from_str(value.get()).unwrap_or_default();
    MissedPolicy::of(&word).unwrap_or_else(|| {
        errors.push(FieldError::field("missed", "missed must be \"skip\", \"one\" or \"all\""));
        MissedPolicy::default()
    })
}

fn overlap(value: Option<&RawValue>, errors: &mut FieldErrors) -> bool {
    let Some(value) = value else { return true };
    serde_json::from_str(value.get()).unwrap_or_else(|_| {
        errors.push(FieldError::field("overlap", "overlap must be true or false"));
        true
    })
}

/// A schedule. All fields but `cron` are optional or may be `null`; unknown fields are refused.
// For the OpenAPI document only: `check` parses each field itself to report all errors.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ScheduleRequest {
    /// A cron expression of five fields (minute, hour, day of month, month, day of week), of six with seconds
    /// first, or `@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`. It must match at least once.
    #[schemars(length(max = TIMING_BYTES_MAX))]
    cron: String,
    /// IANA time zone of the expression, by default UTC.
    timezone: Option<String>,
    /// Request for each task, as for `POST /task`, at most 64 KiB and without `run_at` and `depends_on`; by
    /// default the default plugin runs.
    task: Option<TaskRequest>,
    /// Policy for runs that could not start within a minute: `skip` drops them, `one` (the default) catches
    /// up with a single run, `all` with each, but at most the newest 1,000.
    #[schemars(with = "Option<MissedRequest>")]
    missed: Option<String>,
    /// Whether a run may start while a task of an earlier run is waiting or running; otherwise it is skipped.
    /// Default `true`.
    overlap: Option<bool>,
}

/// Policy for missed runs.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum MissedRequest {
    Skip,
    One,
    All,
}

pub(crate) fn spec() -> Operation {
    let nightly = json!({
        "cron": "30 2 * * *", "timezone": "Europe/Berlin", "missed": "one", "overlap": false,
        "task": {"plugin": "io-stub", "input": {"min_ms": 500, "max_ms": 900, "fail_rate": 0}},
    });
    let often = json!({"cron": "*/5 * * * *"});
    let answer = |description| ResponseSpec::json::<ScheduleDetailView>(description, example(false));
    Operation::put("/schedules/{schedule}", "putSchedule", "Create or replace a schedule")
        .detail(
            "A replacement with the same times keeps the due time, the counters and the pause of the old \
             schedule.",
        )
        .json_body::<ScheduleRequest>("The schedule.", vec![("nightly", nightly), ("often", often)])
        .responds(200, answer("The schedule was replaced."))
        .responds(201, answer("The schedule was created."))
        .problems(&kind::JSON_BODY)
        .problems(&[
            kind::INVALID_PATH,
            kind::INVALID_JSON,
            kind::INVALID_REQUEST,
            kind::INVALID_SCHEDULE_NAME,
        ])
        .problems(&[kind::SCHEDULE_MANAGED_BY_PLUGIN, kind::TOO_MANY_SCHEDULES, kind::PLUGIN_COMPILING])
        .problems(&kind::STORE_ACCESS)
}

fn invalid_schedule_name(name: &str, error: InvalidScheduleName) -> Problem {
    let detail = format!("'{}' is not a schedule name: {error}", truncated_quote(name));
    Problem::of(kind::INVALID_SCHEDULE_NAME, detail)
}

/// The name is that of a key with a reach.
fn of_a_reach(name: &str) -> Problem {
    let detail = format!(
        "schedule '{}' is changed by keys of its reach; others may pause, resume, run and delete it",
        truncated_quote(name)
    );
    Problem::of(kind::INVALID_SCHEDULE_NAME, detail)
}

fn too_many_schedules(schedules_max: usize) -> Problem {
    let detail = format!(
        "there are as many schedules as there may be, {schedules_max} in all and a tenth of that for keys of one reach; \
         delete one first"
    );
    Problem::of(kind::TOO_MANY_SCHEDULES, detail)
}
