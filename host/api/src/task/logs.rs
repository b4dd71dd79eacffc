//! `GET /task/{id}/logs`: the log lines of all attempts of a task, as an array or as server-sent events.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use wasmill_model::{LINE_SEQ_MAX, LogLine, Task, TaskId};
use wasmill_store::{LiveLog, StoreError, TaskSubscriber};

use crate::http::authorize::Sender;
use crate::http::params::{Params, whole_number};
use crate::http::sse::{self, ChunkSource};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};
use crate::view::task::status_text;
use crate::view::time::Rfc3339;

/// Default and maximum number of lines in a response.
const LIMIT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;

/// Maximum lines per chunk of a stream, and the bytes after which no more are added.
const CHUNK_LINES: usize = 256;
const CHUNK_BYTES: usize = 16 << 10;

/// Minimum interval between reads of a live log: enough for 800 KB/s.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(20);

/// Id of the last event; those of lines are numbers.
const END_ID: &str = "end";

/// A log line of a guest.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogLine")]
struct LineView {
    /// Sequence number of the line, increasing over all attempts.
    #[schemars(range(min = 1, max = LINE_SEQ_MAX))]
    seq: u64,
    time: Rfc3339,
    attempt: u32,
    /// `stdout` or `stderr`.
    #[schemars(regex(pattern = "^std(out|err)$"))]
    stream: &'static str,
    text: String,
    /// Set if the line was too long and continues in the next line of its stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl From<LogLine> for LineView {
    fn from(line: LogLine) -> Self {
        let LogLine { seq, time, attempt, stream, text, is_cut } = line;
        Self { seq, time: Rfc3339(time), attempt, stream: stream.as_str(), text, cut: is_cut }
    }
}

pub(crate) async fn logs(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parse_task_id(&id)?;
    let (after, limit) = check(&params)?;
    if sse::accepts_event_stream(&headers) {
        let permit = api.stream_limit.permit(&sender)?;
        let follower = api.store.subscribe(id);
        // Only checks that the task exists, and whether it has finished.
        let state = require_task(id, api.store.lines(id, u64::MAX, 0).await)?.state;
        // A browser reconnects after every end of a stream, unless it gets 204.
        if state.is_final() && headers.get("last-event-id").is_some_and(|id| id == END_ID) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let last_seq = match sse::last_event_id(&headers) {
            None => after,
            // An unknown id: starts from the beginning.
            Some(u64::MAX) => 0,
            Some(last) => last,
        };
        let scheduler = api.scheduler.clone();
        let stream =
            LogStream { api, id, follower, last_seq, live: None, next_read_at: None, is_finished: false };
        return Ok(sse::stream(stream, scheduler, permit));
    }
    let lines = require_task(id, api.store.lines(id, after, limit).await)?.lines;
    let mut headers = HeaderMap::new();
    if let Some(last) = lines.last().filter(|_| lines.len() == limit) {
        let link = format!("</task/{id}/logs?after={}&limit={limit}>; rel=\"next\"", last.seq);
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
    }
    let lines: Vec<_> = lines.into_iter().map(LineView::from).collect();
    Ok((headers, Json(lines)).into_response())
}

fn check(params: &Params) -> Result<(u64, usize), Problem> {
    let (mut after, mut limit) = (0, LIMIT);
    let mut errors = FieldErrors::default();
    for (name, value) in params.iter() {
        match name {
            "after" => match whole_number(value) {
                Some(seq) if seq <= LINE_SEQ_MAX => after = seq,
                _ => {
                    let detail = "after must be the seq of a log line, or 0";
                    errors.push(FieldError::parameter("after", detail));
                }
            },
            "limit" => match whole_number(value).and_then(|lines| usize::try_from(lines).ok()) {
                Some(lines) if (1..=LIMIT_MAX).contains(&lines) => limit = lines,
                _ => {
                    let detail = format!("limit must be an integer from 1 to {LIMIT_MAX}");
                    errors.push(FieldError::parameter("limit", detail));
                }
            },
            _ => {}
        }
    }
    Problem::reject_errors(errors, (after, limit))
}

