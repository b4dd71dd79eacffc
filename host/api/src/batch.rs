//! `POST /task/batch`: many task requests at once, all of them stored or none.
//!
//! They come as a JSON array or as lines of JSON, and are answered in kind.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_model::{NewTask, TaskId, Timestamp};
use wasmill_runtime::InputBudget;
use wasmill_store::{StoreError, Submitted};

use crate::app::Api;
use crate::body::{Lines, is_blank, read_batch};
use crate::depends::OF_BATCH_MAX;
use crate::faults::{Fault, Faults};
use crate::openapi::{Answer as Described, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::record::Accepted;
use crate::trace::{self, Caller};
use crate::{request_key, submit};

/// The most tasks in one batch: they are one write of the store, which others wait for.
const TASKS_MAX: usize = 10_000;

pub(crate) async fn batch(
    State(api): State<Api>,
    Caller(caller): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (bytes, lines) = read_batch(&api.config, &headers, body).await?;
    let now = api.clock.now();
    let request = request_key::read(&headers, if lines.0 { "batch of lines" } else { "batch" }, &bytes)?;
    if let Some(request) = &request
        && let Some(submitted) = api.store.submitted(request.clone(), now).await?
    {
        return answer(&submitted, lines);
    }
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    // Reading ten thousand requests takes a while: not on a thread that serves others.
    // The bytes are held until the tasks that were made of them are stored.
    let (checking, reading) = (api.clone(), bytes.clone());
    let mut tasks = api.long_checks.run(move || check(&checking, &reading, lines, now)).await??;
    if caller.is_some() {
        tasks.iter_mut().for_each(|task| task.trace.clone_from(&caller));
    }
    let submitted = match api.store.submit(tasks, request.map(|request| (request, now))).await {
        Err(StoreError::KeyTaken { index, key, holder }) => {
            return Err(Problem::key_taken(&format!("/{index}/unique_key"), &key, holder));
        }
        Err(StoreError::UnknownDependency { index, place, id }) => {
            return Err(Problem::unknown_dependency(format!("/{index}/depends_on/{place}"), id));
        }
        Err(StoreError::PluginFull { index, plugin, waiting_max }) => {
            return Err(Problem::plugin_full(&plugin, waiting_max, Some(index)));
        }
        submitted => submitted?,
    };
    api.scheduler.wake();
    answer(&submitted, lines)
}

/// Turns the body into tasks that may be stored, or names what is wrong with them.
fn check(api: &Api, bytes: &Bytes, lines: Lines, now: Timestamp) -> Result<Vec<NewTask>, Problem> {
    let items = if lines.0 { read_lines(bytes)? } else { read_array(bytes)? };
    if items.len() > TASKS_MAX {
        let detail = format!("a batch holds at most {TASKS_MAX} task requests; send the rest in another");
        return Err(Problem::invalid_request(Fault::body(detail)));
    }
    let mut budget = InputBudget::full();
    let (mut tasks, mut faults, mut later) = (Vec::with_capacity(items.len()), Faults::default(), None);
    // Those with a fault stand in it too, so that places are right; nothing is stored then.
    let (mut ids, mut dependencies) = (Vec::with_capacity(items.len()), 0);
    for (index, item) in items.into_iter().enumerate() {
        match submit::check_one(api, item, now, Some(&ids), &mut budget) {
            Ok(task) => {
                ids.push(task.id);
                dependencies += task.dependencies.as_ref().map_or(0, |dependencies| dependencies.on.len());
                tasks.push(task);
            }
            Err(refusal) => {
                ids.push(TaskId::new());
                faults.extend_under(&format!("/{index}"), refusal.faults);
                later = later.or(refusal.later);
            }
        }
        if faults.is_full() {
            faults.stop();
            break;
        }
    }
    if dependencies > OF_BATCH_MAX {
        let detail = format!(
            "the tasks of a batch wait for at most {OF_BATCH_MAX} tasks together, not {dependencies}; send some \
             of them in another"
        );
        faults.push(Fault::body(detail));
    }
    match later {
        _ if !faults.is_empty() => Err(Problem::invalid_request(faults)),
        Some(why) => Err(Problem::plugin_compiling(why)),
        None => Ok(tasks),
    }
}

fn read_array(bytes: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let body: &RawValue = serde_json::from_slice(bytes).map_err(|error| Problem::invalid_json(&error))?;
    let items: Items<'_> = serde_json::from_str(body.get()).map_err(|_| {
        Problem::invalid_request(Fault::body("the body must be a JSON array of task requests"))
    })?;
    Ok(items.0)
}

fn read_lines(bytes: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !is_blank(line));
    // One more shows that there are too many.
    filled.take(TASKS_MAX + 1).map(|(number, line)| read_line(number, line)).collect()
}

fn read_line(number: usize, line: &[u8]) -> Result<&RawValue, Problem> {
    serde_json::from_slice(line).map_err(|error| Problem::invalid_json_line(number + 1, &error))
}

/// The items of an array, no more of them than show that there are too many.
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

fn answer(submitted: &Submitted, lines: Lines) -> Result<Response, Problem> {
    let headers = request_key::mark(submitted.replayed);
    let records = submitted.tasks.iter().map(Accepted::new);
    if !lines.0 {
        let records: Vec<_> = records.collect();
        return Ok((StatusCode::CREATED, headers, Json(records)).into_response());
    }
    let mut text = Vec::with_capacity(128 * submitted.tasks.len());
    for record in records {
        serde_json::to_writer(&mut text, &record)
            .map_err(|_| Problem::internal_fault("writing the answer to a batch failed"))?;
        text.push(b'\n');
    }
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::CREATED, headers, kind, text).into_response())
}

pub(crate) fn about() -> Operation {
    let answered = Described::json::<Vec<Accepted>>(
        "All are stored and will run; those whose key is held are answered with the holder.",
        json!([submit::accepted_example()]),
    );
    let operation = Operation::post("/task/batch", "submitTasks", "Submit many tasks, all or none");
    trace::about(request_key::about(operation))
        .detail(format!(
            "At most {TASKS_MAX} task requests, as an array, or as lines of JSON with the content type \
             `application/x-ndjson`, which is answered in kind."
        ))
        .json_body::<Vec<submit::TaskRequest>>("What is to be done.", vec![("two", json!([{}, {}]))])
        .body_required()
        .answers(201, request_key::marked(answered.or_lines()))
        .problems(&kind::OF_JSON_BODY)
        .problems(&[kind::INVALID_JSON, kind::INVALID_REQUEST, kind::PLUGIN_COMPILING])
        .problems(&[kind::WAITING_LINE_FULL, kind::PLUGIN_LINE_FULL, kind::KEY_TAKEN])
        .problems(&kind::OF_STORE)
}
