//! Waits until a task has finished, showing its log and progress meanwhile.
//!
//! Used by commands with `--wait`. It survives a restart of the server, as the task does.

use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use wasmill_model::TaskId;

use crate::client::{Client, ClientRequest, ClientResponse, Events, REQUEST_TIMEOUT, Task, time_until};
use crate::commands::logs::{self, LogEvent};
use crate::exit::{self, Exit};
use crate::output::note;
use crate::process::StopSignals;
use crate::terminal::status_line::{REDRAW_INTERVAL, StatusLine, StatusView};
use crate::terminal::text::{format_duration, truncated};

/// Long-poll time of the request for the result; at most 60 s.
const LONG_POLL: Duration = Duration::from_secs(30);
/// Pauses between requests to a server without long polling: each is twice the previous.
const POLL_PAUSE_MIN: Duration = Duration::from_millis(20);
const POLL_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the server may be unreachable, such as during a restart.
const OUTAGE_MAX: Duration = Duration::from_secs(60);
/// How often the progress is requested.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Time limit for the rest of the log once the task has finished.
const LOG_TAIL_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum log lines waiting to be shown.
const LINES_MAX: usize = 256;

/// What to show while waiting.
#[derive(Clone, Copy)]
pub(crate) struct FollowOptions {
    pub(crate) with_log: bool,
    pub(crate) is_quiet: bool,
}

/// Waits for the task; `Interrupted` means that a signal ended the wait, which does not affect the task.
pub(crate) async fn wait_until_finished(client: &Client, id: TaskId, follow: FollowOptions) -> Result<Exit> {
    let mut stop = StopSignals::listen()?;
    let mut status_line = StatusLine::new(follow.is_quiet);
    let (sender, mut log_events) = mpsc::channel(LINES_MAX);
    if follow.with_log {
        tokio::spawn(logs::follow(client.clone(), id, None, sender));
    } else {
        drop(sender);
    }
    let (notice_sender, mut notices) = mpsc::unbounded_channel();
    if !follow.is_quiet {
        tokio::spawn(report_retries(client.clone(), id, notice_sender.clone()));
    }
    let mut wait_for_result = tokio::spawn(wait_for_result(client.clone(), id, notice_sender));
    let mut poll = TaskPoll::new(status_line.is_drawn());
    let mut redraw = interval(REDRAW_INTERVAL);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut log_is_open = follow.with_log;
    loop {
        tokio::select! {
            biased;
            () = stop.next() => {
                status_line.clear();
                note!("the task keeps running; `wasmill result --wait {id}` waits again, `wasmill cancel {id}` stops it");
                return Ok(Exit::Interrupted);
            }
            Some(notice) = notices.recv() => {
                if !follow.is_quiet {
                    status_line.line(&notice);
                }
            }
            event = log_events.recv(), if log_is_open => log_is_open = show(&mut status_line, event),
            response = &mut wait_for_result => {
                response??;
                break;
            }
            _ = redraw.tick(), if status_line.is_drawn() => {
                poll.refresh(client, id);
                status_line.draw(&poll.view());
            }
        }
    }
    let rest = async {
        while log_is_open {
            log_is_open = show(&mut status_line, log_events.recv().await);
        }
    };
    // `wasmill logs` can print what is missing after that.
    let _ = timeout(LOG_TAIL_TIMEOUT, rest).await;
    Ok(Exit::Done)
}

/// Shows a log event; returns false after the last one.
fn show(status_line: &mut StatusLine, event: Option<LogEvent>) -> bool {
    match event {
        Some(LogEvent::Line(line)) => status_line.line(&line.text),
        Some(LogEvent::Gap(missed)) => status_line.line(&logs::gap(missed)),
        Some(LogEvent::End | LogEvent::Failed(_)) | None => return false,
    }
    true
}

/// The used part of a `retrying` event.
#[derive(Deserialize)]
struct RetryEvent {
    attempt: u32,
}

/// Sends a notice for each failed attempt that is retried, across restarts of the server; none if the server has no
/// events.
async fn report_retries(client: Client, id: TaskId, notices: mpsc::UnboundedSender<String>) {
    let mut last_reported = 0;
    while follow_retries(&client, id, &mut last_reported, &notices).await.unwrap_or(true) {
        sleep(POLL_PAUSE_MAX).await;
    }
}

