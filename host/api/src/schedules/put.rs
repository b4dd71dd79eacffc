//! `PUT /schedules/{name}`: checks a schedule and its task request, and stores it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_model::{InvalidTiming, MissedPolicy, ScheduleName, TIMING_BYTES_MAX, Timestamp, Timing};
use wasmill_runtime::InputBudget;
use wasmill_scheduler::SCHEDULES_MAX;
use wasmill_store::{NewSchedule, PutOutcome};

use super::{WithTask, example};
use crate::app::Api;
use crate::body::read_json;
use crate::check_pool::checked;
use crate::field_errors::{Fault, Faults};
use crate::fields::{Fields, text};
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::submit::{self, Refusal, TaskRequest, check_one};

/// Bytes of the largest task request of a schedule: all schedules together stay small.
const TASK_BYTES_MAX: usize = 64 << 10;

const FIELDS: [&str; 5] = ["cron", "timezone", "task", "missed", "overlap"];

/// Answers 201 with a new schedule, 200 with one that took the place of another.
pub(crate) async fn put(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let bytes = read_json(&api.config, &headers, body).await?;
    let name: ScheduleName = name.parse().map_err(|error| Problem::invalid_schedule_name(&name, error))?;
    let now = api.clock.now();
    let checking = name.clone();
    let new = checked(&api, move |api, budget| check(api, checking.clone(), &bytes, now, budget)).await??;
    let (status, schedule) = match api.store.put_schedule(new, SCHEDULES_MAX as u64, now).await? {
        PutOutcome::Created(schedule) => (StatusCode::CREATED, schedule),
        PutOutcome::Replaced(schedule) => (StatusCode::OK, schedule),
        PutOutcome::NameTaken => return Err(Problem::schedule_of_manifest(&name)),
        PutOutcome::TooMany => return Err(Problem::too_many_schedules(SCHEDULES_MAX)),
    };
    api.schedules.wake();
    Ok((status, Json(WithTask::new(&schedule))))
}

/// Turns the body into a schedule that may be stored, or names everything that is wrong with it.
fn check(
    api: &Api,
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
        return Err(Problem::invalid_request(Fault::body(detail)));
    };
    let mut faults = Faults::default();
    let mut take = |name: &str| fields.take(name);
    let timing = timing(take("cron"), take("timezone"), &mut faults);
    let missed = missed(take("missed"), &mut faults);
    let overlap = overlap(take("overlap"), &mut faults);
    let task = take("task").map_or("{}", RawValue::get);
    let (checked, later) = match check_task(api, task, now, budget) {
        Ok(task) => (Some(task), None),
        Err(refusal) => {
            faults.extend_under("/task", refusal.faults);
            (None, refusal.later)
        }
    };
    fields.report("", &mut faults);
    match (timing, checked) {
        (Some(timing), Some(plugin)) if faults.is_empty() => Ok(NewSchedule {
            name,
            from_manifest: false,
            timing,
            missed,
            overlap,
            task: task.to_owned(),
            plugin,
        }),
        _ => Err(Refusal { faults, later }.into_problem()),
    }
}

/// Checks a task request as `POST /task` does, and returns the plugin that it names.
fn check_task(
    api: &Api,
    request: &str,
    now: Timestamp,
    budget: &mut InputBudget,
) -> Result<wasmill_model::PluginName, Refusal> {
    let wrong = |fault: Fault| Refusal { faults: fault.into(), later: None };
    if request.len() > TASK_BYTES_MAX {
        let detail = format!("the task request of a schedule is at most {TASK_BYTES_MAX} bytes long");
        return Err(wrong(Fault::body(detail)));
    }
    let raw = serde_json::from_str(request).map_err(|error| wrong(Fault::body(error.to_string())))?;
    let task = check_one(api, raw, now, None, budget)?;
    // A delay counts from each run, but a moment comes once, and so does the end of a task.
    let mut fields = Fields::read(raw, &submit::FIELDS).unwrap_or_else(|| Fields::none(&submit::FIELDS));
    for once in ["run_at", "depends_on"] {
        if fields.take(once).is_some() {
            let detail =
                format!("{once} is for a single task; the cron expression says when those of a schedule run");
            return Err(wrong(Fault::field(once, detail)));
        }
    }
    Ok(task.plugin)
}

