//! Waits until a task has ended, and shows its log and progress meanwhile.
//!
//! Used by whatever takes `--wait`. It outlasts a restart of the server: the task does, too.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use wasmill_model::TaskId;

use crate::client::{Client, ClientRequest, ClientResponse, REQUEST_TIMEOUT, Task};
use crate::commands::logs::{self, LogEvent};
use crate::exit::{self, Exit};
use crate::output::note;
use crate::process::StopSignals;
use crate::terminal::status_line::{REDRAW_INTERVAL, StatusLine, StatusView};

/// How long the server holds the question whether a task has ended; at most 60 s.
const LONG_POLL: Duration = Duration::from_secs(30);
/// The pauses between such questions to a server that does not hold them: each twice the last.
const POLL_PAUSE_MIN: Duration = Duration::from_millis(20);
const POLL_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a server may be away, as in a restart.
const OUTAGE_MAX: Duration = Duration::from_secs(60);
/// How often the progress is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long the rest of the log may take once the task has ended.
const LOG_TAIL_TIMEOUT: Duration = Duration::from_secs(5);
/// Lines of log that may wait to be shown.
const LINES_MAX: usize = 256;

/// What is shown meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct FollowOptions {
    pub(crate) with_log: bool,
    pub(crate) is_quiet: bool,
}

/// Waits; `Interrupted` means that a signal ended the waiting, which the task does not notice.
pub(crate) async fn wait_until_finished(client: &Client, id: TaskId, follow: FollowOptions) -> Result<Exit> {
    let mut stop = StopSignals::listen()?;
    let mut status_line = StatusLine::new(follow.is_quiet);
    let (sender, mut log_events) = mpsc::channel(LINES_MAX);
    if follow.with_log {
        tokio::spawn(logs::follow(client.clone(), id, None, sender));
    } else {
        drop(sender);
    }
    let mut wait_for_result = tokio::spawn(wait_for_result(client.clone(), id));
    let mut poll = TaskPoll::new(status_line.is_drawn());
    let mut redraw = interval(REDRAW_INTERVAL);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut log_is_open = follow.with_log;
    loop {
        tokio::select! {
            biased;
            () = stop.next() => {
                status_line.clear();
                note!("the task goes on; `wasmill result --wait {id}` waits again, `wasmill cancel {id}` stops it");
                return Ok(Exit::Interrupted);
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
    // What is missing after that can be read by `wasmill logs`.
    let _ = timeout(LOG_TAIL_TIMEOUT, rest).await;
    Ok(Exit::Done)
}

/// Shows what following the log has brought, and says whether there may be more.
fn show(status_line: &mut StatusLine, event: Option<LogEvent>) -> bool {
    match event {
        Some(LogEvent::Line(line)) => status_line.line(&line.text),
        Some(LogEvent::Gap(missed)) => status_line.line(&logs::gap(missed)),
        Some(LogEvent::End | LogEvent::Failed(_)) | None => return false,
    }
    true
}

/// Waits until a task has ended, and returns what the server then says of its result.
async fn wait_for_result(client: Client, id: TaskId) -> Result<ClientResponse> {
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
                unreachable_since = None;
                if polled_at.elapsed() < LONG_POLL / 2 {
                    sleep(pause).await;
                    pause = (pause * 2).min(POLL_PAUSE_MAX);
                }
            }
            Ok(response) if response.status.is_server_error() => {
                wait_out_outage(&mut unreachable_since, response.to_error()).await?;
            }
            // There is a result, or there never will be one.
            Ok(response)
                if response.status.is_success() || response.status == hyper::StatusCode::CONFLICT =>
            {
                return Ok(response);
            }
            Ok(response) => return Err(response.to_error()),
            Err(error) if exit::code_of(&error) == Exit::Unreachable => {
                wait_out_outage(&mut unreachable_since, error).await?
            }
            Err(error) => return Err(error),
        }
    }
}

/// Pauses before a server that is away is asked again; gives up when it was away for too long.
async fn wait_out_outage(unreachable_since: &mut Option<Instant>, error: anyhow::Error) -> Result<()> {
    let since = *unreachable_since.get_or_insert_with(Instant::now);
    if since.elapsed() > OUTAGE_MAX {
        return Err(error);
    }
    sleep(POLL_PAUSE_MAX).await;
    Ok(())
}

/// The latest look at a task, taken now and then in the background.
struct TaskPoll {
    latest: tokio::sync::watch::Receiver<Task>,
    sender: std::sync::Arc<tokio::sync::watch::Sender<Task>>,
    /// When it was asked for, and the time since then counts on.
    polled_at: Option<Instant>,
    is_wanted: bool,
}

impl TaskPoll {
    fn new(is_wanted: bool) -> Self {
        let (sender, latest) = tokio::sync::watch::channel(Task::default());
        Self { latest, sender: sender.into(), polled_at: None, is_wanted }
    }

    /// Asks again if it is time to.
    fn refresh(&mut self, client: &Client, id: TaskId) {
        if !self.is_wanted || self.polled_at.is_some_and(|polled_at| polled_at.elapsed() < POLL_INTERVAL) {
            return;
        }
        self.polled_at = Some(Instant::now());
        let (client, sender) = (client.clone(), std::sync::Arc::clone(&self.sender));
        tokio::spawn(async move {
            // Whether the server is away is noticed by whoever waits for the end.
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
