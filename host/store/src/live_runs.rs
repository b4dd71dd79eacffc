//! What running tasks report: their latest progress, the version of their plugin, their log, what they use. In
//! memory only.
//!
//! Every claim has a cell of its own and reports into it without looking anything up. The board
//! shows which cells belong to running tasks. A report that comes late goes into a cell that is no
//! longer on the board, so it can show up nowhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wasmill_model::{Meter, PluginName, Progress, RunTrace, TaskId, Timestamp, Tracer, Usage};

use crate::event_bus::EventBus;
use crate::log::{LogBudget, RunLog};
use crate::task_spans::Traced;
use crate::{EventKind, EventPayload, LogPart};

/// Of how many tasks progress is told at once, so that it never crowds out all other events.
const PUBLISHED_MAX: usize = 1_000;

/// What one claim has reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RunReport {
    /// How far the guest says it has come.
    pub(crate) progress: Option<Progress>,
    /// The digest of the plugin that runs.
    pub(crate) digest: Option<Arc<str>>,
}

/// Where one claim reports.
#[derive(Clone, Debug)]
pub(crate) struct LiveRun(Arc<LiveRunState>);

#[derive(Debug)]
struct LiveRunState {
    run_ref: RunRef,
    state: Mutex<LiveState>,
    meter: Meter,
    /// `None` for a claim of an earlier host, of which nothing is known.
    start: Option<RunStart>,
    log: RunLog,
    trace: Option<RunTrace>,
    unpublished: Arc<UnpublishedProgress>,
}

/// Which run reports.
#[derive(Clone, Debug)]
pub(crate) struct RunRef {
    pub(crate) task: TaskId,
    pub(crate) plugin: PluginName,
    pub(crate) attempt: u32,
    /// Which claim of the task it is, from 1.
    pub(crate) token: i64,
    /// What is known of it if it is part of a trace.
    pub(crate) trace: Option<Arc<Traced>>,
}

/// How an attempt began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunStart {
    /// When the run started.
    pub(crate) at: Timestamp,
    /// How long its task had been ready.
    pub(crate) queue: Duration,
    /// When the attempt started: earlier than the run if it was suspended meanwhile.
    pub(crate) since: Timestamp,
    /// What the attempt had used before it was suspended.
    pub(crate) earlier: Option<Usage>,
    /// How many numbers were given to lines of the log before.
    pub(crate) lines: u64,
}

impl RunRef {
    /// Makes news of a change of the task.
    pub(crate) fn event(self, kind: EventKind, time: Timestamp) -> EventPayload {
        let Self { task, plugin, attempt, .. } = self;
        EventPayload { task, plugin, attempt, time, kind }
    }
}

#[derive(Debug, Default)]
struct LiveState {
    state: RunReport,
    /// The number under which its progress waits to be published.
    unpublished: Option<u64>,
    /// Whether the claim has ended.
    has_ended: bool,
}

/// The cells whose progress is to be published, in the order in which they asked for it.
///
/// A cell stands in it at most once and is taken out when its claim ends, so there are never more of them than
/// tasks that run. Weak references would not do: each keeps the allocation of its cell.
#[derive(Debug, Default)]
struct UnpublishedProgress {
    runs: Mutex<ProgressQueue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct ProgressQueue {
    next: u64,
    runs: BTreeMap<u64, LiveRun>,
}

impl ProgressQueue {
    /// Puts a cell behind all others; returns its number.
    fn add(&mut self, run: LiveRun) -> u64 {
        self.next += 1;
        self.runs.insert(self.next, run);
        self.next
    }

    /// Takes up to so many cells, the first ones first.
    fn pop_first(&mut self, count_max: usize) -> Vec<LiveRun> {
        let count = self.runs.len().min(count_max);
        (0..count).filter_map(|_| self.runs.pop_first()).map(|(_, run)| run).collect()
    }
}

impl LiveRun {
    /// Keeps the latest progress. Costs two short locks at most, however often it is called: once it waits to be
    /// published, a cell does so until the next pulse.
    pub(crate) fn set_progress(&self, progress: Progress) {
        let mut current = locked(&self.0.state);
        current.state.progress = Some(progress);
        if current.unpublished.is_some() || current.has_ended {
            return;
        }
        // Under the lock of the cell, as in `end`: a cell whose claim has ended must not be added.
        current.unpublished = Some(locked(&self.0.unpublished.runs).add(self.clone()));
        drop(current);
        self.0.unpublished.wake.notify_one();
    }

    /// Notes that the claim has ended: its progress is of no interest any more.
    fn end(&self) {
        let mut current = locked(&self.0.state);
        current.has_ended = true;
        if let Some(number) = current.unpublished.take() {
            locked(&self.0.unpublished.runs).runs.remove(&number);
        }
    }

    pub(crate) fn set_digest(&self, digest: Arc<str>) {
        locked(&self.0.state).state.digest = Some(digest);
    }

    pub(crate) fn digest(&self) -> Option<Arc<str>> {
        locked(&self.0.state).state.digest.clone()
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// Returns what the attempt has used so far, but for the time since its start.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let start = self.0.start?;
        let used = Usage { queue: start.queue, ..self.0.meter.read() };
        Some(start.earlier.map_or(used, |earlier| used.plus(&earlier)))
    }

