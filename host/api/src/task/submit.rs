//! `POST /task`: validates and stores a task, then responds 201; with `?wait=30s` only once the task has
//! finished, with its whole record.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_access::Identity;
use wasmill_model::{InvalidPluginName, NewTask, PluginName, Reach, TaskId, Timestamp};
use wasmill_runtime::{InputBudget, NotReadyError, Violation};
use wasmill_store::{IdempotencyKey, Submitted};

use crate::http::authorize::Sender;
use crate::http::body::{boundary, read_json};
use crate::http::fields::{Fields, text};
use crate::http::idempotency_key;
use crate::http::params::Params;
use crate::http::trace::{self, Caller};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::state::Api;
use crate::task::files::given::{self, GivenFile};
use crate::task::files::stage::{self, StagedFiles};
use crate::task::files::upload::{self, TaskForm, Uploaded};
use crate::task::lookup;
use crate::task::request::backoff::backoff;
use crate::task::request::options::{self, Options};
use crate::task::request::schema::TaskRequest;
use crate::task::request::wait::{self, WaitParams};
use crate::view::task::{TaskCreated, TaskView, shown_to};

/// The fields of a task request.
pub(crate) const FIELDS: [&str; 18] = [
    "plugin",
    "input",
    "files",
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
    "files_from",
    "webhook",
    "group",
];

/// The plugin of a request without one.
const DEFAULT_PLUGIN: &str = "io-stub";

pub(crate) async fn submit(
    State(api): State<Api>,
    Sender(sender): Sender,
    Caller(caller): Caller,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let wait_params = WaitParams::read(&params, &headers)?;
    let received = match boundary(&headers) {
        Some(boundary) => receive_form(&api, &sender, &headers, body, &boundary).await?,
        None => receive(&api, &sender, &headers, body).await?,
    };
    let SubmitRequest { task, staged: _staged, key } = match received {
        Received::New(request) => *request,
        Received::Known(submitted) => return respond_after(&api, &submitted, wait_params, &sender).await,
    };
    let task = NewTask { trace: caller, ..sender.signed(task) };
    let submitted = api.store.submit(vec![task], key).await?;
    api.scheduler.wake();
    respond_after(&api, &submitted, wait_params, &sender).await
}

/// A request that has been read.
enum Received {
    New(Box<SubmitRequest>),
    /// A repetition of one that was stored.
    Known(Submitted),
}

/// A new task; its files are stored.
struct SubmitRequest {
    task: NewTask,
    /// Kept until the task refers to them.
    staged: StagedFiles,
    key: Option<(IdempotencyKey, Timestamp)>,
}

/// Reads a request as JSON.
async fn receive(api: &Api, sender: &Identity, headers: &HeaderMap, body: Body) -> Result<Received, Problem> {
    let bytes = read_json(&api.config.body, headers, body).await?;
    let now = api.clock.now();
    let key = idempotency_key::read(headers, sender, "task", &bytes)?;
    if let Some(key) = &key
        && let Some(submitted) = api.store.find_submitted(key.clone(), now).await?
    {
        return Ok(Received::Known(submitted));
    }
    let CheckedTask { task, files } = check(api, sender, bytes, now).await?;
    let mut tasks = [task];
    let staged = stage::stage(api, &mut tasks, vec![files]).await?;
    let [task] = tasks;
    Ok(Received::New(Box::new(SubmitRequest { task, staged, key: key.map(|key| (key, now)) })))
}

