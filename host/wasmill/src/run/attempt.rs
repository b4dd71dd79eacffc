//! One attempt from start to end: completed, failed, timed out, or stopped from the keyboard.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use wasmill_model::{
    Cause, Failure, PluginName, RunHost, RunRequest, RunStep, Runner, Suspension, TaskId, TaskResult,
};
use wasmill_runtime::Runtime;

use super::host::LocalHost;
use crate::process::StopSignals;
use crate::terminal::status_line::{REDRAW_INTERVAL, SharedStatusLine, StatusView};

/// Longer than any process lives.
const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum AttemptOutcome {
    Completed(TaskResult),
    Failed(Failure),
    /// It was stopped from the keyboard.
    Stopped,
}

/// The outcome of one run of the guest.
pub(super) enum AttemptStep {
    /// The attempt has ended.
    Ended(AttemptOutcome),
    /// The guest suspended; the attempt resumes later.
    Suspended(Suspension),
}

pub(super) struct Attempt {
    /// The same for all attempts of a command.
    pub(super) task: TaskId,
    pub(super) plugin: PluginName,
    /// Counted from 1.
    pub(super) number: u32,
    pub(super) attempts_max: u32,
    pub(super) input: Option<String>,
    pub(super) timeout: Duration,
}

/// Stop signals: the first asks the guest to stop, the second kills it.
pub(crate) struct StopRequests {
    signals: StopSignals,
    requested: bool,
    grace: Duration,
    started_at: Instant,
}

impl StopRequests {
    pub(crate) fn listen(grace: Duration) -> Result<Self> {
        Ok(Self { signals: StopSignals::listen()?, requested: false, grace, started_at: Instant::now() })
    }

    /// Waits for the next signal.
    pub(super) async fn requested(&mut self) {
        self.signals.next().await;
        self.requested = true;
    }

    /// Returns true if there was a signal.
    pub(crate) fn was_requested(&self) -> bool {
        self.requested
    }

    /// Returns how long this command has run.
    pub(super) fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }
}

type Guest = JoinHandle<Result<RunStep, Failure>>;

impl Attempt {
    /// Runs the attempt; on return the guest is gone.
    pub(super) async fn run(
        self,
        runtime: &Runtime,
        host: &Arc<LocalHost>,
        status_line: &SharedStatusLine,
        stop: &mut StopRequests,
    ) -> AttemptStep {
        let Self { task, plugin, number, attempts_max, input, timeout } = self;
        let title = if number > 1 { format!("{plugin} (attempt {number})") } else { plugin.to_string() };
        let run = RunRequest {
            task,
            plugin,
            attempt: number,
            attempts_max,
            input,
            host: Arc::clone(host) as Arc<dyn RunHost>,
            pass_results: false,
            pass_files: false,
        };
        let started_at = Instant::now();
        let mut guest = tokio::spawn(runtime.run(run));
        let deadline = sleep_until(started_at + timeout.min(NEVER));
        let grace = sleep_until(started_at + NEVER);
        tokio::pin!(deadline, grace);
        let mut redraw = interval(REDRAW_INTERVAL);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                biased;
                result = &mut guest => break into_step(result, stop),
                () = stop.signals.next() => {
                    if std::mem::replace(&mut stop.requested, true) || stop.grace.is_zero() {
                        kill(&mut guest, runtime).await;
                        break AttemptStep::Ended(AttemptOutcome::Stopped);
                    }
                    ask_to_stop(host, status_line, stop.grace);
                    grace.as_mut().reset(Instant::now() + stop.grace.min(NEVER));
                }
                () = &mut grace => {
                    kill(&mut guest, runtime).await;
                    break AttemptStep::Ended(AttemptOutcome::Stopped);
                }
                () = &mut deadline => {
                    kill(&mut guest, runtime).await;
                    let message = format!("the attempt exceeded its timeout of {timeout:?}");
                    break AttemptStep::Ended(AttemptOutcome::Failed(Failure::new(Cause::Timeout, message)));
                }
                _ = redraw.tick() => draw_progress(status_line, &title, host, started_at),
            }
        };
        host.end_attempt();
        end
    }
}

/// Asks the guest to stop, and prints that it was asked.
fn ask_to_stop(host: &LocalHost, status_line: &SharedStatusLine, grace: Duration) {
    host.ask_to_stop();
    let grace = humantime::format_duration(grace);
    status_line
        .lock()
        .line(&format!("wasmill: asked the guest to stop within {grace}; Ctrl-C again kills it at once"));
}

/// Draws the progress that the guest reported last.
fn draw_progress(status_line: &SharedStatusLine, title: &str, host: &LocalHost, started_at: Instant) {
    let progress = host.latest_progress();
    status_line.lock().draw(&StatusView {
        title: title.to_owned(),
        fraction: progress.as_ref().map(|progress| progress.fraction),
        note: progress.map(|progress| progress.note).unwrap_or_default(),
        elapsed: started_at.elapsed(),
    });
}

/// Kills the guest; on return it is gone.
async fn kill(guest: &mut Guest, runtime: &Runtime) {
    guest.abort();
    runtime.interrupt();
    // It was aborted or has just ended; both are fine.
    let _ = guest.await;
}

fn into_step(result: Result<Result<RunStep, Failure>, JoinError>, stop: &StopRequests) -> AttemptStep {
    AttemptStep::Ended(match result {
        // As on a server: after a stop request the result may be incomplete, so every outcome counts as stopped.
        Ok(_) if stop.was_requested() => AttemptOutcome::Stopped,
        Ok(Ok(RunStep::Done(result))) => AttemptOutcome::Completed(result),
        Ok(Ok(RunStep::Suspended(later))) => return AttemptStep::Suspended(later),
        Ok(Err(failure)) => AttemptOutcome::Failed(failure),
        Err(error) => {
            let message = format!("the host panicked while running the plugin: {error}");
            AttemptOutcome::Failed(Failure::new(Cause::HostFault, message))
        }
    })
}
