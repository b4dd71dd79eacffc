//! One attempt, from its start to its end: answered, timed out, or stopped from the keyboard.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use wasmill_model::{Cause, Failure, Later, PluginName, Run, RunHost, Runner, Step, TaskId};
use wasmill_runtime::Runtime;

use super::Screen;
use super::host::LocalHost;
use crate::process::StopSignals;
use crate::screen::live::{Moment, REDRAW};

/// A moment that never comes in the life of a process.
const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum End {
    Completed(String),
    Failed(Failure),
    /// Whoever sits at the keyboard stopped it.
    Stopped,
}

/// What a run of the guest came to.
pub(super) enum Ran {
    /// The attempt is over.
    Ended(End),
    /// It goes on later.
    Parked(Later),
}

/// What one attempt is about.
pub(super) struct Attempt {
    /// The same for all attempts of one run.
    pub(super) task: TaskId,
    pub(super) plugin: PluginName,
    /// The first is 1.
    pub(super) number: u32,
    pub(super) attempts_max: u32,
    pub(super) input: Option<String>,
    pub(super) timeout: Duration,
}

/// Signals that ask to stop, counted: the first is a question, the second an order.
pub(super) struct Stop {
    signals: StopSignals,
    asked: bool,
    grace: Duration,
    begun: Instant,
}

impl Stop {
    pub(super) fn listen(grace: Duration) -> Result<Self> {
        Ok(Self { signals: StopSignals::listen()?, asked: false, grace, begun: Instant::now() })
    }

    /// Waits for the next signal.
    pub(super) async fn asked(&mut self) {
        self.signals.next().await;
        self.asked = true;
    }

    /// Says whether there was one.
    pub(super) fn was_asked(&self) -> bool {
        self.asked
    }

    /// Returns how long this command has run.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }
}

type Guest = JoinHandle<Result<Step, Failure>>;

impl Attempt {
    /// Runs it; when this returns the guest is gone.
    pub(super) async fn run(
        self,
        runtime: &Runtime,
        host: &Arc<LocalHost>,
        live: &Screen,
        stop: &mut Stop,
    ) -> Ran {
        let Self { task, plugin, number, attempts_max, input, timeout } = self;
        let title = if number > 1 { format!("{plugin} (attempt {number})") } else { plugin.to_string() };
        let run = Run {
            task,
            plugin,
            attempt: number,
            attempts_max,
            input,
            host: Arc::clone(host) as Arc<dyn RunHost>,
            hand_over: false,
        };
        let begun = Instant::now();
        let mut guest = tokio::spawn(runtime.run(run));
        let deadline = sleep_until(begun + timeout.min(NEVER));
        let grace = sleep_until(begun + NEVER);
        tokio::pin!(deadline, grace);
        let mut redraw = interval(REDRAW);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                biased;
                answer = &mut guest => break answered(answer, stop),
                () = stop.signals.next() => {
                    if std::mem::replace(&mut stop.asked, true) || stop.grace.is_zero() {
                        kill(&mut guest, runtime).await;
                        break Ran::Ended(End::Stopped);
                    }
                    host.ask_to_stop();
                    let grace_shown = humantime::format_duration(stop.grace);
                    live.lock().line(&format!(
                        "wasmill: asked the guest to stop, it has {grace_shown}; Ctrl-C again stops it at once"
                    ));
                    grace.as_mut().reset(Instant::now() + stop.grace.min(NEVER));
                }
                () = &mut grace => {
                    kill(&mut guest, runtime).await;
                    break Ran::Ended(End::Stopped);
                }
                () = &mut deadline => {
                    kill(&mut guest, runtime).await;
                    let message = format!("the attempt took longer than its timeout of {timeout:?}");
                    break Ran::Ended(End::Failed(Failure::new(Cause::Timeout, message)));
                }
                _ = redraw.tick() => {
                    let progress = host.latest_progress();
                    live.lock().draw(&Moment {
                        title: title.clone(),
                        fraction: progress.as_ref().map(|progress| progress.fraction),
                        note: progress.map(|progress| progress.note).unwrap_or_default(),
                        elapsed: begun.elapsed(),
                    });
                }
            }
        };
        host.end();
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

fn answered(answer: Result<Result<Step, Failure>, JoinError>, stop: &Stop) -> Ran {
    Ran::Ended(match answer {
        // As on a server: the stop holds whatever the guest answers, and what it returns may be incomplete.
        Ok(_) if stop.was_asked() => End::Stopped,
        Ok(Ok(Step::Done(result))) => End::Completed(result),
        Ok(Ok(Step::Later(later))) => return Ran::Parked(later),
        Ok(Err(failure)) => End::Failed(failure),
        Err(error) => {
            let message = format!("the host panicked while it ran the plugin: {error}");
            End::Failed(Failure::new(Cause::HostFault, message))
        }
    })
}