/// Reads a request as a form with files.
async fn receive_form(
    api: &Api,
    sender: &Identity,
    headers: &HeaderMap,
    body: Body,
    boundary: &str,
) -> Result<Received, Problem> {
    let check = async |bytes| {
        let CheckedTask { task, files } = check(api, sender, bytes, api.clock.now()).await?;
        if files.is_empty() {
            return Ok(task);
        }
        let detail = "files of a form are in parts named 'files', and not in the task";
        Err(Problem::invalid_request(FieldError::field("files", detail)))
    };
    let Uploaded { task, staged, request } = upload::read(api, headers, body, boundary, check).await?;
    let now = task.created_at;
    let key = idempotency_key::read(headers, sender, "task with files", &request)?;
    if let Some(key) = &key
        && let Some(submitted) = api.store.find_submitted(key.clone(), now).await?
    {
        return Ok(Received::Known(submitted));
    }
    Ok(Received::New(Box::new(SubmitRequest { task, staged, key: key.map(|key| (key, now)) })))
}

/// Responds after the requested wait.
async fn respond_after(
    api: &Api,
    submitted: &Submitted,
    wait_params: WaitParams,
    sender: &Identity,
) -> Result<Response, Problem> {
    let mut response = answer(submitted)?.into_response();
    // The task is stored, so from here on no failure may turn the response into an error.
    if let Some(wait) = wait_params.wait
        && let Some(task) = submitted.tasks.first()
        && let Ok(Some(task)) = wait::until_finished(api, sender, task.id, wait).await
    {
        // The task that holds the unique key may be another's.
        let record = SubmitResponse::Waited(Box::new(TaskView::new(shown_to(sender, task), api.clock.now())));
        let headers = std::mem::take(response.headers_mut());
        let applied: HeaderMap = wait_params.applied().into_iter().collect();
        let mut waited = (response.status(), applied, Json(record)).into_response();
        for name in [header::LOCATION, idempotency_key::REPLAYED] {
            if let Some(value) = headers.get(&name) {
                waited.headers_mut().insert(name, value.clone());
            }
        }
        return Ok(waited);
    }
    Ok(response)
}

/// Response of a submit: the whole task if the client waited.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum SubmitResponse {
    Stored(TaskCreated),
    Waited(Box<TaskView>),
}

/// Responds with the new task, or with the one that holds its unique key.
pub(crate) fn answer(submitted: &Submitted) -> Result<impl IntoResponse + use<>, Problem> {
    let task = submitted.tasks.first();
    let task = task.ok_or_else(|| Problem::internal_error("the store returned no task"))?;
    let status = if task.holder.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/task/{}", task.id);
    let replayed = idempotency_key::replayed_header(submitted.replayed);
    Ok((
        status,
        [(header::LOCATION, location)],
        replayed,
        Json(SubmitResponse::Stored(TaskCreated::new(task))),
    ))
}

/// Runs a check inline with a small budget; if that runs out, repeats it from the start on a blocking thread.
pub(crate) async fn run_check<T: Send + 'static>(
    api: &Api,
    check: impl Fn(&Api, &mut InputBudget) -> T + Send + 'static,
) -> Result<T, Problem> {
    let mut budget = InputBudget::short();
    let run_check = check(api, &mut budget);
    if !budget.is_spent() {
        return Ok(run_check);
    }
    let api_clone = api.clone();
    api.check_pool.run(move || check(&api_clone, &mut InputBudget::full())).await
}

/// A valid task request. Its files become those of the task once they are stored.
pub(crate) struct CheckedTask {
    pub(crate) task: NewTask,
    pub(crate) files: Vec<GivenFile>,
}

impl CheckedTask {
    /// Returns the task of a request that may have no files.
    pub(crate) fn without_files(self) -> Result<NewTask, Refusal> {
        if self.files.is_empty() {
            return Ok(self.task);
        }
        let detail = "files come with tasks that POST /task or POST /task/batch submits";
        Err(Refusal { errors: FieldError::field("files", detail).into(), not_ready: None })
    }
}

/// Why a task request is refused: its errors, or a plugin that is not ready.
pub(crate) struct Refusal {
    pub(crate) errors: FieldErrors,
    pub(crate) not_ready: Option<String>,
}

impl Refusal {
    /// Words it for a request that nobody waits for.
    pub(crate) fn into_text(self) -> String {
        let errors = Some(self.errors.into_parts().0).filter(|detail| !detail.is_empty());
        errors.into_iter().chain(self.not_ready).collect::<Vec<_>>().join("; ")
    }