/// Sends the notices of one connection; returns false if there will be no more events. `last_reported` is the number
/// of the last attempt reported.
async fn follow_retries(
    client: &Client,
    id: TaskId,
    last_reported: &mut u32,
    notices: &mpsc::UnboundedSender<String>,
) -> Result<bool> {
    let path = format!("/task/{id}/events");
    let response = client.open(ClientRequest::new(hyper::Method::GET, &path)).await?;
    if response.status() != hyper::StatusCode::OK {
        return Ok(response.status().is_server_error());
    }
    let mut events = Events::new(response.into_body());
    while let Some(event) = events.next().await? {
        if event.name != "retrying" {
            continue;
        }
        let RetryEvent { attempt } = serde_json::from_str(&event.data)?;
        let task: Task = client.get(&format!("/task/{id}/status")).await?.error_for_status()?.read()?;
        // After a drain the same attempt is repeated; it did not fail.
        let Some(error) = task.error.as_ref().filter(|_| attempt > *last_reported) else { continue };
        let wait = match time_until(&task.ready_at) {
            wait if wait.is_zero() => String::new(),
            wait => format!("; the next is in {}", format_duration(wait)),
        };
        let (last, why) = (task.last_attempt(), truncated(&error.message, 200));
        notices
            .send(format!("wasmill: attempt {attempt} of {last} failed by {}: {why}{wait}", error.cause))?;
        *last_reported = attempt;
    }
    Ok(true)
}

/// Waits until a task has finished and returns the response to the request for its result.
async fn wait_for_result(
    client: Client,
    id: TaskId,
    notices: mpsc::UnboundedSender<String>,
) -> Result<ClientResponse> {
    let path = format!("/task/{id}/result?wait={}s", LONG_POLL.as_secs());
    let mut pause = POLL_PAUSE_MIN;
    let mut unreachable_since: Option<Instant> = None;
    loop {
        let polled_at = Instant::now();
        let request = ClientRequest {
            timeout: LONG_POLL + REQUEST_TIMEOUT,
            ..ClientRequest::new(hyper::Method::GET, &path)
        };
        match client.send(request).await {
            Ok(response) if response.status == hyper::StatusCode::ACCEPTED => {
                if unreachable_since.take().is_some() {
                    // Fails if nobody waits any more, which is fine, here and below.
                    let _ = notices.send("wasmill: the server is back".to_owned());
                }
                if polled_at.elapsed() < LONG_POLL / 2 {
                    sleep(pause).await;
                    pause = (pause * 2).min(POLL_PAUSE_MAX);
                }
            }
            Ok(response) if response.status.is_server_error() => {
                wait_out_outage(&mut unreachable_since, response.to_error(), &notices).await?;
            }
            // There is a result, or there will be none.
            Ok(response)
                if response.status.is_success() || response.status == hyper::StatusCode::CONFLICT =>
            {
                return Ok(response);
            }
            Ok(response) => return Err(response.to_error()),
            Err(error) if exit::code_of(&error) == Exit::Unreachable => {
                wait_out_outage(&mut unreachable_since, error, &notices).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Pauses before the next request to an unreachable server; sends a notice of an outage when it begins, and fails if it
/// is too long.
async fn wait_out_outage(
    unreachable_since: &mut Option<Instant>,
    error: anyhow::Error,
    notices: &mpsc::UnboundedSender<String>,
) -> Result<()> {
    let since = *unreachable_since.get_or_insert_with(|| {
        let _ = notices.send(format!("wasmill: {error:#}; keeps trying for {OUTAGE_MAX:?}"));
        Instant::now()
    });
    if since.elapsed() > OUTAGE_MAX {
        return Err(error);
    }
    sleep(POLL_PAUSE_MAX).await;
    Ok(())
}

/// The latest state of a task, polled in the background.
struct TaskPoll {
    latest: tokio::sync::watch::Receiver<Task>,
    sender: std::sync::Arc<tokio::sync::watch::Sender<Task>>,
    /// The time of the last request.
    polled_at: Option<Instant>,
    is_wanted: bool,
}

impl TaskPoll {
    fn new(is_wanted: bool) -> Self {
        let (sender, latest) = tokio::sync::watch::channel(Task::default());
        Self { latest, sender: sender.into(), polled_at: None, is_wanted }
    }

    /// Requests the state if it is due.
    fn refresh(&mut self, client: &Client, id: TaskId) {
        if !self.is_wanted || self.polled_at.is_some_and(|polled_at| polled_at.elapsed() < POLL_INTERVAL) {
            return;
        }
        self.polled_at = Some(Instant::now());
        let (client, sender) = (client.clone(), std::sync::Arc::clone(&self.sender));
        tokio::spawn(async move {
            // The wait for the result notices an unreachable server.
            let response =
                client.get(&format!("/task/{id}/status")).await.and_then(ClientResponse::error_for_status);
            if let Ok(task) = response.and_then(|response| response.read()) {
                sender.send_replace(task);
            }
        });
    }

    fn view(&self) -> StatusView {
        let task = self.latest.borrow();
        let progress = task.progress.clone().filter(|_| task.state == "running");
        let note = match &progress {
            Some(progress) => progress.note.clone(),
            None => task.waiting_for().unwrap_or_else(|| task.state.clone()),
        };
        StatusView {
            title: task.plugin.clone(),
            fraction: progress.map(|progress| progress.fraction),
            note,
            elapsed: crate::client::elapsed_since(&task.created_at),
        }
    }
}
