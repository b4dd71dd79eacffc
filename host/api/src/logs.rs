//! `GET /task/{id}/logs`: the lines of a log, of all attempts, while the task runs and after; as an array, or
//! followed as server-sent events.

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

use crate::app::Api;
use crate::field_errors::{Fault, Faults};
use crate::openapi::{Answer, Operation};
use crate::params::{Params, whole_number};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::sse::{self, Source};
use crate::task_view::{Rfc3339, words};

/// How many lines one answer has unless asked otherwise, and at most.
const LIMIT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;

/// How many lines a follower is sent at once, and after how many bytes of them no more are added.
const PIECE_LINES: usize = 256;
const PIECE_BYTES: usize = 16 << 10;

/// The least time between two looks of a follower at a run that writes: enough for 800 KB a second.
const PACE: Duration = Duration::from_millis(20);

/// The id of the event that tells of the end; those of lines are numbers.
const END_ID: &str = "end";

/// A line that a guest wrote.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogLine")]
struct LineView {
    /// The number of the line; it grows over all attempts.
    #[schemars(range(min = 1, max = LINE_SEQ_MAX))]
    seq: u64,
    time: Rfc3339,
    attempt: u32,
    /// `stdout` or `stderr`.
    #[schemars(regex(pattern = "^std(out|err)$"))]
    stream: &'static str,
    text: String,
    /// Whether the line was too long and goes on in the next of its stream.
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
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = Api::task_id(&id)?;
    let (after, limit) = check(&params)?;
    if sse::is_wanted(&headers) {
        let place = api.stream_limit.place()?;
        let follower = api.store.subscribe(id);
        // Only to see whether there is such a task, and whether it has ended.
        let state = Api::found(id, api.store.lines(id, u64::MAX, 0).await)?.state;
        // A browser comes back after every end; this is how it learns that it need not.
        if state.is_final() && headers.get("last-event-id").is_some_and(|id| id == END_ID) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let sent = match sse::last_event_id(&headers) {
            None => after,
            // No line has that number; what is unknown is read from the beginning.
            Some(u64::MAX) => 0,
            Some(last) => last,
        };
        let scheduler = api.scheduler.clone();
        let following = Following { api, id, follower, sent, live: None, look_at: None, has_ended: false };
        return Ok(sse::stream(following, scheduler, place));
    }
    let lines = Api::found(id, api.store.lines(id, after, limit).await)?.lines;
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
    let mut faults = Faults::default();
    for (name, value) in params.iter() {
        match name {
            "after" => match whole_number(value) {
                Some(seq) if seq <= LINE_SEQ_MAX => after = seq,
                _ => {
                    let detail = "after must be the seq of a line, the last that was read, or 0";
                    faults.push(Fault::parameter("after", detail));
                }
            },
            "limit" => match whole_number(value).and_then(|lines| usize::try_from(lines).ok()) {
                Some(lines) if (1..=LIMIT_MAX).contains(&lines) => limit = lines,
                _ => {
                    let detail = format!("limit must be a whole number from 1 to {LIMIT_MAX}");
                    faults.push(Fault::parameter("limit", detail));
                }
            },
            _ => {}
        }
    }
    Problem::unless(faults, (after, limit))
}

pub(crate) fn about() -> Operation {
    let line = json!({
        "seq": 12, "time": "2026-11-23T07:26:49.603656725Z", "attempt": 1, "stream": "stdout",
        "text": "fetched 3 of 9",
    });
    let after = json!({"type": "integer", "minimum": 0, "maximum": LINE_SEQ_MAX, "default": 0});
    let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT});
    let lines =
        Answer::json::<Vec<LineView>>("Lines, oldest first.", json!([line])).or_events().optional_header(
            "Link",
            "Where the next lines are; missing where there are no more for now.",
            "^</task/[0-9a-f-]{36}/logs\\?after=[0-9]+&limit=[0-9]+>; rel=\"next\"$",
        );
    Operation::get("/task/{id}/logs", "getTaskLogs", "Read or follow the log of a task")
        .detail(
            "All attempts, while the task runs and after. With `Accept: text/event-stream` each line is an \
             event `log` with the number of the line as its id; `gap` tells of lines that are not kept any \
             more, and `end` of the end of the task, after which the stream closes.",
        )
        .query("after", "The number of the last line that is known.", &after)
        .query("limit", "How many lines are answered at most.", &limit)
        .header("Last-Event-ID", "For a stream, in place of `after`.", &json!({"type": "string"}))
        .answers(200, lines)
        .answers(204, Answer::empty("The task has ended, and the client has seen that in a stream."))
        .problems(&[kind::INVALID_REQUEST, kind::TOO_MANY_FOLLOWERS])
        .problems(&kind::OF_TASK)
}