fn timing(cron: Option<&RawValue>, timezone: Option<&RawValue>, faults: &mut Faults) -> Option<Timing> {
    let Some(cron) = cron.and_then(text) else {
        let detail = "cron must be a string such as \"*/5 * * * *\"";
        faults.push(Fault::field("cron", detail));
        return None;
    };
    let timezone = timezone.map_or_else(|| "UTC".to_owned(), |value| text(value).unwrap_or_default());
    let timing = Timing::of(&cron, &timezone);
    timing
        .map_err(|error| {
            let field = if error == InvalidTiming::Zone { "timezone" } else { "cron" };
            faults.push(Fault::field(field, format!("{field}: {error}")));
        })
        .ok()
}

fn missed(value: Option<&RawValue>, faults: &mut Faults) -> MissedPolicy {
    let Some(value) = value else { return MissedPolicy::default() };
    let word: String = serde_json::from_str(value.get()).unwrap_or_default();
    MissedPolicy::of(&word).unwrap_or_else(|| {
        faults.push(Fault::field("missed", "missed must be \"skip\", \"one\" or \"all\""));
        MissedPolicy::default()
    })
}

fn overlap(value: Option<&RawValue>, faults: &mut Faults) -> bool {
    let Some(value) = value else { return true };
    serde_json::from_str(value.get()).unwrap_or_else(|_| {
        faults.push(Fault::field("overlap", "overlap must be true or false"));
        true
    })
}

/// What is done again and again. Every field but `cron` may be left out or `null`; one that is not listed is
/// refused.
// For the API document only: `check` reads the fields one by one, so that it can name every fault.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is described, never made")]
struct ScheduleRequest {
    /// A cron expression of five fields (minute, hour, day of the month, month, day of the week), of six with
    /// seconds in front, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. It must be due some day.
    #[schemars(length(max = TIMING_BYTES_MAX))]
    cron: String,
    /// The IANA name of the time zone in which it is meant, UTC unless said otherwise.
    timezone: Option<String>,
    /// The request for each task, as `POST /task` takes it, without `run_at` and of at most 64 KiB; unless said
    /// otherwise the default plugin runs.
    task: Option<TaskRequest>,
    /// What becomes of runs that could not start within a minute: `skip` leaves them out, `one` makes up for
    /// them with a single run, `all` with each, though with no more than the newest 1,000. `one` unless said
    /// otherwise.
    #[schemars(with = "Option<MissedWord>")]
    missed: Option<String>,
    /// Whether a run starts while a task of an earlier one waits or runs; else it is left out. `true` unless
    /// said otherwise.
    overlap: Option<bool>,
}

/// What becomes of missed runs, as requests say it.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "it is described, never made")]
enum MissedWord {
    Skip,
    One,
    All,
}

pub(super) fn about() -> Operation {
    let nightly = json!({
        "cron": "30 2 * * *", "timezone": "Europe/Berlin", "missed": "one", "overlap": false,
        "task": {"plugin": "io-stub", "input": {"min_ms": 500, "max_ms": 900, "fail_rate": 0}},
    });
    let often = json!({"cron": "*/5 * * * *"});
    let answer = |about| Answer::json::<WithTask>(about, example(false));
    Operation::put("/schedules/{schedule}", "putSchedule", "Make or replace a schedule")
        .detail(
            "One that takes the place of another at the same times keeps what is due, what it has counted, and \
             whether it is paused.",
        )
        .json_body::<ScheduleRequest>("What is to be done, and when.", vec![("nightly", nightly), ("often", often)])
        .answers(200, answer("It took the place of another."))
        .answers(201, answer("It is new."))
        .problems(&kind::OF_JSON_BODY)
        .problems(&[kind::INVALID_PATH, kind::INVALID_JSON, kind::INVALID_REQUEST, kind::INVALID_SCHEDULE_NAME])
        .problems(&[kind::SCHEDULE_OF_MANIFEST, kind::TOO_MANY_SCHEDULES, kind::PLUGIN_COMPILING])
        .problems(&kind::OF_STORE)
}
