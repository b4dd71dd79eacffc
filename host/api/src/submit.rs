//! `POST /task`: checks a task request, stores it, and only then answers 201; with `?wait=30s` once the task
//! has ended, with its record.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_model::{
    ATTEMPTS_MAX, Backoff, DEPENDENCIES_MAX, InvalidBackoff, InvalidPluginName, NewTask, PluginName,
    Priority, TAGS_MAX, TaskId, Timestamp, parse_duration,
};
use wasmill_runtime::{InputBudget, NotReady, Violation};
use wasmill_store::Submitted;

use crate::app::Api;
use crate::body::read_json;
use crate::checking::checked;
use crate::depends;
use crate::faults::{Fault, Faults};
use crate::fields::{Fields, text, time_must_be, whole_number};
use crate::openapi::values::{Anything, Moment, NO_CONTROLS, Name, Span};
use crate::openapi::{Answer, Operation};
use crate::options::{self, Options};
use crate::params::Params;
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::record::{Accepted, Record};
use crate::request_key;
use crate::trace::{self, Caller};
use crate::wait::{self, Wish};
use crate::webhook::WebhookWish;

/// The fields of a task request.
pub(crate) const FIELDS: [&str; 16] = [
    "plugin",
    "input",
    "timeout",
    "max_attempts",
    "backoff",
    "delay",
    "run_at",
    "priority",
    "tags",
    "unique_key",
    "on_conflict",
    "depends_on",
    "on_failure",
    "input_from",
    "webhook",
    "group",
];

/// The plugin that runs when a request names none.
const DEFAULT_PLUGIN: &str = "io-stub";

pub(crate) async fn submit(
    State(api): State<Api>,
    Caller(caller): Caller,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let wish = Wish::read(&params, &headers)?;
    let bytes = read_json(&api.config, &headers, body).await?;
    let now = api.clock.now();
    let request = request_key::read(&headers, "task", &bytes)?;
    if let Some(request) = &request
        && let Some(submitted) = api.store.submitted(request.clone(), now).await?
    {
        return answer_after(&api, &submitted, wish).await;
    }
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    let checked = checked(&api, move |api, budget| check(api, &bytes, now, budget)).await?;
    let task = NewTask { trace: caller, ..checked? };
    let submitted = api.store.submit(vec![task], request.map(|request| (request, now))).await?;
    api.scheduler.wake();
    answer_after(&api, &submitted, wish).await
}

/// Answers when the client has waited as long as it wished.
async fn answer_after(api: &Api, submitted: &Submitted, wish: Wish) -> Result<Response, Problem> {
    let mut response = answer(submitted)?.into_response();
    // The task is stored: from here on no trouble may turn the answer into an error.
    if let Some(wait) = wish.wait
        && let Some(task) = submitted.tasks.first()
        && let Ok(Some(task)) = wait::until_ended(api, task.id, wait).await
    {
        let record = Answered::Waited(Box::new(Record::new(task, api.clock.now())));
        let headers = std::mem::take(response.headers_mut());
        let applied: HeaderMap = wish.applied().into_iter().collect();
        let mut waited = (response.status(), applied, Json(record)).into_response();
        for name in [header::LOCATION, request_key::REPLAYED] {
            if let Some(value) = headers.get(&name) {
                waited.headers_mut().insert(name, value.clone());
            }
        }
        return Ok(waited);
    }
    Ok(response)
}

/// What a submit is answered with: the whole record, if the client waited.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Answered {
    Stored(Accepted),
    Waited(Box<Record>),
}

/// Answers with the new task, or with the one that holds its unique key.
pub(crate) fn answer(submitted: &Submitted) -> Result<impl IntoResponse + use<>, Problem> {
    let task = submitted.tasks.first();
    let task = task.ok_or_else(|| Problem::internal_fault("the store answered without a task"))?;
    let status = if task.holder.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/task/{}", task.id);
    let replayed = request_key::mark(submitted.replayed);
    Ok((status, [(header::LOCATION, location)], replayed, Json(Answered::Stored(Accepted::new(task)))))
}

/// Why a task request is refused: what is wrong with it, or what it has to wait for.
pub(crate) struct Refusal {
    pub(crate) faults: Faults,
    pub(crate) later: Option<String>,
}

impl Refusal {
    /// Says it to a client whose request this is.
    pub(crate) fn into_problem(self) -> Problem {
        match self.later {
            Some(why) if self.faults.is_empty() => Problem::plugin_compiling(why),
            _ => Problem::invalid_request(self.faults),
        }
    }
}

