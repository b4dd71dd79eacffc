//! `POST /task/batch`: submits many tasks atomically.
//!
//! The body is a JSON array or newline-delimited JSON, and the response has the same format.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_access::Identity;
use wasmill_model::{NewTask, TaskId, Timestamp};
use wasmill_runtime::InputBudget;
use wasmill_store::{StoreError, Submitted};

use crate::http::authorize::{Sender, over_rate};
use crate::http::body::{IsNdjson, is_blank, read_batch};
use crate::http::idempotency_key;
use crate::http::trace::{self, Caller};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::problem::store::{
    key_queue_full, key_storage_full, key_taken, plugin_queue_full, unknown_dependency,
};
use crate::state::Api;
use crate::task::files::stage;
use crate::task::lookup;
use crate::task::request::dependencies::BATCH_DEPENDENCIES_MAX;
use crate::task::request::schema::TaskRequest;
use crate::task::submit::{self, CheckedTask};
use crate::view::task::TaskCreated;

/// Maximum number of tasks in a batch: it is one transaction, which delays other writes.
const TASKS_MAX: usize = 10_000;

/// Maximum number of files of all tasks of a batch: each is made durable by itself.
const FILES_MAX: usize = 1_000;

pub(crate) async fn batch(
    State(api): State<Api>,
    Sender(sender): Sender,
    Caller(caller): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (bytes, is_ndjson) = read_batch(&api.config.body, &headers, body).await?;
    let now = api.clock.now();
    let request = idempotency_key::read(
        &headers,
        &sender,
        if is_ndjson.0 { "batch of lines" } else { "batch" },
        &bytes,
    )?;
    if let Some(request) = &request
        && let Some(submitted) = api.store.find_submitted(request.clone(), now).await?
    {
        return respond(&submitted, is_ndjson);
    }
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    // Checking ten thousand requests takes long, so it runs on a blocking thread.
    let (checking, reading, sending) = (api.clone(), bytes.clone(), sender.clone());
    let tasks = api.check_pool.run(move || check(&checking, &sending, &reading, is_ndjson, now)).await??;
    // The request itself was counted with its key.
    let further = u32::try_from(tasks.len().saturating_sub(1)).unwrap_or(u32::MAX);
    sender.take_further(further).map_err(over_rate)?;
    let (tasks, files): (Vec<_>, Vec<_>) =
        tasks.into_iter().map(|CheckedTask { task, files }| (task, files)).unzip();
    let signed = |task| NewTask { trace: caller.clone(), ..sender.signed(task) };
    let mut tasks: Vec<_> = tasks.into_iter().map(signed).collect();
    let pointer = |index, place| format!("/{index}/depends_on/{place}");
    lookup::check_dependencies(&api, &sender, &tasks, pointer).await?;
    // Kept until the tasks refer to them.
    let _staged = stage::stage(&api, &mut tasks, files).await?;
    let submitted = match api.store.submit(tasks, request.map(|request| (request, now))).await {
        Err(StoreError::KeyTaken { index, key, holder }) => {
            return Err(key_taken(&format!("/{index}/unique_key"), &key, holder));
        }
        Err(StoreError::UnknownDependency { index, dependency_index: place, id }) => {
            return Err(unknown_dependency(format!("/{index}/depends_on/{place}"), id));
        }
        Err(StoreError::PluginFull { index, plugin, waiting_max }) => {
            return Err(plugin_queue_full(&plugin, waiting_max, Some(index)));
        }
        Err(StoreError::KeyQueueFull { index, key, waiting, waiting_max }) => {
            return Err(key_queue_full(&key, waiting, waiting_max, Some(index)));
        }
        Err(StoreError::KeyStorageFull { index, key, stored_bytes, stored_bytes_max }) => {
            return Err(key_storage_full(&key, stored_bytes, stored_bytes_max, Some(index)));
        }
        submitted => submitted?,
    };
    api.scheduler.wake();
    respond(&submitted, is_ndjson)
}