pub(crate) fn spec() -> Operation {
    let line = json!({
        "seq": 12, "time": "2026-11-23T07:26:49.603656725Z", "attempt": 1, "stream": "stdout",
        "text": "fetched 3 of 9",
    });
    let after = json!({"type": "integer", "minimum": 0, "maximum": LINE_SEQ_MAX, "default": 0});
    let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT});
    let lines = ResponseSpec::json::<Vec<LineView>>("Log lines, oldest first.", json!([line]))
        .or_events()
        .optional_header(
            "Link",
            "Link to the next lines; missing if there are no more at present.",
            "^</task/[0-9a-f-]{36}/logs\\?after=[0-9]+&limit=[0-9]+>; rel=\"next\"$",
        );
    Operation::get("/task/{id}/logs", "getTaskLogs", "Get or stream the log of a task")
        .detail(
            "Covers all attempts, while the task runs and afterwards. With `Accept: text/event-stream` each \
             line is an event `log` whose id is the number of the line; `gap` reports lines that are no \
             longer stored, and `end` the end of the task, after which the stream closes.",
        )
        .query("after", "Return only lines after this sequence number.", &after)
        .query("limit", "Maximum number of lines.", &limit)
        .header("Last-Event-ID", "For a stream, overrides `after`.", &json!({"type": "string"}))
        .responds(200, lines)
        .responds(
            204,
            ResponseSpec::empty(
                "The task has finished, and the client has received the end of \
                                            the stream.",
            ),
        )
        .problems(&[kind::INVALID_REQUEST, kind::KEY_STREAMS_FULL, kind::TOO_MANY_STREAMS])
        .problems(&kind::TASK_ACCESS)
}

struct LogStream {
    api: Api,
    id: TaskId,
    /// Notifies of state changes of the task.
    follower: TaskSubscriber,
    /// Sequence number of the last line sent.
    last_seq: u64,
    /// The log of the live run, read instead of the database while there is one.
    live: Option<LiveLog>,
    /// Earliest time of the next read.
    next_read_at: Option<Instant>,
    is_finished: bool,
}

#[derive(Serialize)]
struct EndEvent {
    state: &'static str,
    status: String,
}

#[derive(Serialize)]
struct GapEvent {
    /// Number of lines that are no longer stored.
    missed: u64,
}

impl ChunkSource for LogStream {
    async fn next(&mut self) -> Option<String> {
        while !self.is_finished {
            let chunk = match &self.live {
                Some(_) => self.read_live().await,
                None => self.read_stored().await,
            };
            if chunk.is_some() {
                return chunk;
            }
        }
        None
    }
}

impl LogStream {
    /// Sends new lines of the live run, or waits for some or for the end of the run.
    async fn read_live(&mut self) -> Option<String> {
        let live = self.live.as_ref()?;
        if let Some(next_read_at) = self.next_read_at {
            tokio::time::sleep_until(next_read_at).await;
        }
        let lines = live.read(self.last_seq, CHUNK_LINES, CHUNK_BYTES);
        if !lines.is_empty() {
            self.next_read_at = Some(Instant::now() + MIN_READ_INTERVAL);
            return Some(self.send(lines));
        }
        tokio::select! {
            () = live.changed(self.last_seq) => {}
            // The last lines of the run are stored by now.
            () = self.follower.wait_for_move() => self.live = None,
        }
        None
    }

    /// Sends stored lines; without any, switches to the live run, or waits for a run or for the end.
    async fn read_stored(&mut self) -> Option<String> {
        let found = match self.api.store.lines(self.id, self.last_seq, CHUNK_LINES).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.is_finished = true;
                let end = EndEvent { state: "deleted", status: "deleted".to_owned() };
                return Some(sse::event("end", None, &end));
            }
            // The client reconnects with its last id.
            Err(error) => return self.stop(&error),
        };
        if !found.lines.is_empty() {
            return Some(self.send(found.lines));
        }
        if found.state.is_final() {
            return match self.api.store.get(self.id).await {
                Ok(task) => {
                    self.is_finished = true;
                    task.map(|task| end(&task))
                }
                Err(error) => self.stop(&error),
            };
        }
        self.live = found.live;
        if self.live.is_none() {
            self.follower.wait_for_move().await;
        }
        None
    }

    fn stop(&mut self, error: &StoreError) -> Option<String> {
        tracing::debug!(%error, "log stream stopped");
        self.is_finished = true;
        None
    }

    /// Formats lines up to the chunk size; the others are read again.
    fn send(&mut self, lines: Vec<LogLine>) -> String {
        let mut chunk = String::new();
        for line in lines {
            let missed = line.missed_since(self.last_seq);
            if missed > 0 {
                chunk.push_str(&sse::event("gap", None, &GapEvent { missed }));
            }
            self.last_seq = line.seq;
            chunk.push_str(&sse::event("log", Some(line.seq), &LineView::from(line)));
            if chunk.len() > CHUNK_BYTES {
                break;
            }
        }
        chunk
    }
}

fn end(task: &Task) -> String {
    let event = sse::event("end", None, &EndEvent { state: task.state.as_str(), status: status_text(task) });
    format!("id: {END_ID}\n{event}")
}