    /// Returns what the attempt has used, if it ends or is suspended now.
    pub(crate) fn usage_at_end(&self, now: Timestamp) -> Option<Usage> {
        Some(Usage { wall: elapsed(self.0.start?.since, now), ..self.usage()? })
    }

    /// Returns what this run alone has used, if it ends now.
    pub(crate) fn usage_of_run(&self, now: Timestamp) -> Option<Usage> {
        let start = self.0.start?;
        Some(Usage { wall: elapsed(start.at, now), queue: start.queue, ..self.0.meter.read() })
    }

    /// Says whether the run goes on with an attempt that was suspended.
    pub(crate) fn is_resumed(&self) -> bool {
        self.0.start.is_some_and(|start| start.earlier.is_some())
    }

    /// Returns the log of the run.
    pub(crate) fn log(&self) -> &RunLog {
        &self.0.log
    }

    /// Returns the trace that the run is part of.
    pub(crate) fn trace(&self) -> Option<&RunTrace> {
        self.0.trace.as_ref()
    }

    /// Returns which run it is.
    pub(crate) fn run_ref(&self) -> &RunRef {
        &self.0.run_ref
    }

    /// Returns what says that the run wrote no log.
    pub(crate) fn empty_log(&self) -> LogPart {
        self.0.log.silent_part()
    }

    /// Makes news of a change of the task that runs.
    pub(crate) fn event(&self, kind: EventKind, time: Timestamp) -> EventPayload {
        self.0.run_ref.clone().event(kind, time)
    }

    pub(crate) fn get(&self) -> RunReport {
        locked(&self.0.state).state.clone()
    }
}

/// The cells of all running tasks, and those who are told of what happens.
#[derive(Debug)]
pub(crate) struct LiveRuns {
    runs: Mutex<HashMap<i64, LiveRun>>,
    pub(crate) event_bus: Arc<EventBus>,
    /// Wakes whoever starts tasks when some became ready that were held back.
    pub(crate) wait_for_ready: Notify,
    /// What takes the spans of what has committed.
    pub(crate) tracer: Tracer,
    unpublished: Arc<UnpublishedProgress>,
    log_budget: Arc<LogBudget>,
}

/// How a committed command changes the board.
#[derive(Debug)]
pub(crate) enum LiveChange {
    /// A claim began.
    Began { seq: i64, run: LiveRun },
    /// The claim of this task ended, if it had one.
    Ended { seq: i64 },
}

impl LiveRuns {
    /// Makes a board whose logs hold so many bytes together.
    pub(crate) fn new(log_bytes_max: usize, tracer: Tracer) -> Self {
        Self {
            runs: Mutex::default(),
            event_bus: Arc::default(),
            wait_for_ready: Notify::new(),
            tracer,
            unpublished: Arc::default(),
            log_budget: Arc::new(LogBudget::new(log_bytes_max)),
        }
    }

    /// Makes the cell of a claim; it is not on the board before its turn.
    pub(crate) fn run(&self, run_ref: RunRef, start: Option<RunStart>) -> LiveRun {
        let earlier = start.map_or(0, |start| start.lines);
        let log = RunLog::new(earlier, run_ref.attempt, Arc::clone(&self.log_budget));
        let trace = run_ref.run_trace(&self.tracer);
        let unpublished = Arc::clone(&self.unpublished);
        LiveRun(Arc::new(LiveRunState {
            run_ref,
            state: Mutex::default(),
            meter: Meter::default(),
            start,
            log,
            trace,
            unpublished,
        }))
    }

    /// Makes these changes in their order.
    pub(crate) fn apply(&self, turns: impl IntoIterator<Item = LiveChange>) {
        let mut runs = locked(&self.runs);
        for apply in turns {
            let ended = match apply {
                LiveChange::Began { seq, run } => runs.insert(seq, run),
                LiveChange::Ended { seq } => runs.remove(&seq),
            };
            if let Some(ended) = ended {
                ended.end();
            }
        }
    }

    /// Returns where exactly this claim reports, if it still runs.
    pub(crate) fn live(&self, seq: i64, token: i64) -> Option<LiveRun> {
        let runs = locked(&self.runs);
        runs.get(&seq).filter(|run| run.0.run_ref.token == token).cloned()
    }

    /// Waits until there is progress to tell.
    pub(crate) async fn wait_for_progress(&self) {
        loop {
            if !locked(&self.unpublished.runs).runs.is_empty() {
                return;
            }
            self.unpublished.wake.notified().await;
        }
    }

    /// Tells the latest progress of those tasks that are first in line.
    pub(crate) fn publish_progress(&self, now: Timestamp) {
        // Taken before the cells are locked: those who report lock in the other order.
        let first = locked(&self.unpublished.runs).pop_first(PUBLISHED_MAX);
        let event = first.iter().filter_map(|run| {
            let mut current = locked(&run.0.state);
            current.unpublished = None;
            let progress = current.state.progress.clone().filter(|_| !current.has_ended)?;
            drop(current);
            Some(run.event(EventKind::Progress(progress), now))
        });
        self.event_bus.publish(event.collect());
    }
}

/// Returns how long ago something was. A clock that jumps back makes it zero, as it does the duration.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    (now - since).to_std().unwrap_or_default()
}

/// Locks even after a panic elsewhere: a report is replaced as a whole or not at all.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
