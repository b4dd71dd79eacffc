//! Waits until a task has ended, and shows its log and progress meanwhile.
//!
//! Used by whatever takes `--wait`. It outlasts a restart of the server: the task does, too.

use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use wasmill_model::TaskId;

use crate::client::{Answer, Ask, Client, Events, PATIENCE, Task, until};
use crate::commands::logs::{self, News};
use crate::exit::{self, Exit};
use crate::output::tell;
use crate::process::StopSignals;
use crate::screen::live::{Live, Moment, REDRAW};
use crate::screen::text::{clipped, time};

/// How long the server holds the question whether a task has ended; at most 60 s.
const HOLD: Duration = Duration::from_secs(30);
/// The pauses between such questions to a server that does not hold them: each twice the last.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a server may be away, as in a restart.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// How often the progress is asked for.
const LOOK: Duration = Duration::from_millis(500);
/// How long the rest of the log may take once the task has ended.
const REST_OF_LOG_MAX: Duration = Duration::from_secs(5);
/// Lines of log that may wait to be shown.
const LINES_MAX: usize = 256;

/// What is shown meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Follow {
    pub(crate) with_log: bool,
    pub(crate) is_quiet: bool,
}

/// Waits; `Interrupted` means that a signal ended the waiting, which the task does not notice.
pub(crate) async fn until_ended(client: &Client, id: TaskId, follow: Follow) -> Result<Exit> {
    let mut stop = StopSignals::listen()?;
    let mut live = Live::new(follow.is_quiet);
    let (sender, mut news) = mpsc::channel(LINES_MAX);
    if follow.with_log {
        tokio::spawn(logs::follow(client.clone(), id, None, sender));
    } else {
        drop(sender);
    }
    let (notices, mut noticed) = mpsc::unbounded_channel();
    if !follow.is_quiet {
        tokio::spawn(tell_retries(client.clone(), id, notices.clone()));
    }
    let mut ended = tokio::spawn(ended(client.clone(), id, notices));
    let mut look = Look::new(live.is_drawn());
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut log_goes_on = follow.with_log;
    loop {
        tokio::select! {
            biased;
            () = stop.next() => {
                live.clear();
                tell!("the task goes on; `wasmill result --wait {id}` waits again, `wasmill cancel {id}` stops it");
                return Ok(Exit::Interrupted);
            }
            Some(notice) = noticed.recv() => {
                if !follow.is_quiet {
                    live.line(&notice);
                }
            }
            said = news.recv(), if log_goes_on => log_goes_on = show(&mut live, said),
            answer = &mut ended => {
                answer??;
                break;
            }
            _ = redraw.tick(), if live.is_drawn() => {
                look.refresh(client, id);
                live.draw(&look.moment());
            }
        }
    }
    let rest = async {
        while log_goes_on {
            log_goes_on = show(&mut live, news.recv().await);
        }
    };
    // What is missing after that can be read by `wasmill logs`.
    let _ = timeout(REST_OF_LOG_MAX, rest).await;
    Ok(Exit::Done)
}

/// Shows what following the log has brought, and says whether there may be more.
fn show(live: &mut Live, said: Option<News>) -> bool {
    match said {
        Some(News::Line(line)) => live.line(&line.text),
        Some(News::Gap(missed)) => live.line(&logs::gap(missed)),
        Some(News::End | News::Lacking(_)) | None => return false,
    }
    true
}

/// What an event says of an attempt.
#[derive(Deserialize)]
struct OfAttempt {
    attempt: u32,
}

/// Sends a line for each attempt that failed and is followed by another, over restarts of the server. Does without
/// where the server has no events.
async fn tell_retries(client: Client, id: TaskId, notices: mpsc::UnboundedSender<String>) {
    let mut told = 0;
    while read_retries(&client, id, &mut told, &notices).await.unwrap_or(true) {
        sleep(PAUSE_MAX).await;
    }
}