    /// Converts it to the problem of a single request.
    pub(crate) fn into_problem(self) -> Problem {
        match self.not_ready {
            Some(why) if self.errors.is_empty() => Problem::plugin_compiling(why),
            _ => Problem::invalid_request(self.errors),
        }
    }
}

/// Parses and validates the body, unless the server is draining.
async fn check(api: &Api, sender: &Identity, bytes: Bytes, now: Timestamp) -> Result<CheckedTask, Problem> {
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    let sending = sender.clone();
    let check = move |api: &Api, budget: &mut InputBudget| {
        if bytes.is_empty() {
            return check_fields(api, &sending, Fields::empty(&FIELDS), now, None, budget)
                .map_err(Refusal::into_problem);
        }
        let body = serde_json::from_slice(&bytes).map_err(|error| Problem::invalid_json(&error))?;
        check_one(api, &sending, body, now, None, budget).map_err(Refusal::into_problem)
    };
    let checked = run_check(api, check).await??;
    let pointer = |_, place| format!("/depends_on/{place}");
    lookup::check_dependencies(api, sender, std::slice::from_ref(&checked.task), pointer).await?;
    Ok(checked)
}

/// Validates one request of this sender, within its reach; in a batch, `earlier` holds the ids of the preceding tasks.
pub(crate) fn check_one(
    api: &Api,
    sender: &Identity,
    request: &RawValue,
    now: Timestamp,
    earlier: Option<&[TaskId]>,
    budget: &mut InputBudget,
) -> Result<CheckedTask, Refusal> {
    match Fields::read(request, &FIELDS) {
        Some(fields) => check_fields(api, sender, fields, now, earlier, budget),
        None => {
            let error =
                FieldError::body("a task request must be a JSON object such as {\"plugin\": \"io-stub\"}");
            Err(Refusal { errors: error.into(), not_ready: None })
        }
    }
}

fn check_fields(
    api: &Api,
    sender: &Identity,
    mut fields: Fields<'_>,
    now: Timestamp,
    earlier: Option<&[TaskId]>,
    budget: &mut InputBudget,
) -> Result<CheckedTask, Refusal> {
    let mut errors = FieldErrors::default();
    let mut take = |name: &str| fields.take(name);
    let mut not_ready = None;
    let plugin = match plugin(api, sender.reach(), take("plugin")) {
        Ok(plugin) => Some(plugin),
        Err(PluginError::Now(why)) => {
            not_ready = Some(why);
            None
        }
        Err(PluginError::Wrong(why)) => {
            errors.push(FieldError::field("plugin", why));
            None
        }
    };
    let config = plugin.as_ref().and_then(|plugin| api.runtime.plugin_config(plugin));
    let input = take("input").map(|value| value.get().to_owned());
    if let Some(plugin) = &plugin {
        check_input(api, plugin, input.as_deref(), budget, &mut errors);
    }
    let files = given::read(take("files"), config.as_deref(), &mut errors);
    let retry = config.as_ref().map(|config| config.retry).unwrap_or_default();
    let default_timeout = config.as_ref().map_or(api.config.timeout, |config| config.limits.timeout);
    let timeout = options::timeout(take("timeout"), api.config.timeout_max, default_timeout, &mut errors);
    let attempts_max =
        options::attempts_max(take("max_attempts"), retry.attempts_max.unwrap_or(1), &mut errors);
    let backoff = backoff(take("backoff"), &mut errors).or(retry.backoff);
    let Options { run_at, is_delayed, priority, tags, unique, dependencies, webhook, group } =
        options::take(&mut fields, now, earlier, &mut errors).within(
            sender,
            api.config.group_tag.as_deref(),
            &mut errors,
        );
    fields.report("", &mut errors);
    if let Some(config) = &config
        && let Err(why) = given::check_handed(config, dependencies.as_ref())
    {
        errors.push(FieldError::field("files_from", why));
    }
    match plugin {
        Some(plugin) if errors.is_empty() => {
            let task = NewTask {
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
                waiting_max: config.as_ref().and_then(|config| config.waiting_max),
                ..NewTask::new(plugin, now, timeout)
            };
            Ok(CheckedTask { task, files })
        }
        _ => Err(Refusal { errors, not_ready }),
    }
}