/// Turns the body into a task that may be stored, or names everything that is wrong with it.
fn check(api: &Api, bytes: &[u8], now: Timestamp, budget: &mut InputBudget) -> Result<NewTask, Problem> {
    let checked = if bytes.is_empty() {
        check_fields(api, Fields::none(&FIELDS), now, None, budget)
    } else {
        let body = serde_json::from_slice(bytes).map_err(|error| Problem::invalid_json(&error))?;
        check_one(api, body, now, None, budget)
    };
    checked.map_err(Refusal::into_problem)
}

/// Does the same for one request, which may be one of many: `earlier` are then those before it.
pub(crate) fn check_one(
    api: &Api,
    request: &RawValue,
    now: Timestamp,
    earlier: Option<&[TaskId]>,
    budget: &mut InputBudget,
) -> Result<NewTask, Refusal> {
    match Fields::read(request, &FIELDS) {
        Some(fields) => check_fields(api, fields, now, earlier, budget),
        None => {
            let fault = Fault::body("a task request must be a JSON object such as {\"plugin\": \"io-stub\"}");
            Err(Refusal { faults: fault.into(), later: None })
        }
    }
}

fn check_fields(
    api: &Api,
    mut fields: Fields<'_>,
    now: Timestamp,
    earlier: Option<&[TaskId]>,
    budget: &mut InputBudget,
) -> Result<NewTask, Refusal> {
    let mut faults = Faults::default();
    let mut take = |name: &str| fields.take(name);
    let mut later = None;
    let plugin = match plugin(api, take("plugin")) {
        Ok(plugin) => Some(plugin),
        Err(Unusable::Now(why)) => {
            later = Some(why);
            None
        }
        Err(Unusable::Wrong(why)) => {
            faults.push(Fault::field("plugin", why));
            None
        }
    };
    let terms = plugin.as_ref().and_then(|plugin| api.runtime.terms(plugin));
    let input = take("input").map(|value| value.get().to_owned());
    if let Some(plugin) = &plugin {
        check_input(api, plugin, input.as_deref(), budget, &mut faults);
    }
    let retry = terms.as_ref().map(|terms| terms.retry).unwrap_or_default();
    let default_timeout = terms.as_ref().map_or(api.config.timeout, |terms| terms.limits.timeout);
    let timeout = timeout(api, take("timeout"), default_timeout, &mut faults);
    let attempts_max = attempts_max(take("max_attempts"), retry.attempts_max.unwrap_or(1), &mut faults);
    let backoff = backoff(take("backoff"), &mut faults).or(retry.backoff);
    let Options { run_at, is_delayed, priority, tags, unique, dependencies, webhook, group } =
        options::take(&mut fields, now, earlier, &mut faults);
    let group = group.or_else(|| options::group_of(&tags, api.config.group_tag.as_deref()?));
    fields.report("", &mut faults);
    match plugin {
        Some(plugin) if faults.is_empty() => Ok(NewTask {
            input,
            attempts_max,
            backoff,
            run_at,
            is_delayed,
            priority,
            tags,
            unique,
            dependencies,
            webhook,
            group,
            waiting_max: terms.as_ref().and_then(|terms| terms.waiting_max),
            ..NewTask::new(plugin, now, timeout)
        }),
        _ => Err(Refusal { faults, later }),
    }
}

/// Why a plugin does not do.
enum Unusable {
    /// It has just been added, and will do soon.
    Now(String),
    Wrong(String),
}

fn plugin(api: &Api, value: Option<&RawValue>) -> Result<PluginName, Unusable> {
    let name = match value.map(text) {
        None => DEFAULT_PLUGIN.to_owned(),
        Some(Some(name)) => name,
        Some(None) => return Err(Unusable::Wrong("plugin must be a string".to_owned())),
    };
    let name: PluginName =
        name.parse().map_err(|error: InvalidPluginName| Unusable::Wrong(error.to_string()))?;
    match api.runtime.check_ready(&name) {
        Ok(()) => Ok(name),
        Err(why @ NotReady::Compiling(_)) => Err(Unusable::Now(why.to_string())),
        Err(why) => Err(Unusable::Wrong(why.to_string())),
    }
}

/// Asks the plugin: its schema, if it has one, and what it is.
pub(crate) fn check_input(
    api: &Api,
    plugin: &PluginName,
    input: Option<&str>,
    budget: &mut InputBudget,
    faults: &mut Faults,
) {
    let violations = api.runtime.check_input(plugin, input, budget);
    let fault = |violation: Violation| Fault::at(format!("/input{}", violation.pointer), violation.message);
    faults.extend(violations.into_iter().map(fault));
}

