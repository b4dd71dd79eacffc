//! `GET /task/{id}/events` and `GET /events`: what happens to one task, or to all, as server-sent events.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use wasmill_model::{PluginName, Progress, Task, TaskId, TaskState, Timestamp};
use wasmill_store::{AllFollower, Change, Event, Follower, News, Told};

use crate::app::Api;
use crate::faults::{Fault, Faults};
use crate::filter;
use crate::openapi::values::{Name, plain};
use crate::openapi::{Answer, Operation};
use crate::params::Params;
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::record::{ProgressView, Rfc3339};
use crate::sse::{self, Source};

/// The least time between two pieces for one who follows all tasks, unless there is this much to tell: a busy
/// server commits, and would wake each follower, a thousand times a second.
const PACE: Duration = Duration::from_millis(20);
const MANY: usize = 64;

/// After how many events that are not wanted a client is told where it is.
const PASSED_OVER_MAX: usize = 512;

#[derive(Serialize)]
struct EventView<'a> {
    seq: u64,
    task: TaskId,
    plugin: &'a PluginName,
    time: Rfc3339,
    /// The state that the task is in now; `deleted` if it is in none.
    state: &'static str,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressView>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// When a task that waits again may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_at: Option<Rfc3339>,
    /// Whether this tells where the task stands rather than what happened just now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
}