/// Why a plugin cannot be used.
enum PluginError {
    /// Its first version is compiling; the client should retry.
    Now(String),
    Wrong(String),
}

fn plugin(api: &Api, reach: &Reach, value: Option<&RawValue>) -> Result<PluginName, PluginError> {
    let name = match value.map(text) {
        None => DEFAULT_PLUGIN.to_owned(),
        Some(Some(name)) => name,
        Some(None) => return Err(PluginError::Wrong("plugin must be a string".to_owned())),
    };
    let name: PluginName =
        name.parse().map_err(|error: InvalidPluginName| PluginError::Wrong(error.to_string()))?;
    if !reach.covers_plugin(name.as_str()) {
        return Err(PluginError::Wrong(NotReadyError::Unknown(name).to_string()));
    }
    match api.runtime.check_ready(&name) {
        Ok(()) => Ok(name),
        Err(why @ NotReadyError::Compiling(_)) => Err(PluginError::Now(why.to_string())),
        Err(why) => Err(PluginError::Wrong(why.to_string())),
    }
}

/// Validates the input against the plugin's schema and kind.
pub(crate) fn check_input(
    api: &Api,
    plugin: &PluginName,
    input: Option<&str>,
    budget: &mut InputBudget,
    errors: &mut FieldErrors,
) {
    let violations = api.runtime.check_input(plugin, input, budget);
    let error =
        |violation: Violation| FieldError::at(format!("/input{}", violation.pointer), violation.message);
    errors.extend(violations.into_iter().map(error));
}

/// Specifies the response with a new task.
pub(crate) fn stored() -> ResponseSpec {
    created_spec("The task is stored.")
}

/// Specifies the response with the task that holds the unique key.
pub(crate) fn held() -> ResponseSpec {
    created_spec("The task that holds the unique key.")
}

fn created_spec(description: &'static str) -> ResponseSpec {
    ResponseSpec::json::<SubmitResponse>(description, TaskCreated::example())
        .header("Location", "Path of the task.", "^/task/[0-9a-f-]{36}$")
        .id_leads_to(&["getTask", "getTaskStatus", "getTaskResult", "cancelTask", "deleteTask"])
}

pub(crate) fn spec() -> Operation {
    let task = json!({
        "plugin": "io-stub", "input": {"min_ms": 500, "max_ms": 900, "fail_rate": 0}, "timeout": "30s",
        "max_attempts": 3, "backoff": {"first": "1s", "factor": 2, "max": "5m"},
    });
    let operation = wait::add_parameters(Operation::post("/task", "submitTask", "Submit a task"));
    trace::add_headers(idempotency_key::add_header(operation))
        .detail(
            "Without a body the default plugin runs. The task is on disk before the response. With a wait, \
             the response is the whole task. As a form, the request is the part `task`, and each part `files` \
             is a file whose file name is its name in the task; files of a form may be larger than memory.",
        )
        .json_body::<TaskRequest>("The task request.", vec![("task", task), ("default", json!({}))])
        .or_form::<TaskForm>()
        .responds(201, wait::add_applied_header(idempotency_key::add_replayed_header(stored())))
        .responds(200, wait::add_applied_header(idempotency_key::add_replayed_header(held())))
        .problems(&kind::JSON_BODY)
        .problems(&[kind::INVALID_JSON, kind::INVALID_REQUEST, kind::PLUGIN_COMPILING, kind::KEY_TAKEN])
        .problems(&kind::QUEUE_LIMITS)
        .problems(&kind::STORE_ACCESS)
}