/// Reads the timeout. It may be longer than that of the plugin, which is what its tasks get that name
/// none, but not than the ceiling of the host.
fn timeout(api: &Api, value: Option<&RawValue>, default: Duration, faults: &mut Faults) -> Duration {
    let Some(value) = value else { return default };
    let most = api.config.timeout_max;
    let parsed = text(value)
        .and_then(|text| parse_duration(&text).ok())
        .filter(|timeout| *timeout >= Duration::from_millis(1) && *timeout <= most);
    parsed.unwrap_or_else(|| {
        let most = humantime::format_duration(most);
        let detail = format!("timeout must be a string with a unit, such as \"30s\", from 1ms to {most}");
        let detail = time_must_be(detail, text(value).as_deref());
        faults.push(Fault::field("timeout", detail));
        default
    })
}

fn attempts_max(value: Option<&RawValue>, default: u32, faults: &mut Faults) -> u32 {
    let Some(value) = value else { return default };
    let attempts = whole_number(value).and_then(|attempts| u32::try_from(attempts).ok());
    attempts.filter(|attempts| (1..=ATTEMPTS_MAX).contains(attempts)).unwrap_or_else(|| {
        let detail = format!("max_attempts must be a whole number from 1 to {ATTEMPTS_MAX}");
        faults.push(Fault::field("max_attempts", detail));
        default
    })
}

/// A backoff as it is asked for; what is left out is as in the default.
// For the API document only: `backoff` reads the fields one by one, so that it can name every fault.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Backoff")]
#[expect(dead_code, reason = "it is described, never made")]
struct BackoffWish {
    /// The wait after the first failed attempt, 1s unless said otherwise.
    #[schemars(with = "Option<Span>")]
    first: Option<String>,
    /// What each further wait is multiplied by, 2 unless said otherwise.
    #[schemars(range(min = 1, max = 100))]
    factor: Option<f64>,
    /// The longest wait before jitter, 5m unless said otherwise; at most 7 days, and not shorter than `first`.
    #[schemars(with = "Option<Span>")]
    most: Option<String>,
    /// By how much of itself each wait is lengthened at random, at most: 0.5 unless said otherwise, 0 for waits
    /// that are exact. No attempt starts earlier than the waits say.
    #[schemars(range(min = 0, max = 1))]
    jitter: Option<f64>,
}

fn backoff(value: Option<&RawValue>, faults: &mut Faults) -> Option<Backoff> {
    let Some(mut fields) = Fields::read(value?, &["first", "factor", "most", "jitter"]) else {
        let example = "{\"first\": \"1s\", \"factor\": 2, \"most\": \"5m\"}";
        faults.push(Fault::field("backoff", format!("backoff must be an object such as {example}")));
        return None;
    };
    let mut wrong = Faults::default();
    let (first, most) = (wait(&mut fields, "first", &mut wrong), wait(&mut fields, "most", &mut wrong));
    let factor = number(&mut fields, "factor", InvalidBackoff::Factor, &mut wrong);
    let jitter = number(&mut fields, "jitter", InvalidBackoff::Jitter, &mut wrong);
    fields.report("/backoff", &mut wrong);
    if !wrong.is_empty() {
        faults.extend_under("", wrong);
        return None;
    }
    let backoff = Backoff::of(first, factor, most, jitter);
    backoff.map_err(|error| faults.push(Fault::field("backoff", format!("backoff: {error}")))).ok()
}

/// Reads one of the numbers of a backoff; `must` says what it would have to be.
fn number(fields: &mut Fields<'_>, name: &str, must: InvalidBackoff, faults: &mut Faults) -> Option<f64> {
    let number = serde_json::from_str::<f64>(fields.take(name)?.get()).ok();
    if number.is_none() {
        faults.push(Fault::at(format!("/backoff/{name}"), format!("backoff: {must}")));
    }
    number
}

/// Reads one of the waits of a backoff.
fn wait(fields: &mut Fields<'_>, name: &str, faults: &mut Faults) -> Option<Duration> {
    let text = text(fields.take(name)?);
    let parsed = text.as_deref().and_then(|text| parse_duration(text).ok());
    if parsed.is_none() {
        let detail = format!("backoff.{name} must be a string with a unit, such as \"5s\"");
        let detail = time_must_be(detail, text.as_deref());
        faults.push(Fault::at(format!("/backoff/{name}"), detail));
    }
    parsed
}

