//! `GET /task/{id}/events` and `GET /events`: server-sent events of one task, or of all tasks.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use wasmill_access::Scope;
use wasmill_model::{PluginName, Task, TaskId, TaskState, Timestamp};
use wasmill_store::{Event, EventKind, EventPayload, Received, Subscriber, TaskSubscriber};

use crate::event::message::write;
use crate::event::sampled::{Pace, SAMPLE_MAX, SampledStream};
use crate::event::within::Within;
use crate::http::authorize::Sender;
use crate::http::params::{Params, whole_number};
use crate::http::sse::{self, ChunkSource};
use crate::openapi::schema::{NameSchema, plain};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};
use crate::task::request::filter;

/// Minimum interval between chunks of an all-tasks stream, unless this many events are ready: a busy server
/// commits a thousand times a second, and would wake every stream each time.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(20);
const FULL_BATCH: usize = 64;

/// Number of filtered-out events after which the client gets its current position.
const SKIPPED_MAX: usize = 512;

pub(crate) async fn task_events(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parse_task_id(&id)?;
    let permit = api.stream_limit.permit(&sender)?;
    let mut follower = api.store.subscribe(id);
    let task = api.store.get_after_events(id).await?;
    let submitted_by = task.as_ref().and_then(|task| task.submitted_by.clone());
    let resumes = sse::last_event_id(&headers).is_some_and(|last| follower.resume_from(last));
    let mut pending = None;
    if resumes && task.as_ref().is_none_or(|task| task.state.is_final()) {
        pending = follower.now();
        // A browser reconnects after every end of a stream, unless it gets 204.
        if pending.is_none() && task.is_some() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    if pending.is_none() {
        require_task(id, Ok(task))?;
    }
    let scheduler = api.scheduler.clone();
    let has_notes = sender.may_read(submitted_by.as_deref());
    let stream = TaskEventStream {
        api,
        id,
        follower,
        pending,
        needs_snapshot: !resumes,
        has_notes,
        plugin: None,
        is_finished: false,
    };
    Ok(sse::stream(stream, scheduler, permit))
}

pub(crate) async fn all_events(
    State(api): State<Api>,
    Sender(sender): Sender,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let within = Within::of(&api, &sender);
    let AllEventsParams { plugin, sample } = check(&params, within.is_some())?;
    let permit = api.stream_limit.permit(&sender)?;
    let mut follower = api.store.subscribe_all();
    if let Some(last) = sse::last_event_id(&headers) {
        follower.resume_from(last);
    }
    let has_notes = sender.may(Scope::Read);
    if let Some(per_second) = sample {
        let stream = SampledStream { follower, plugin, has_notes, pace: Pace::new(per_second) };
        return Ok(sse::stream(stream, api.scheduler.clone(), permit));
    }
    Ok(sse::stream(
        AllEventStream { follower, plugin, within, has_notes, skipped: 0, next_read_at: None },
        api.scheduler.clone(),
        permit,
    ))
}

#[derive(Default)]
struct AllEventsParams {
    plugin: Option<PluginName>,
    /// Maximum events a second.
    sample: Option<usize>,
}

fn check(params: &Params, is_bounded: bool) -> Result<AllEventsParams, Problem> {
    let (mut read, mut errors) = (AllEventsParams::default(), FieldErrors::default());
    for (name, value) in params.iter() {
        if name == "sample" && is_bounded {
            let detail = "sample counts the events that are left out, which are of others, too; a key with a reach gets all \
                          events of its tasks";
            errors.push(FieldError::parameter(name, detail));
            continue;
        }
        if name == "sample" {
            let sample = whole_number(value).and_then(|sample| usize::try_from(sample).ok());
            read.sample = sample.filter(|sample| (1..=SAMPLE_MAX).contains(sample));
            if read.sample.is_none() {
                let detail = format!("sample must be an integer from 1 to {SAMPLE_MAX}");
                errors.push(FieldError::parameter(name, detail));
            }
            continue;
        }
        read.plugin = value.parse().ok();
        if read.plugin.is_none() {
            errors.push(FieldError::parameter(name, format!("plugin must be {}", filter::PLUGIN_NAME)));
        }
    }
    Problem::reject_errors(errors, read)
}

fn add_stream(operation: Operation) -> Operation {
    let stream = "Server-sent events `created`, `started`, `progress`, `suspended`, `retrying`, `completed`, \
                  `failed`, \
                  `cancelled` and `deleted`; the data is JSON with the keys seq, task, plugin, time, state and \
                  attempt, and progress, cause or ready_at where they apply.";
    let last = json!({"type": "string", "examples": ["4711"]});
    operation
        .header("Last-Event-ID", "Id of the last event received; the stream resumes after it.", &last)
        .responds(200, ResponseSpec::text(stream, "text/event-stream"))
        .problems(&[kind::KEY_STREAMS_FULL, kind::TOO_MANY_STREAMS])
}

pub(crate) fn task_events_spec() -> Operation {
    add_stream(Operation::get("/task/{id}/events", "followTask", "Stream the events of a task"))
        .detail("Starts with the current state of the task, and closes when the task has finished.")
        .responds(
            204,
            ResponseSpec::empty("The task has finished, and the client has received all its events."),
        )
        .problems(&kind::TASK_ACCESS)
}

pub(crate) fn all_events_spec() -> Operation {
    let sample = json!({"type": "integer", "minimum": 1, "maximum": SAMPLE_MAX});
    add_stream(Operation::get("/events", "followAll", "Stream the events of all tasks"))
        .query("plugin", "Only events of this plugin's tasks.", &plain::<NameSchema>())
        .query("sample", "At most this many events a second, the newest.", &sample)
        .detail(
            "Starts with the next event, or after `Last-Event-ID`; an event `gap` reports lost events. With `sample`, an \
             event `left-out` counts those that were not sent, of which the server looks at 10,000 a second: with \
             `plugin`, the others count whatever their plugin. A key with a reach gets the events of its tasks, without the deletion of one that had no \
             other event before, and no `sample`.",
        )
}

struct TaskEventStream {
    api: Api,
    id: TaskId,
    follower: TaskSubscriber,
    /// Received and not yet sent.
    pending: Option<Received>,
    /// Whether a snapshot of the task must be sent first.
    needs_snapshot: bool,
    /// Whether the client may read the notes of the guest.
    has_notes: bool,
    plugin: Option<PluginName>,
    is_finished: bool,
}

impl ChunkSource for TaskEventStream {
    async fn next(&mut self) -> Option<String> {
        while !self.is_finished {
            if self.needs_snapshot {
                return self.resync().await;
            }
            let pending = match self.pending.take() {
                Some(pending) => pending,
                None => self.follower.next().await,
            };
            match pending {
                Received::Events(events) => return Some(self.send(events)),
                Received::Lagged { .. } => self.needs_snapshot = true,
            }
        }
        None
    }
}

impl TaskEventStream {
    /// Sends a snapshot of the task, followed by newer events.
    async fn resync(&mut self) -> Option<String> {
        let Ok(task) = self.api.store.get_after_events(self.id).await else {
            // The client reconnects.
            self.is_finished = true;
            return None;
        };
        self.needs_snapshot = false;
        let now = self.api.clock.now();
        let mut seq = self.follower.position();
        let mut newer = Vec::new();
        while let Some(pending) = self.follower.now() {
            match pending {
                Received::Events(events) => newer.extend(events),
                Received::Lagged { until, .. } => {
                    newer.clear();
                    seq = until;
                }
            }
        }
        // The snapshot already covers the events up to its own state.
        let known = newer.iter().rposition(|event| matches_state(&event.payload, task.as_ref()));
        if let Some(known) = known {
            seq = newer[known].seq;
            newer.drain(..=known);
        }
        let snapshot = match (&task, &self.plugin) {
            (Some(task), _) => snapshot(task, seq, now),
            (None, Some(plugin)) => deleted(self.id, plugin.clone(), seq, now),
            (None, None) => {
                self.is_finished = true;
                return None;
            }
        };
        self.is_finished = snapshot.payload.kind.is_last();
        let progress = task.and_then(|task| task.progress);
        let mut chunk = write(&snapshot, progress.as_ref(), true, self.has_notes);
        self.plugin = Some(snapshot.payload.plugin);
        if !self.is_finished {
            chunk.push_str(&self.send(newer));
        }
        Some(chunk)
    }

    fn send(&mut self, events: Vec<Event>) -> String {
        let mut chunk = String::new();
        for event in events {
            chunk.push_str(&write(&event, None, false, self.has_notes));
            if event.payload.kind.is_last() {
                self.is_finished = true;
                break;
            }
            self.plugin = Some(event.payload.plugin);
        }
        chunk
    }
}

/// Returns true if the task is in the state that this event leads to. Two transitions to one state have
/// another in between, so the newest match is the right one.
fn matches_state(payload: &EventPayload, task: Option<&Task>) -> bool {
    let state = task.map(|task| task.state);
    // An interrupted run returns its attempt number.
    let same_attempt =
        state != Some(TaskState::Running) || task.is_some_and(|task| task.attempt == payload.attempt);
    payload.kind.is_move() && payload.kind.phase() == state.map(TaskState::phase) && same_attempt
}

fn snapshot(task: &Task, seq: u64, now: Timestamp) -> Event {
    let finished_at = task.finished_at.unwrap_or(now);
    let (kind, time) = match task.state {
        state if state.is_waiting() && task.attempt == 0 => (EventKind::Created, task.created_at),
        state if state.is_waiting() && task.suspensions > 0 => (EventKind::Suspended(task.ready_at), now),
        TaskState::Blocked | TaskState::Scheduled | TaskState::Suspended | TaskState::Available => {
            (EventKind::Retrying(task.ready_at), now)
        }
        TaskState::Running => (EventKind::Started, task.started_at.unwrap_or(now)),
        TaskState::Completed => (EventKind::Completed, finished_at),
        TaskState::Cancelled => (EventKind::Cancelled, finished_at),
        TaskState::Failed => {
            let cause = task.failure.as_ref().map_or(wasmill_model::Cause::HostFault, |why| why.cause);
            (EventKind::Failed(cause), finished_at)
        }
    };
    let (id, plugin, attempt) = (task.id, task.plugin.clone(), task.attempt);
    Event { seq, payload: EventPayload { task: id, plugin, attempt, time, kind } }
}

fn deleted(task: TaskId, plugin: PluginName, seq: u64, time: Timestamp) -> Event {
    Event { seq, payload: EventPayload { task, plugin, attempt: 0, time, kind: EventKind::Deleted } }
}

/// Event stream of all tasks.
struct AllEventStream {
    follower: Subscriber,
    /// Only events of this plugin, if set.
    plugin: Option<PluginName>,
    /// Only events of tasks within the reach of the client, if it has one.
    within: Option<Within>,
    /// Whether the client may read the notes of guests.
    has_notes: bool,
    /// Events filtered out since the last one sent.
    skipped: usize,
    /// Earliest time of the next read.
    next_read_at: Option<Instant>,
}

#[derive(Serialize)]
struct GapEvent {
    /// The last event that the client has seen.
    after: u64,
    /// The last event that is lost.
    seq: u64,
}

impl AllEventStream {
    /// Formats the matching events. After many others it sends only the position, so that a reconnecting
    /// client does not resume from an expired one.
    fn write(&mut self, events: &[Event]) -> String {
        let accepts_event_stream =
            |event: &&Event| self.plugin.as_ref().is_none_or(|plugin| event.payload.plugin == *plugin);
        let wanted: Vec<_> = events.iter().filter(accepts_event_stream).collect();
        // How much others do is not for a client with a reach.
        let is_skipped = wanted.is_empty() && self.within.is_none();
        self.skipped = if is_skipped { self.skipped + events.len() } else { 0 };
        match events.last() {
            Some(last) if self.skipped >= SKIPPED_MAX => {
                self.skipped = 0;
                format!("id: {}\n\n", last.seq)
            }
            _ => wanted.into_iter().map(|event| write(event, None, false, self.has_notes)).collect(),
        }
    }
}

impl ChunkSource for AllEventStream {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(next_read_at) = self.next_read_at {
                tokio::time::sleep_until(next_read_at).await;
            }
            let events = match self.follower.next().await {
                Received::Events(events) => events,
                Received::Lagged { after, until } => {
                    return Some(sse::event("gap", Some(until), &GapEvent { after, seq: until }));
                }
            };
            self.next_read_at = (events.len() < FULL_BATCH).then(|| Instant::now() + MIN_READ_INTERVAL);
            let events = match &mut self.within {
                Some(within) => match within.filter(events).await {
                    Ok(events) => events,
                    Err(error) => {
                        // The client reconnects.
                        tracing::debug!(%error, "event stream stopped");
                        return None;
                    }
                },
                None => events,
            };
            let chunk = self.write(&events);
            if !chunk.is_empty() {
                return Some(chunk);
            }
        }
    }
}
