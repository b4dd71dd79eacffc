//! One attempt, from its start to its end: answered, timed out, or stopped from the keyboard.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use wasmill_model::{Cause, Failure, PluginName, RunHost, RunRequest, RunStep, Runner, Suspension, TaskId};
use wasmill_runtime::Runtime;

use super::SharedStatusLine;
use super::host::LocalHost;
use crate::process::StopSignals;
use crate::terminal::status_line::{REDRAW_INTERVAL, StatusView};

/// A moment that never comes in the life of a process.
const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum AttemptOutcome {
    Completed(String),
    Failed(Failure),
    /// Whoever sits at the keyboard stopped it.
    Stopped,
}

/// What a run of the guest came to.
pub(super) enum AttemptStep {
    /// The attempt is over.
    Ended(AttemptOutcome),
    /// It goes on later.
    Suspended(Suspension),
}

/// What one attempt is about.
pub(super) struct Attempt {
    pub(super) plugin: PluginName,
    /// The first is 1.
    pub(super) number: u32,
    pub(super) attempts_max: u32,
    pub(super) input: Option<String>,
    pub(super) timeout: Duration,
}

/// Signals that ask to stop, counted: the first is a question, the second an order.
pub(super) struct StopRequests {
    signals: StopSignals,
    requested: bool,
    grace: Duration,
    started_at: Instant,
}

impl StopRequests {
    pub(super) fn listen(grace: Duration) -> Result<Self> {
        Ok(Self { signals: StopSignals::listen()?, requested: false, grace, started_at: Instant::now() })
    }

    /// Waits for the next signal.
    pub(super) async fn requested(&mut self) {
        self.signals.next().await;
        self.requested = true;
    }

    /// Says whether there was one.
    pub(super) fn was_requested(&self) -> bool {
        self.requested
    }

    /// Returns how long this command has run.
    pub(super) fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }
}

type Guest = JoinHandle<Result<RunStep, Failure>>;

impl Attempt {
    /// Runs it; when this returns the guest is gone.
    pub(super) async fn run(
        self,
        runtime: &Runtime,
        host: &Arc<LocalHost>,
        status_line: &SharedStatusLine,
        stop: &mut StopRequests,
    ) -> AttemptStep {
        let Self { plugin, number, attempts_max, input, timeout } = self;
        let title = if number > 1 { format!("{plugin} (attempt {number})") } else { plugin.to_string() };
        let run = RunRequest {
            task: TaskId::new(),
            plugin,
            attempt: number,
            attempts_max,
            input,
            host: Arc::clone(host) as Arc<dyn RunHost>,
            pass_results: false,
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
                    host.ask_to_stop();
                    let grace_shown = humantime::format_duration(stop.grace);
                    status_line.lock().line(&format!(
                        "wasmill: asked the guest to stop, it has {grace_shown}; Ctrl-C again stops it at once"
                    ));
                    grace.as_mut().reset(Instant::now() + stop.grace.min(NEVER));
                }
                () = &mut grace => {
                    kill(&mut guest, runtime).await;
                    break AttemptStep::Ended(AttemptOutcome::Stopped);
                }
                () = &mut deadline => {
                    kill(&mut guest, runtime).await;
                    let message = format!("the attempt took longer than its timeout of {timeout:?}");
                    break AttemptStep::Ended(AttemptOutcome::Failed(Failure::new(Cause::Timeout, message)));
                }
                _ = redraw.tick() => {
                    let progress = host.latest_progress();
                    status_line.lock().draw(&StatusView {
                        title: title.clone(),
                        fraction: progress.as_ref().map(|progress| progress.fraction),
                        note: progress.map(|progress| progress.note).unwrap_or_default(),
                        elapsed: started_at.elapsed(),
                    });
                }
            }
        };
        host.end_attempt();
        end
    }
}

/// Ends the guest; when this returns it is gone.
async fn kill(guest: &mut Guest, runtime: &Runtime) {
    guest.abort();
    runtime.interrupt();
    // It was aborted, or it ended in the same moment: neither matters now.
    let _ = guest.await;
}

fn into_step(result: Result<Result<RunStep, Failure>, JoinError>, stop: &StopRequests) -> AttemptStep {
    AttemptStep::Ended(match result {
        Ok(Ok(RunStep::Done(result))) => AttemptOutcome::Completed(result),
        Ok(Ok(RunStep::Suspended(later))) if !stop.was_requested() => return AttemptStep::Suspended(later),
        Ok(Ok(RunStep::Suspended(_))) => AttemptOutcome::Stopped,
        // A guest that was asked to stop and gives up has done as it was told.
        Ok(Err(_)) if stop.was_requested() => AttemptOutcome::Stopped,
        Ok(Err(failure)) => AttemptOutcome::Failed(failure),
        Err(error) => {
            let message = format!("the host panicked while it ran the plugin: {error}");
            AttemptOutcome::Failed(Failure::new(Cause::HostFault, message))
        }
    })
}