/// What is to be done. Every field may be left out or `null`; a field that is not listed is refused.
// For the API document only: `check` reads the fields one by one, so that it can name every fault.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) struct TaskRequest {
    /// Which plugin does it, `io-stub` unless said otherwise. It must be in service.
    #[schemars(with = "Option<Name>")]
    plugin: Option<String>,
    /// Any JSON, handed to the plugin as text. It must fit the schema of the plugin, if it has one.
    input: Option<Anything>,
    /// The wall-clock time of one attempt, at least 1ms and at most that of the setting `--timeout-max`.
    /// Unless said otherwise it is that of the plugin, else that of the setting `--timeout`.
    #[schemars(with = "Option<Span>")]
    timeout: Option<String>,
    /// How often a failure is attempted in all; unless said otherwise as the plugin says, else 1.
    #[schemars(range(min = 1, max = ATTEMPTS_MAX))]
    max_attempts: Option<u32>,
    /// The waits between attempts; unless said otherwise as the plugin says.
    backoff: Option<BackoffWish>,
    /// How long the task waits at least; at most 366 days. Either this or `run_at`.
    #[schemars(with = "Option<Span>")]
    delay: Option<String>,
    /// When the task may start, at most 366 days ahead.
    run_at: Option<Moment>,
    /// Who goes first: a step is worth a minute of waiting.
    #[schemars(range(min = -Priority::MAX, max = Priority::MAX))]
    priority: Option<i32>,
    /// Names to find it by.
    #[schemars(length(max = TAGS_MAX), inner(length(min = 1, max = 64), regex(pattern = NO_CONTROLS)))]
    tags: Option<Vec<String>>,
    /// Only one task under this key waits or runs.
    #[schemars(length(min = 1, max = 255), regex(pattern = NO_CONTROLS))]
    unique_key: Option<String>,
    /// What happens when the key is held: `refuse` is 409, `return` answers with the holder.
    #[schemars(with = "Option<Conflict>")]
    on_conflict: Option<String>,
    /// The tasks that have to end before it starts: ids, or of the same batch `{"item": 0}`.
    #[schemars(length(max = DEPENDENCIES_MAX))]
    depends_on: Option<Vec<depends::Wish>>,
    /// What happens when one of them fails, is cancelled or is deleted: `cancel`, which is the default, cancels
    /// this one, `run` runs it all the same.
    #[schemars(with = "Option<depends::FailureWish>")]
    on_failure: Option<String>,
    /// With `dependencies` it is handed their results: a `task` within its input, a program behind its stdin.
    #[schemars(with = "Option<depends::InputWish>")]
    input_from: Option<String>,
    /// Whom to tell when the task ends: a URL, or an object that says of which ends.
    webhook: Option<WebhookWish>,
    /// Whose task it is, such as a tenant: the groups of a plugin take turns.
    #[schemars(length(min = 1, max = 64), regex(pattern = NO_CONTROLS))]
    group: Option<String>,
}

/// What to do when a key is held, as requests say it.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "it is described, never made")]
enum Conflict {
    Refuse,
    Return,
}

pub(crate) fn accepted_example() -> Value {
    json!({
        "id": "01a2074c-e503-703b-819d-4717c026346b", "created_at": "2026-11-23T07:26:49.603656725Z",
        "duration": 0,
    })
}

/// Describes the answer when there is a new task.
pub(crate) fn stored() -> Answer {
    described("The task is stored and will run.")
}

/// Describes the answer when another task holds the unique key, and the request asked for that one.
pub(crate) fn held() -> Answer {
    described("Another task holds the unique key; this is that one.")
}

fn described(about: &'static str) -> Answer {
    Answer::json::<Answered>(about, accepted_example())
        .header("Location", "Where its record is.", "^/task/[0-9a-f-]{36}$")
        .id_leads_to(&["getTask", "getTaskStatus", "getTaskResult", "cancelTask", "deleteTask"])
}

pub(crate) fn about() -> Operation {
    let task = json!({
        "plugin": "io-stub", "input": {"min_ms": 500, "max_ms": 900, "fail_rate": 0}, "timeout": "30s",
        "max_attempts": 3, "backoff": {"first": "1s", "factor": 2, "most": "5m"},
    });
    let operation = wait::about(Operation::post("/task", "submitTask", "Submit a task"));
    trace::about(request_key::about(operation))
        .detail(
            "Without a body the default plugin runs. The task is on disk before this is answered. With a \
             wait the answer is its whole record.",
        )
        .json_body::<TaskRequest>("What is to be done.", vec![("task", task), ("default", json!({}))])
        .answers(201, wait::applied(request_key::marked(stored())))
        .answers(200, wait::applied(request_key::marked(held())))
        .problems(&kind::OF_JSON_BODY)
        .problems(&[kind::INVALID_JSON, kind::INVALID_REQUEST, kind::PLUGIN_COMPILING])
        .problems(&[kind::WAITING_LINE_FULL, kind::PLUGIN_LINE_FULL, kind::KEY_TAKEN])
        .problems(&kind::OF_STORE)
}