/// Parses and validates the body.
fn check(
    api: &Api,
    sender: &Identity,
    bytes: &Bytes,
    is_ndjson: IsNdjson,
    now: Timestamp,
) -> Result<Vec<CheckedTask>, Problem> {
    let items = if is_ndjson.0 { read_lines(bytes)? } else { read_array(bytes)? };
    if items.len() > TASKS_MAX {
        let detail = format!("a batch may hold at most {TASKS_MAX} task requests; split it");
        return Err(Problem::invalid_request(FieldError::body(detail)));
    }
    let mut budget = InputBudget::full();
    let (mut tasks, mut errors, mut not_ready) =
        (Vec::with_capacity(items.len()), FieldErrors::default(), None);
    // Invalid requests get an id too, so that indexes match; nothing is stored then.
    let (mut ids, mut dependencies, mut files) = (Vec::with_capacity(items.len()), 0, 0);
    for (index, item) in items.into_iter().enumerate() {
        match submit::check_one(api, sender, item, now, Some(&ids), &mut budget) {
            Ok(checked) => {
                let task = &checked.task;
                ids.push(task.id);
                files += checked.files.len();
                dependencies += task.dependencies.as_ref().map_or(0, |dependencies| dependencies.on.len());
                tasks.push(checked);
            }
            Err(refusal) => {
                ids.push(TaskId::new());
                errors.extend_under(&format!("/{index}"), refusal.errors);
                not_ready = not_ready.or(refusal.not_ready);
            }
        }
        if errors.is_full() {
            errors.mark_incomplete();
            break;
        }
    }
    if dependencies > BATCH_DEPENDENCIES_MAX {
        let detail = format!(
            "the tasks of a batch may have at most {BATCH_DEPENDENCIES_MAX} dependencies together, not \
             {dependencies}; split it"
        );
        errors.push(FieldError::body(detail));
    }
    if files > FILES_MAX {
        let detail = format!(
            "the tasks of a batch may have at most {FILES_MAX} files together, not {files}; split it"
        );
        errors.push(FieldError::body(detail));
    }
    match not_ready {
        _ if !errors.is_empty() => Err(Problem::invalid_request(errors)),
        Some(why) => Err(Problem::plugin_compiling(why)),
        None => Ok(tasks),
    }
}

fn read_array(bytes: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let body: &RawValue = serde_json::from_slice(bytes).map_err(|error| Problem::invalid_json(&error))?;
    let items: Items<'_> = serde_json::from_str(body.get()).map_err(|_| {
        Problem::invalid_request(FieldError::body("the body must be a JSON array of task requests"))
    })?;
    Ok(items.0)
}

fn read_lines(bytes: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !is_blank(line));
    // One more than allowed shows that there are too many.
    filled.take(TASKS_MAX + 1).map(|(number, line)| read_line(number, line)).collect()
}

fn read_line(number: usize, line: &[u8]) -> Result<&RawValue, Problem> {
    serde_json::from_slice(line).map_err(|error| invalid_json_line(number + 1, &error))
}

/// The items of an array, capped at one more than allowed.
struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;

        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while items.len() <= TASKS_MAX {
                    let Some(item) = seq.next_element()? else { return Ok(Items(items)) };
                    items.push(item);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Items(items))
            }
        }

        deserializer.deserialize_seq(ItemsVisitor)
    }
}

fn respond(submitted: &Submitted, is_ndjson: IsNdjson) -> Result<Response, Problem> {
    let headers = idempotency_key::replayed_header(submitted.replayed);
    let records = submitted.tasks.iter().map(TaskCreated::new);
    if !is_ndjson.0 {
        let records: Vec<_> = records.collect();
        return Ok((StatusCode::CREATED, headers, Json(records)).into_response());
    }
    let mut text = Vec::with_capacity(128 * submitted.tasks.len());
    for record in records {
        serde_json::to_writer(&mut text, &record)
            .map_err(|_| Problem::internal_error("failed to serialize the response of a batch"))?;
        text.push(b'\n');
    }
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::CREATED, headers, kind, text).into_response())
}

pub(crate) fn spec() -> Operation {
    let answered = ResponseSpec::json::<Vec<TaskCreated>>(
        "All tasks are stored. A task whose unique key is taken is replaced by the task that holds the key.",
        json!([TaskCreated::example()]),
    );
    let operation = Operation::post("/task/batch", "submitTasks", "Submit many tasks atomically");
    trace::add_headers(idempotency_key::add_header(operation))
        .detail(format!(
            "At most {TASKS_MAX} task requests, as an array, or as newline-delimited JSON with the content \
             type `application/x-ndjson`; the response has the same format."
        ))
        .json_body::<Vec<TaskRequest>>("The task requests.", vec![("two", json!([{}, {}]))])
        .body_required()
        .responds(201, idempotency_key::add_replayed_header(answered.or_lines()))
        .problems(&kind::JSON_BODY)
        .problems(&[kind::INVALID_JSON, kind::INVALID_REQUEST, kind::PLUGIN_COMPILING])
        .problems(&kind::QUEUE_LIMITS)
        .problems(&[kind::KEY_TAKEN])
        .problems(&kind::STORE_ACCESS)
}

fn invalid_json_line(line: usize, error: &serde_json::Error) -> Problem {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let error = error.to_string();
    // serde_json counts lines within this line only.
    let why = error.strip_suffix(&place).unwrap_or(&error);
    let column = place.rsplit(' ').next().unwrap_or_default();
    let detail = format!("line {line} of the body is not valid JSON: {why} at column {column}");
    Problem::of(kind::INVALID_JSON, detail)
}