/// Reads events from one connection; false if there is nothing to come. `told` is the last attempt that was told.
async fn read_retries(
    client: &Client,
    id: TaskId,
    told: &mut u32,
    notices: &mpsc::UnboundedSender<String>,
) -> Result<bool> {
    let path = format!("/task/{id}/events");
    let answer = client.open(Ask::new(hyper::Method::GET, &path)).await?;
    if answer.status() != hyper::StatusCode::OK {
        return Ok(answer.status().is_server_error());
    }
    let mut events = Events::new(answer.into_body());
    while let Some(event) = events.next().await? {
        if event.name != "retrying" {
            continue;
        }
        let OfAttempt { attempt } = serde_json::from_str(&event.data)?;
        let task: Task = client.get(&format!("/task/{id}/status")).await?.good()?.read()?;
        // After a drain the same attempt comes again, and nothing went wrong.
        let Some(error) = task.error.as_ref().filter(|_| attempt > *told) else { continue };
        let wait = match until(&task.ready_at) {
            wait if wait.is_zero() => String::new(),
            wait => format!("; the next is in {}", time(wait)),
        };
        let (last, why) = (task.last_attempt(), clipped(&error.message, 200));
        notices
            .send(format!("wasmill: attempt {attempt} of {last} failed by {}: {why}{wait}", error.cause))?;
        *told = attempt;
    }
    Ok(true)
}

/// Waits until a task has ended, and returns what the server then says of its result.
async fn ended(client: Client, id: TaskId, notices: mpsc::UnboundedSender<String>) -> Result<Answer> {
    let path = format!("/task/{id}/result?wait={}s", HOLD.as_secs());
    let mut pause = PAUSE_MIN;
    let mut away_since: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let ask = Ask { patience: HOLD + PATIENCE, ..Ask::new(hyper::Method::GET, &path) };
        match client.send(ask).await {
            Ok(answer) if answer.status == hyper::StatusCode::ACCEPTED => {
                if away_since.take().is_some() {
                    // Nobody to tell is fine, here and below.
                    let _ = notices.send("wasmill: the server is back".to_owned());
                }
                if asked.elapsed() < HOLD / 2 {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
            Ok(answer) if answer.status.is_server_error() => {
                outlast(&mut away_since, answer.refusal(), &notices).await?;
            }
            // There is a result, or there never will be one.
            Ok(answer) if answer.status.is_success() || answer.status == hyper::StatusCode::CONFLICT => {
                return Ok(answer);
            }
            Ok(answer) => return Err(answer.refusal()),
            Err(error) if exit::of(&error) == Exit::Unreachable => {
                outlast(&mut away_since, error, &notices).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Pauses before a server that is away is asked again; gives up when it was away for too long.
async fn outlast(
    away_since: &mut Option<Instant>,
    error: anyhow::Error,
    notices: &mpsc::UnboundedSender<String>,
) -> Result<()> {
    let since = *away_since.get_or_insert_with(|| {
        let _ = notices.send(format!("wasmill: {error:#}; keeps trying for {AWAY_MAX:?}"));
        Instant::now()
    });
    if since.elapsed() > AWAY_MAX {
        return Err(error);
    }
    sleep(PAUSE_MAX).await;
    Ok(())
}

/// The latest look at a task, taken now and then in the background.
struct Look {
    latest: tokio::sync::watch::Receiver<Task>,
    teller: std::sync::Arc<tokio::sync::watch::Sender<Task>>,
    /// When it was asked for, and the time since then counts on.
    asked: Option<Instant>,
    is_wanted: bool,
}

impl Look {
    fn new(is_wanted: bool) -> Self {
        let (teller, latest) = tokio::sync::watch::channel(Task::default());
        Self { latest, teller: teller.into(), asked: None, is_wanted }
    }

    /// Asks again if it is time to.
    fn refresh(&mut self, client: &Client, id: TaskId) {
        if !self.is_wanted || self.asked.is_some_and(|asked| asked.elapsed() < LOOK) {
            return;
        }
        self.asked = Some(Instant::now());
        let (client, teller) = (client.clone(), std::sync::Arc::clone(&self.teller));
        tokio::spawn(async move {
            // Whether the server is away is noticed by whoever waits for the end.
            let answer = client.get(&format!("/task/{id}/status")).await.and_then(Answer::good);
            if let Ok(task) = answer.and_then(|answer| answer.read()) {
                teller.send_replace(task);
            }
        });
    }

    fn moment(&self) -> Moment {
        let task = self.latest.borrow();
        let progress = task.progress.clone().filter(|_| task.state == "running");
        let note = match &progress {
            Some(progress) => progress.note.clone(),
            None => task.next_attempt().unwrap_or_else(|| task.state.clone()),
        };
        Moment {
            title: task.plugin.clone(),
            fraction: progress.map(|progress| progress.fraction),
            note,
            elapsed: crate::client::since(&task.created_at),
        }
    }
}
