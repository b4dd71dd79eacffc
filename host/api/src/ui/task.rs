//! `GET /ui/task/{id}` and its tabs: one task.

pub(crate) mod log;

use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use data_encoding::BASE64;
use futures_util::future::join_all;
use wasmill_ui::record::{Activity, Delivery, Task};
use wasmill_ui::task::{Content, LogTail, Now, Tab, View as Shown, Wanted, page};

use crate::http::params::whole_number;
use crate::openapi::Operation;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::{Problem, kind};
use crate::ui::page::{View, spec as page_spec};
use crate::ui::rest::{Rest, encoded, read};
use crate::view::time::Rfc3339;

/// Dependencies whose state is shown.
const DEPENDS_MAX: usize = 100;

/// A tab that shows bytes, in a view that may be chosen.
pub(crate) fn value_spec(path: &'static str) -> Operation {
    page_spec(path).parameter("as").parameter("from")
}

/// Which tab.
#[derive(Clone, Copy)]
enum Part {
    Log,
    Result,
    Input,
    Checkpoint,
    Depends,
    Webhook,
    Record,
}

pub(crate) async fn show_log(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    show(view, &id, Part::Log).await
}

pub(crate) async fn result(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    show(view, &id, Part::Result).await
}

pub(crate) async fn input(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    show(view, &id, Part::Input).await
}

pub(crate) async fn checkpoint(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    show(view, &id, Part::Checkpoint).await
}

pub(crate) async fn depends(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    show(view, &id, Part::Depends).await
}

pub(crate) async fn webhook(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    show(view, &id, Part::Webhook).await
}

pub(crate) async fn record(view: View, Path(id): Path<String>) -> Result<Response, Problem> {
    show(view, &id, Part::Record).await
}

async fn show(view: View, id: &str, part: Part) -> Result<Response, Problem> {
    let turn = view.turn().await;
    if let Some(kept) = view.kept(turn.as_ref()) {
        return Ok(kept);
    }
    let wanted = wanted(&view)?;
    let path = format!("/task/{}", encoded(id));
    let json = view.rest.bytes(Method::GET, &path, None, None).await?;
    let mut task: Task = read(&json)?;
    let tab = match part {
        // A poll patches what is beside the log; `log.js` follows the log itself.
        Part::Log if turn.is_some() => Tab::Log(LogTail::default()),
        Part::Log => Tab::Log(log::tail(&view.rest, &path, log::filter(&view)?).await?),
        Part::Result => Tab::Result(take_result(&mut task), wanted),
        Part::Input => Tab::Input(input_of(&view.rest, &path).await?, wanted),
        Part::Checkpoint => Tab::Checkpoint(saved(&view.rest, &path).await?, wanted),
        Part::Depends => {
            let on = tasks(&view.rest, task.depends_on.iter().map(|on| on.id.clone())).await?;
            Tab::Depends(on, view.rest.get(&format!("{path}/dependents?limit=100")).await?)
        }
        Part::Webhook => Tab::Webhook(delivery(&view.rest, &path).await?),
        Part::Record => Tab::Record(String::from_utf8_lossy(&json).into_owned()),
    };
    let now = now(&view, &task, &path).await?;
    let site = view.site().await;
    Ok(view.show(turn, &site, &page(&site, &task, &now, &tab)))
}

/// Gets why it waits, or what it does.
async fn now(view: &View, task: &Task, path: &str) -> Result<Now, Problem> {
    let mut now = Now::default();
    if task.queue_state.is_some() {
        now.why = Some(view.rest.get(&format!("{path}/why")).await?);
    }
    if task.state == "running" {
        let activity: Activity = view.rest.get(&format!("{path}/activity")).await?;
        now.activity = Some(Activity { read_at: Rfc3339(view.api.clock.now()).to_string(), ..activity });
    }
    Ok(now)
}

async fn input_of(rest: &Rest, path: &str) -> Result<Content, Problem> {
    let bytes = rest.bytes(Method::GET, &format!("{path}/input"), None, None).await?;
    Ok(Content { bytes: bytes.to_vec(), media: None })
}

/// Takes the result out of a record, decoded if it is bytes.
pub(crate) fn take_result(task: &mut Task) -> Option<Content> {
    let text = task.result.take()?;
    let decoded = task.result_encoding.as_ref().and_then(|_| BASE64.decode(text.as_bytes()).ok());
    Some(Content { bytes: decoded.unwrap_or_else(|| text.into_bytes()), media: task.result_type.take() })
}

/// Reads how bytes are to be shown.
fn wanted(view: &View) -> Result<Wanted, Problem> {
    let (mut wanted, mut errors) = (Wanted::default(), FieldErrors::default());
    if let Some(name) = view.param("as") {
        wanted.view = Shown::named(name);
        if wanted.view.is_none() {
            errors.push(FieldError::parameter("as", format!("as must be {}", Shown::NAMES)));
        }
    }
    if let Some(from) = view.param("from") {
        match whole_number(from).and_then(|from| usize::try_from(from).ok()) {
            Some(from) => wanted.from = from,
            None => errors.push(FieldError::parameter("from", "from must be the number of a byte, from 0")),
        }
    }
    Problem::reject_errors(errors, wanted)
}

/// Gets these tasks, as far as they are still stored.
async fn tasks(rest: &Rest, ids: impl Iterator<Item = String>) -> Result<Vec<Task>, Problem> {
    let get = |id: String| async move {
        let task = rest.get::<Task>(&format!("/task/{}/status", encoded(&id))).await;
        (id, task)
    };
    let mut found = Vec::new();
    for (id, task) in join_all(ids.take(DEPENDS_MAX).map(get)).await {
        match task {
            Ok(task) => found.push(Task { id, ..task }),
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
                found.push(Task { id, ..Task::default() });
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(found)
}

async fn saved(rest: &Rest, path: &str) -> Result<Option<Content>, Problem> {
    match rest.bytes(Method::GET, &format!("{path}/checkpoint"), None, None).await {
        Ok(bytes) => Ok(Some(Content { bytes: bytes.to_vec(), media: None })),
        Err(problem) if problem.code() == kind::NO_CHECKPOINT.code => Ok(None),
        Err(problem) => Err(problem),
    }
}

async fn delivery(rest: &Rest, path: &str) -> Result<Option<Delivery>, Problem> {
    match rest.get(&format!("{path}/webhook")).await {
        Ok(delivery) => Ok(Some(delivery)),
        Err(problem) if problem.code() == kind::NO_WEBHOOK.code => Ok(None),
        Err(problem) => Err(problem),
    }
}
