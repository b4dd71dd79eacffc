//! One task from start to end: its attempts, its steps if it is suspended, and the waits between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wasmill_model::{AttemptCounts, Backoff, Failure, Suspension, TaskId, Usage};

use super::attempt::{Attempt, AttemptOutcome, AttemptStep, StopRequests};
use super::host::LocalHost;
use super::load::LoadedPlugin;
use super::report::RunReport;
use crate::terminal::status_line::SharedStatusLine;
use crate::terminal::text::truncated;

/// A task to run.
pub(crate) struct LocalTask {
    /// The JSON text of its input.
    pub(crate) input: Option<String>,
    /// `None` means the manifest's timeout.
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempts_max: u32,
}

impl LocalTask {
    /// Runs it; on return its guest is gone.
    pub(crate) async fn run(
        self,
        loaded: &LoadedPlugin,
        host: &Arc<LocalHost>,
        status_line: &SharedStatusLine,
        stop: &mut StopRequests,
    ) -> Result<RunReport> {
        let LoadedPlugin { runtime, plugin, digest } = loaded;
        let Self { input, timeout, attempts_max } = self;
        let config = runtime.plugin_config(plugin).context("the plugin was just put into service")?;
        let backoff = config.retry.backoff.unwrap_or_default();
        let task = TaskId::new();
        let retry_on = config.retry.on;
        let mut attempts = AttemptCounts { attempt: 1, attempts_max, host_crashes: 0, retry_on };
        loop {
            let one = Attempt {
                task,
                plugin: plugin.clone(),
                number: attempts.attempt,
                attempts_max,
                input: input.clone(),
                timeout: timeout.unwrap_or(config.limits.timeout),
            };
            host.start_attempt();
            let started_at = Instant::now();
            let ran = one.run(runtime, host, status_line, stop).await;
            let usage = Usage { wall: started_at.elapsed(), ..host.usage() };
            let end = match ran {
                AttemptStep::Ended(end) => end,
                AttemptStep::Suspended(Suspension { wait, wake_on, state }) => {
                    host.set_checkpoint(state);
                    if wake_on.event && host.has_event() {
                        continue;
                    }
                    host.announce(&format!("wasmill: suspended, resumes in {wait:?}"));
                    tokio::select! {
                        biased;
                        () = stop.requested() => AttemptOutcome::Stopped,
                        () = tokio::time::sleep(wait) => continue,
                    }
                }
            };
            let may_retry = !stop.was_requested();
            let end = match retry(&end, attempts, backoff).filter(|_| may_retry) {
                None => end,
                Some((failure, wait)) => {
                    announce_retry(host, failure, attempts, wait);
                    tokio::select! {
                        biased;
                        () = stop.requested() => AttemptOutcome::Stopped,
                        () = tokio::time::sleep(wait) => {
                            attempts.attempt += 1;
                            continue;
                        }
                    }
                }
            };
            return Ok(RunReport::new(plugin, digest.clone(), attempts.attempt, stop.elapsed(), usage, end));
        }
    }
}

/// Returns the failure after which there is another attempt, and the wait before it.
fn retry(end: &AttemptOutcome, attempts: AttemptCounts, backoff: Backoff) -> Option<(&Failure, Duration)> {
    let AttemptOutcome::Failed(failure) = end else { return None };
    // Jitter spreads tasks that failed together; this task is alone.
    attempts.wait_after(failure, backoff, 0.0).map(|wait| (failure, wait))
}

/// Prints why an attempt failed, and when the next one starts.
fn announce_retry(
    host: &LocalHost,
    failure: &Failure,
    AttemptCounts { attempt, attempts_max, .. }: AttemptCounts,
    wait: Duration,
) {
    host.announce(&format!(
        "wasmill: attempt {attempt} of {attempts_max} failed by {}: {}; retrying in {wait:?}",
        failure.cause.words(),
        truncated(&failure.message, 200),
    ));
}