/// One who follows the log of a task.
struct Following {
    api: Api,
    id: TaskId,
    /// Tells when the task moves.
    follower: TaskSubscriber,
    /// The last line that was sent.
    sent: u64,
    /// The log of the run, while there is one: then the database need not be asked.
    live: Option<LiveLog>,
    /// When to look again at the earliest.
    look_at: Option<Instant>,
    has_ended: bool,
}

#[derive(Serialize)]
struct End {
    state: &'static str,
    status: String,
}

#[derive(Serialize)]
struct Gap {
    /// How many lines are not kept any more.
    missed: u64,
}

impl Source for Following {
    async fn next(&mut self) -> Option<String> {
        while !self.has_ended {
            let piece = match &self.live {
                Some(_) => self.follow_run().await,
                None => self.read().await,
            };
            if piece.is_some() {
                return piece;
            }
        }
        None
    }
}

impl Following {
    /// Sends what the run has written since, or waits until it has or is over.
    async fn follow_run(&mut self) -> Option<String> {
        let live = self.live.as_ref()?;
        if let Some(look_at) = self.look_at {
            tokio::time::sleep_until(look_at).await;
        }
        let lines = live.read(self.sent, PIECE_LINES, PIECE_BYTES);
        if !lines.is_empty() {
            self.look_at = Some(Instant::now() + PACE);
            return Some(self.send(lines));
        }
        tokio::select! {
            () = live.changed(self.sent) => {}
            // What it wrote last is stored by now.
            () = self.follower.wait_for_move() => self.live = None,
        }
        None
    }

    /// Sends what is stored, else turns to the run there is, or waits for one, or for the end.
    async fn read(&mut self) -> Option<String> {
        let found = match self.api.store.lines(self.id, self.sent, PIECE_LINES).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.has_ended = true;
                let end = End { state: "deleted", status: "deleted".to_owned() };
                return Some(sse::event("end", None, &end));
            }
            // The client comes back; what it has seen it knows.
            Err(error) => return self.give_up(&error),
        };
        if !found.lines.is_empty() {
            return Some(self.send(found.lines));
        }
        if found.state.is_final() {
            return match self.api.store.get(self.id).await {
                Ok(task) => {
                    self.has_ended = true;
                    task.map(|task| end(&task))
                }
                Err(error) => self.give_up(&error),
            };
        }
        self.live = found.live;
        if self.live.is_none() {
            self.follower.wait_for_move().await;
        }
        None
    }

    fn give_up(&mut self, error: &StoreError) -> Option<String> {
        tracing::debug!(%error, "a log can be followed no further");
        self.has_ended = true;
        None
    }

    /// Writes lines until they are enough; the others are read again.
    fn send(&mut self, lines: Vec<LogLine>) -> String {
        let mut piece = String::new();
        for line in lines {
            let missed = line.missed_since(self.sent);
            if missed > 0 {
                piece.push_str(&sse::event("gap", None, &Gap { missed }));
            }
            self.sent = line.seq;
            piece.push_str(&sse::event("log", Some(line.seq), &LineView::from(line)));
            if piece.len() > PIECE_BYTES {
                break;
            }
        }
        piece
    }
}

fn end(task: &Task) -> String {
    let event = sse::event("end", None, &End { state: task.state.as_str(), status: words(task) });
    format!("id: {END_ID}\n{event}")
}