pub(crate) async fn of_task(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = Api::task_id(&id)?;
    let place = api.followers.place()?;
    let mut follower = api.store.follow(id);
    let task = api.store.get_settled(id).await?;
    let resumes = sse::last_event_id(&headers).is_some_and(|last| follower.go_back(last));
    let mut told = None;
    if resumes && task.as_ref().is_none_or(|task| task.state.is_final()) {
        told = follower.now();
        // A browser comes back after every end; this is how it learns that it need not.
        if told.is_none() && task.is_some() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    if told.is_none() {
        Api::found(id, Ok(task))?;
    }
    let scheduler = api.scheduler.clone();
    let following = OfTask { api, id, follower, told, is_lost: !resumes, plugin: None, has_ended: false };
    Ok(sse::stream(following, scheduler, place))
}

pub(crate) async fn of_all(
    State(api): State<Api>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let plugin = check(&params)?;
    let place = api.followers.place()?;
    let mut follower = api.store.follow_all();
    if let Some(last) = sse::last_event_id(&headers) {
        follower.go_back(last);
    }
    Ok(sse::stream(OfAll { follower, plugin, passed_over: 0, look_at: None }, api.scheduler.clone(), place))
}

/// Reads of which plugin the events are wanted.
fn check(params: &Params) -> Result<Option<PluginName>, Problem> {
    let (mut plugin, mut faults) = (None, Faults::default());
    for (name, value) in params.iter().filter(|(name, _)| *name == "plugin") {
        plugin = value.parse().ok();
        if plugin.is_none() {
            faults.push(Fault::parameter(name, format!("plugin must be {}", filter::PLUGIN_NAME)));
        }
    }
    Problem::unless(faults, plugin)
}

fn about(operation: Operation) -> Operation {
    let stream = "Server-sent events `created`, `started`, `progress`, `parked`, `retrying`, `completed`, `failed`, \
                  `cancelled` and `deleted`; the data is JSON with the keys seq, task, plugin, time, state and \
                  attempt, and progress, cause or ready_at where they apply.";
    let last = json!({"type": "string", "examples": ["4711"]});
    operation
        .header(
            "Last-Event-ID",
            "The id of the last event that was seen: the stream goes on after it.",
            &last,
        )
        .answers(200, Answer::text(stream, "text/event-stream"))
        .problems(&[kind::TOO_MANY_FOLLOWERS])
}

pub(crate) fn about_of_task() -> Operation {
    about(Operation::get("/task/{id}/events", "followTask", "Follow what happens to a task"))
        .detail("Begins with where the task stands, and closes when it has ended.")
        .answers(204, Answer::empty("The task has ended, and the client has seen it all."))
        .problems(&kind::OF_TASK)
}

pub(crate) fn about_of_all() -> Operation {
    about(Operation::get("/events", "followAll", "Follow what happens to all tasks"))
        .query("plugin", "Only what happens to tasks of this plugin.", &plain::<Name>())
        .detail(
            "Begins with what happens next, or after `Last-Event-ID`; an event `gap` tells what was missed.",
        )
}

/// One who follows a task.
struct OfTask {
    api: Api,
    id: TaskId,
    follower: Follower,
    /// What it was told and has not sent yet.
    told: Option<Told>,
    /// Whether it has to be told first where the task stands.
    is_lost: bool,
    plugin: Option<PluginName>,
    has_ended: bool,
}

impl Source for OfTask {
    async fn next(&mut self) -> Option<String> {
        while !self.has_ended {
            if self.is_lost {
                return self.find_its_way().await;
            }
            let told = match self.told.take() {
                Some(told) => told,
                None => self.follower.next().await,
            };
            match told {
                Told::Events(events) => return Some(self.send(events)),
                Told::Missed { .. } => self.is_lost = true,
            }
        }
        None
    }
}

impl OfTask {
    /// Tells where the task stands, and goes on from there.
    async fn find_its_way(&mut self) -> Option<String> {
        let Ok(task) = self.api.store.get_settled(self.id).await else {
            // The client comes back.
            self.has_ended = true;
            return None;
        };
        self.is_lost = false;
        let now = self.api.clock.now();
        let mut seq = self.follower.place();
        let mut newer = Vec::new();
        while let Some(told) = self.follower.now() {
            match told {
                Told::Events(events) => newer.extend(events),
                Told::Missed { until, .. } => {
                    newer.clear();
                    seq = until;
                }
            }
        }
        // What led to where it stands was told by then, and is not told again.
        let known = newer.iter().rposition(|event| leads_to(&event.news, task.as_ref()));
        if let Some(known) = known {
            seq = newer[known].seq;
            newer.drain(..=known);
        }
        let snapshot = match (&task, &self.plugin) {
            (Some(task), _) => snapshot(task, seq, now),
            (None, Some(plugin)) => deleted(self.id, plugin.clone(), seq, now),
            (None, None) => {
                self.has_ended = true;
                return None;
            }
        };
        self.has_ended = snapshot.news.change.is_last();
        let progress = task.and_then(|task| task.progress);
        let mut piece = write(&snapshot, progress.as_ref(), true);
        self.plugin = Some(snapshot.news.plugin);
        if !self.has_ended {
            piece.push_str(&self.send(newer));
        }
        Some(piece)
    }

    fn send(&mut self, events: Vec<Event>) -> String {
        let mut piece = String::new();
        for event in events {
            piece.push_str(&write(&event, None, false));
            if event.news.change.is_last() {
                self.has_ended = true;
                break;
            }
            self.plugin = Some(event.news.plugin);
        }
        piece
    }
}

/// Says whether a task stands where these news leave it. Two moves to one state have another in between, so
/// the newest that fits is the one that was seen.
fn leads_to(news: &News, task: Option<&Task>) -> bool {
    let state = task.map(|task| task.state);
    // A run that does not count gives its attempt back.
    let same_attempt =
        state != Some(TaskState::Running) || task.is_some_and(|task| task.attempt == news.attempt);
    news.change.is_move() && news.change.state() == state && same_attempt
}

fn snapshot(task: &Task, seq: u64, now: Timestamp) -> Event {
    let ended = task.finished_at.unwrap_or(now);
    let (change, time) = match task.state {
        TaskState::Waiting if task.attempt == 0 => (Change::Created, task.created_at),
        TaskState::Waiting if task.parks > 0 => (Change::Parked(task.ready_at), now),
        TaskState::Waiting => (Change::Retrying(task.ready_at), now),
        TaskState::Running => (Change::Started, task.started_at.unwrap_or(now)),
        TaskState::Completed => (Change::Completed, ended),
        TaskState::Cancelled => (Change::Cancelled, ended),
        TaskState::Failed => {
            let cause = task.failure.as_ref().map_or(wasmill_model::Cause::HostFault, |why| why.cause);
            (Change::Failed(cause), ended)
        }
    };
    let (id, plugin, attempt) = (task.id, task.plugin.clone(), task.attempt);
    Event { seq, news: News { task: id, plugin, attempt, time, change } }
}

fn deleted(task: TaskId, plugin: PluginName, seq: u64, time: Timestamp) -> Event {
    Event { seq, news: News { task, plugin, attempt: 0, time, change: Change::Deleted } }
}

fn write(event: &Event, progress: Option<&Progress>, snapshot: bool) -> String {
    let Event { seq, news: News { task, plugin, attempt, time, change } } = event;
    let progress = match change {
        Change::Progress(progress) => Some(progress),
        _ => progress,
    };
    let view = EventView {
        seq: *seq,
        task: *task,
        plugin,
        time: Rfc3339(*time),
        state: change.state().map_or("deleted", TaskState::as_str),
        attempt: *attempt,
        progress: progress.cloned().map(ProgressView::from),
        cause: if let Change::Failed(cause) = change { Some(cause.to_string()) } else { None },
        ready_at: match change {
            Change::Parked(at) | Change::Retrying(at) => Some(Rfc3339(*at)),
            _ => None,
        },
        snapshot,
    };
    sse::event(change.as_str(), Some(*seq), &view)
}

/// One who follows all tasks.
struct OfAll {
    follower: AllFollower,
    /// The plugin whose events are wanted; those of all if there is none.
    plugin: Option<PluginName>,
    /// Events that were not wanted since the last that was sent.
    passed_over: usize,
    /// When to look again at the earliest.
    look_at: Option<Instant>,
}

#[derive(Serialize)]
struct Gap {
    /// The last event that the client has seen, as it says.
    after: u64,
    /// The last one that it will not see.
    seq: u64,
}

impl OfAll {
    /// Writes those that are wanted. After many others only where the client is, so that it need not come back to
    /// a place that is not known any more.
    fn write(&mut self, events: &[Event]) -> String {
        let is_wanted =
            |event: &&Event| self.plugin.as_ref().is_none_or(|plugin| event.news.plugin == *plugin);
        let wanted: Vec<_> = events.iter().filter(is_wanted).collect();
        self.passed_over = if wanted.is_empty() { self.passed_over + events.len() } else { 0 };
        match events.last() {
            Some(last) if self.passed_over >= PASSED_OVER_MAX => {
                self.passed_over = 0;
                format!("id: {}\n\n", last.seq)
            }
            _ => wanted.into_iter().map(|event| write(event, None, false)).collect(),
        }
    }
}

impl Source for OfAll {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(look_at) = self.look_at {
                tokio::time::sleep_until(look_at).await;
            }
            let events = match self.follower.next().await {
                Told::Events(events) => events,
                Told::Missed { after, until } => {
                    return Some(sse::event("gap", Some(until), &Gap { after, seq: until }));
                }
            };
            self.look_at = (events.len() < MANY).then(|| Instant::now() + PACE);
            let piece = self.write(&events);
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }
}
